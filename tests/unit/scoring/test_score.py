import math
import random
from pathlib import Path

import pytest

from autotune.executors.recording import load
from autotune.measurement import Measurement
from autotune.scoring import MeasuredSpace, Reached, mean_score, score
from autotune.scoring.score import best_so_far

PATH = Path(__file__).parents[2] / "data" / "recordings" / "convolution-A100.json.gz"

LINEAR = {50: -0.24786713607006075, 100: 0.03615847349144297, 200: 0.3156473481405473, 400: 0.3156473481405473}
LOG = {50: -0.24825760564976232, 100: 0.030412164913244916, 200: 0.32985996833475245, 400: 0.38073530542454986}
RATIO = {50: 1.4627397357176997, 100: 1.091844487346776, 200: 1.0241702447274106, 400: 0.9999999999999998}
WITHIN_5PCT, WITHIN_1PCT = 140.0, 140.0


@pytest.fixture(scope="module")
def space():
    outcomes = load(PATH).outcomes.values()
    return MeasuredSpace([o.medians["latency_ms"] if isinstance(o, Measurement) else math.nan for o in outcomes])


def searches(space, count, trials):
    orders = [random.Random(seed).sample(range(space.size), min(trials, space.size)) for seed in range(count)]
    return [best_so_far(space, order) for order in orders]


def test_the_numbers_of_a_recorded_space(space):
    """As computed by an independent implementation of the method."""
    found = score(space, searches(space, 3, 400), 400)
    assert found.linear == pytest.approx(LINEAR, abs=1e-9)
    assert found.log == pytest.approx(LOG, abs=1e-9)
    assert found.ratio == pytest.approx(RATIO, abs=1e-9)
    assert (found.within_5pct.median, found.within_1pct.median) == (WITHIN_5PCT, WITHIN_1PCT)


def test_random_search_scores_zero_on_average_and_who_begins_with_the_best_one(space):
    chance = score(space, searches(space, 400, 200), 200)
    assert chance.log == pytest.approx(dict.fromkeys((50, 100, 200), 0.0), abs=0.06)
    best = int(space.values.tolist().index(space.best))
    perfect = score(space, [[best]], 400)
    assert perfect.log == pytest.approx(dict.fromkeys((50, 100, 200, 400), 1.0))
    assert perfect.ratio == pytest.approx(dict.fromkeys((50, 100, 200, 400), 1.0))
    assert perfect.within_1pct == Reached((1,))


def test_budgets_beyond_the_trials_or_the_space_have_no_score():
    space = MeasuredSpace(range(1, 101))
    assert list(score(space, searches(space, 2, 60), 60).log) == [50]
    assert list(score(space, searches(space, 2, 100), 400).log) == [50, 100]


def test_what_is_picked_counts_and_not_what_was_measured_in_between():
    """Where readings are noisy a search may hold on to a configuration that is not the best it has measured."""
    space = MeasuredSpace([1.0, 2.0, 3.0, 4.0])
    held = score(space, [[3, 2, 2, 2]], 4, budgets=(4,))
    assert held.ratio[4] == pytest.approx(2.5)  # 3.0 is worse than the median, and counts as that
    assert held.within_5pct == Reached((None,))


def test_a_failure_is_never_near_the_best_even_where_all_values_are():
    space = MeasuredSpace([math.nan, 1.0, 1.01, 1.02])
    assert score(space, [[0, 0, 3]], 3, budgets=(3,)).within_5pct == Reached((3,))


def test_a_rate_that_is_to_be_large_is_within_5_percent_from_below():
    space = MeasuredSpace([100.0, 96.0, 90.0, 10.0], "maximize")
    found = score(space, [[3, 2, 1, 0]], 4, budgets=(4,))
    assert (found.within_5pct, found.within_1pct) == (Reached((3,)), Reached((4,)))


def test_shares_and_medians_count_searches_that_never_got_there():
    reached = Reached((10, None, 30, 250))
    assert reached.share() == 0.75
    assert reached.share(within=200) == 0.5
    assert reached.median == 140
    assert Reached((10, None, None)).median is None


def test_spaces_weigh_the_same_and_only_budgets_that_all_have_are_averaged():
    small, large = MeasuredSpace(range(1, 61)), MeasuredSpace(range(1, 301))
    scores = [score(space, searches(space, 2, 200), 200) for space in (small, large)]
    mean = mean_score(scores)
    assert list(mean.log) == [50]
    assert mean.log[50] == pytest.approx((scores[0].log[50] + scores[1].log[50]) / 2)
    assert mean.runs == 4
    assert len(mean.within_5pct.trials) == 4


def test_a_score_is_plain_values_for_json(space):
    data = score(space, searches(space, 2, 200), 200).to_json()
    assert data["seeds"] == 2
    assert set(data["log_score"]) == {"50", "100", "200"}
    assert 0 <= data["reached_5pct_at_200"] <= 1
