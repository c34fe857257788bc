import math
from itertools import combinations
from statistics import fmean, median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.scoring import MeasuredSpace

times = st.floats(0.01, 1000.0)
spaces = st.lists(st.one_of(times, st.just(math.nan)), min_size=1, max_size=8).filter(
    lambda values: not all(map(math.isnan, values))
)


def share(value, values, form):
    """The definition again, for one value that is to be small, in plain Python."""
    measured = [v for v in values if not math.isnan(v)]
    middle, best = median(measured), min(measured)
    if math.isnan(value):
        return 0.0
    if middle == best:
        return float(value == best)
    if form == "log":
        value, middle, best = map(math.log, (value, middle, best))
    return min(1.0, max(0.0, (middle - value) / (middle - best)))


@given(spaces, st.sampled_from(["linear", "log"]))
def test_the_baseline_is_the_mean_over_all_ways_to_draw(values, form):
    space = MeasuredSpace(values)
    expected = [
        fmean(max(share(value, values, form) for value in drawn) for drawn in combinations(values, draws))
        for draws in range(1, len(values) + 1)
    ]
    assert space.baseline(len(values), form) == pytest.approx(expected, abs=1e-9)


@given(spaces)
def test_to_maximise_is_to_minimise_the_opposite(values):
    rates = MeasuredSpace(values, "maximize")
    opposites = {"linear": [-value for value in values]}
    if sum(not math.isnan(value) for value in values) % 2:  # else the median lies between two values
        opposites["log"] = [1 / value for value in values]
    for form, opposite in opposites.items():
        other = MeasuredSpace(opposite)
        assert rates.baseline(len(values), form) == pytest.approx(other.baseline(len(values), form), abs=1e-9)
        assert rates.window(4, form) == other.window(4, form)


def test_failures_and_what_is_worse_than_the_median_close_nothing():
    space = MeasuredSpace([4.0, 1.0, math.nan, 2.0, 9.0])
    assert space.shares(range(5), "linear").tolist() == pytest.approx([0.0, 1.0, 0.0, 0.5, 0.0])
    assert space.shares(range(5), "log").tolist() == pytest.approx([0.0, 1.0, 0.0, math.log(1.5) / math.log(3), 0.0])


def test_where_nothing_is_better_than_the_median_the_best_closes_all():
    space = MeasuredSpace([1.0, 1.0, 1.0, 3.0])
    assert space.shares(range(4), "log").tolist() == [1.0, 1.0, 1.0, 0.0]


def test_without_logarithms_the_log_form_is_the_linear_one():
    space = MeasuredSpace([-2.0, 0.0, 4.0], "minimize")
    assert not space.positive
    assert space.shares(range(3), "log").tolist() == [1.0, 0.0, 0.0]


def test_the_window_ends_where_random_search_is_nearly_there_or_with_the_budget():
    space = MeasuredSpace(range(1, 1001))
    half, nearly = (math.ceil(root) for root in (3.0, 49.0))
    first, last = space.window(400, "linear")
    expected = space.baseline(400, "linear")
    assert expected[first - 2] < 0.5 <= expected[first - 1]
    assert expected[last - 2] < 0.96 <= expected[last - 1]
    assert abs(first - half) <= 1
    assert last <= nearly
    assert space.window(4, "linear") == (2, 4)


def test_a_space_in_which_everything_failed_cannot_be_scored():
    with pytest.raises(ValueError, match="everything failed"):
        MeasuredSpace([math.nan])
