import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.objective import Objective
from autotune.portfolio import growth
from autotune.portfolio.domain import Domain
from autotune.portfolio.growth import WORTH, between
from autotune.portfolio.losses import Loss, Losses
from autotune.portfolio.rule import Rule
from autotune.portfolio.sizes import Sized, sizes, smallest_enough
from autotune.portfolio.tree import leaves
from autotune.values import Config, Problem
from tests.unit.portfolio.samples import OBJECTIVES, columns, losses_of


def final(losses, at_most=8):
    return sizes(losses, at_most)[-1]


@given(columns=columns(), objective=OBJECTIVES, at_most=st.integers(1, 6))
def test_a_tuned_problem_gets_what_was_measured_for_it_and_did_not_fail_or_nothing(columns, objective, at_most):
    for sized in sizes(Losses.of(objective, columns), at_most):
        for problem, values in columns:
            config = sized.rule.pick(problem)
            uncovered = problem.text in {one.text for one in sized.rule.uncovered}
            assert (config is None) == uncovered
            assert config is None or config in values
        assert len(sized.rule.configs) <= sized.at_most
        assert set(leaves(sized.rule.root)) == set(range(len(sized.rule.configs)))


@given(columns=columns(), objective=OBJECTIVES)
def test_what_a_rule_loses_beyond_its_configurations_is_less_than_its_further_ends_are_worth(columns, objective):
    losses = Losses.of(objective, columns)
    sized = final(losses, len(columns))
    assert sized.loss.uncovered == 0
    lost = math.fsum(map(math.log1p, sized.losses))
    assert lost <= WORTH * (len(columns) - len([*leaves(sized.rule.root)])) + 1e-6


@given(columns=columns(), objective=OBJECTIVES)
def test_the_loss_of_the_rules_falls_with_their_size(columns, objective):
    found = sizes(Losses.of(objective, columns), 6)
    orders = [sized.loss.order for sized in found]
    assert orders == sorted(orders, reverse=True)


@given(columns=columns(), objective=OBJECTIVES)
def test_where_not_all_trees_are_compared_each_problem_gets_what_runs_too(columns, objective):
    losses = Losses.of(objective, columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growth, "MOST_BOXES", 0)
        sized = final(losses, len(columns))
    assert sized.loss.uncovered == 0
    assert math.fsum(map(math.log1p, sized.losses)) <= WORTH * len(columns)


@given(columns=columns(), objective=OBJECTIVES)
def test_a_rule_survives_json(columns, objective):
    rule = final(Losses.of(objective, columns)).rule
    assert Rule.from_json(json.loads(json.dumps(rule.to_json()))) == rule


@given(columns=columns(), objective=OBJECTIVES)
def test_the_text_of_a_rule_is_the_rule_in_python(columns, objective):
    rule = final(Losses.of(objective, columns)).rule
    for problem, _ in columns:
        if problem not in rule.uncovered:
            names = dict(problem)
            exec(rule.text, {}, names)
            assert names["config"] == rule.pick(problem)


def two_sided():
    """Four sizes; one configuration for the lower two, another for the upper two."""
    return losses_of([[1.0, 1.0, 2.0, 2.0], [2.0, 2.0, 1.0, 1.0]], problems=[Problem(m=m) for m in (16, 64, 128, 4096)])


def test_a_rule_reads_like_a_program():
    assert final(two_sided()).rule.text.splitlines() == [
        "# tuned for m from 16 to 4096",
        "if m <= 90:",
        "    config = {'block_m': 0}",
        "else:",
        "    config = {'block_m': 1}",
    ]


def test_more_ends_are_an_elif_each_and_categories_are_told_by_equality():
    problems = [Problem(m=m, dtype=dtype) for m in (1, 100) for dtype in ("bfloat16", "float8")]
    rows = [[1.0, 9.0, 1.0, 9.0], [9.0, 1.0, 9.0, 9.0], [9.0, 9.0, 9.0, 1.0]]
    assert final(losses_of(rows, problems=problems)).rule.text.splitlines() == [
        "# tuned for dtype=bfloat16, m from 1 to 100",
        "# tuned for dtype=float8, m from 1 to 100",
        "if dtype == 'bfloat16':",
        "    config = {'block_m': 0}",
        "elif m <= 10:",
        "    config = {'block_m': 1}",
        "else:",
        "    config = {'block_m': 2}",
    ]


def test_a_problem_whose_very_best_is_within_the_noise_gets_no_end_of_its_own():
    losses = losses_of([[1.0, 1.004, 1.0, 2.0], [1.1, 1.0, 1.1, 1.0]])
    rule = final(losses).rule
    assert [*leaves(rule.root)] == [0, 1]
    assert rule.pick(Problem(m=2)) == Config(block_m=0)


