from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.objective import Objective
from autotune.portfolio import choice
from autotune.portfolio.choice import choices
from autotune.portfolio.losses import Loss, Losses
from autotune.values import Config, Problem
from tests.unit.portfolio.samples import OBJECTIVES, columns, losses_of


def loss(losses, chosen):
    return Loss.of(losses.best_of(chosen))


@given(columns=columns(), objective=OBJECTIVES)
def test_as_many_configurations_as_problems_lose_nothing(columns, objective):
    losses = Losses.of(objective, columns)
    found = loss(losses, choices(losses, len(columns))[-1])
    assert (found.uncovered, found.mean, found.worst) == (0, 0, 0)


@given(columns=columns(), objective=OBJECTIVES, at_most=st.integers(1, 8))
def test_the_loss_falls_with_every_further_configuration(columns, objective, at_most):
    losses = Losses.of(objective, columns)
    found = choices(losses, at_most)
    assert [len(chosen) for chosen in found] == [*range(1, len(found) + 1)]
    orders = [loss(losses, chosen).order for chosen in found]
    assert orders == sorted(orders, reverse=True)
    assert len(set(orders)) == len(orders)


@given(columns=columns(), objective=OBJECTIVES)
def test_small_matrices_are_solved_as_by_trying_every_set(columns, objective):
    losses = Losses.of(objective, columns)
    for size, chosen in enumerate(choices(losses, 5), 1):
        every = combinations(range(len(losses.configs)), size)
        best = min(loss(losses, one).order for one in every)
        assert loss(losses, chosen).order == pytest.approx(best, abs=1e-8)


@given(columns=columns(most_configs=8, most_problems=8), objective=OBJECTIVES)
def test_beyond_that_the_loss_falls_and_ends_at_nothing_too(columns, objective):
    losses = Losses.of(objective, columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "MOST_SETS", 1)
        found = choices(losses, 8)
    orders = [loss(losses, chosen).order for chosen in found]
    assert orders == sorted(orders, reverse=True)
    assert loss(losses, found[-1]).order == (0, 0, 0)


def test_an_exchange_mends_what_adding_one_at_a_time_would_keep(monkeypatch):
    monkeypatch.setattr(choice, "MOST_SETS", 5)
    losses = losses_of([[1.2, 1.2, 1.2, 1.2], [1, 1, 3, 3], [3, 3, 1, 1], [2, 2, 2, 1.1], [1.1, 2, 2, 2]])
    assert choices(losses, 2) == [(0,), (1, 2)]


def test_a_mean_that_is_equal_is_taken_with_the_least_worst_loss():
    losses = losses_of([[1.0, 1.0, 1.21], [1.1, 1.1, 1.0], [9.0, 9.0, 1.0]])
    assert choices(losses, 1) == [(1,)]


def test_a_configuration_that_covers_all_goes_before_faster_ones_that_do_not():
    losses = losses_of([[1.0, None], [5.0, 5.0], [None, 1.0]])
    assert choices(losses, 2) == [(1,), (0, 2)]


def test_a_loss_is_how_many_times_better_the_best_is_in_both_directions():
    assert losses_of([[1.0], [1.5]]).rows == ((0,), (0.5,))
    assert losses_of([[3.0], [2.0]], Objective("score", "maximize")).rows == ((0,), (0.5,))


def test_where_a_ratio_says_nothing_a_loss_is_a_share_of_the_best():
    assert losses_of([[-2.0], [1.0]]).rows == ((0,), (1.5,))
    assert losses_of([[0.0], [1.0]]).rows == ((0,), (1e6,))
    assert losses_of([[4.0], [-1.0]], Objective("score", "maximize")).rows == ((0,), (1.25,))


def test_the_mean_is_geometric():
    found = Loss.of([0.0, 3.0, float("inf")])
    assert (found.mean, found.worst, found.uncovered) == (pytest.approx(1.0), 3, 1)
    assert Loss.from_json(found.to_json()) == found


def test_what_ran_for_no_problem_is_covered_by_nothing():
    losses = Losses.of(Objective(), [(Problem(m=1), {Config(x=1): 1.0}), (Problem(m=2), {})])
    assert loss(losses, choices(losses, 3)[-1]).uncovered == 1