def test_questions_that_help_only_together_are_found_by_both_ways(monkeypatch):
    problems = [Problem(m=m, n=n) for m in (1, 100) for n in (1, 100)]
    losses = losses_of([[1.0, 2.0, 2.0, 1.0], [2.0, 1.0, 1.0, 2.0]], problems=problems)
    for most in (1000, 0):
        monkeypatch.setattr(growth, "MOST_BOXES", most)
        assert final(losses).loss == Loss(mean=0, worst=0)


@pytest.mark.parametrize(
    ("low", "high", "threshold"),
    [(16, 64, 32), (16, 17, 16), (1, 3, 1), (0, 8, 4), (-3, -2, -3), (0.5, 2.0, 1.0), (1.0, 1.0001, 1.0),
     (1.0001, 1.0002, 1.00015), (10, 20.5, 14.0), (-1.5, 2.0, 0.25), (1e-300, 1e300, 1.0)],
)  # fmt: skip
def test_a_threshold_is_the_geometric_midpoint_in_few_digits(low, high, threshold):
    assert between(low, high) == threshold
    assert low <= between(low, high) < high


@given(st.lists(st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9), min_size=2, max_size=2, unique=True))
def test_a_threshold_tells_the_two_apart(values):
    low, high = sorted(values)
    assert low <= between(low, high) < high


# Where a rule applies


@pytest.mark.parametrize(
    ("problem", "covered"),
    [
        ({"m": 8}, True),
        ({"m": 7}, False),
        ({"m": 8192}, True),
        ({"m": 8193}, False),
        ({"m": 100.5}, True),
        ({"m": True}, False),
        ({"m": "100"}, False),
        ({"m": None}, False),
        ({"m": math.inf}, False),
        ({"m": 100, "n": 1}, False),
        ({"n": 100}, False),
        ({}, False),
    ],
)
def test_a_rule_says_nothing_beyond_twice_what_was_tuned_or_of_other_dimensions(problem, covered):
    assert (final(two_sided()).rule.pick(Problem(problem)) is not None) == covered


def test_an_unknown_category_gets_nothing_and_each_has_a_range_of_its_own():
    domain = Domain.of(
        [Problem(m=1, dtype="bfloat16"), Problem(m=4096, dtype="bfloat16"), Problem(m=1, dtype="float8")]
    )
    assert domain.covers(Problem(m=1000, dtype="bfloat16"))
    assert domain.covers(Problem(m=2, dtype="float8"))
    assert not domain.covers(Problem(m=1000, dtype="float8"))
    assert not domain.covers(Problem(m=1, dtype="int4"))


def test_equal_numbers_of_two_types_are_categories():
    losses = losses_of([[1.0, None], [None, 1.0]], problems=[Problem(scale=1), Problem(scale=1.0)])
    rule = final(losses).rule
    assert [rule.pick(Problem(scale=scale)) for scale in (1, 1.0, True)] == [Config(block_m=0), Config(block_m=1), None]


def test_a_size_that_is_not_positive_has_no_reach():
    domain = Domain.of([Problem(m=0), Problem(m=8)])
    assert [domain.covers(Problem(m=m)) for m in (-1, 0, 16, 17)] == [False, True, True, False]


def test_a_problem_for_which_nothing_runs_gets_nothing_though_its_neighbours_do():
    losses = Losses.of(Objective(), [(Problem(m=m), {Config(x=1): 1.0} if m != 2 else {}) for m in (1, 2, 4)])
    sized = final(losses)
    assert sized.rule.uncovered == (Problem(m=2),)
    assert [sized.rule.pick(Problem(m=m)) for m in (1, 2, 3)] == [Config(x=1), None, Config(x=1)]
    assert "# not for m=2: none of them is known to run" in sized.rule.text
    assert smallest_enough([sized]) == sized


def test_problems_without_dimensions_have_one_configuration():
    rule = final(losses_of([[1.0]], problems=[Problem()])).rule
    assert (rule.pick(Problem()), rule.text) == (Config(block_m=0), "config = {'block_m': 0}")


# How many


def test_without_a_wish_the_first_size_is_taken_that_loses_little():
    found = sizes(losses_of([[1.0, 1.0, 1.5, 1.5], [1.5, 1.5, 1.0, 1.015], [2.0, 2.0, 2.0, 1.0]]), 8)
    assert [round(sized.loss.worst, 3) for sized in found] == [0.5, 0.015, 0.0]
    assert smallest_enough(found).at_most == 2
    assert isinstance(smallest_enough(found[:1]), Sized)
    assert smallest_enough(found[:1]).at_most == 1
