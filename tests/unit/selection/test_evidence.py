import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune import Config, maximize, minimize
from autotune.measurement import Measurement, Samples
from autotune.selection.evidence import _STUDENT_T, LARGEST, Evidence, mean_gain

A, B = Config(x=1), Config(x=2)


def measured(*values, **metrics):
    samples = {"latency_ms": Samples(values)} | {name: Samples(tuple(v)) for name, v in metrics.items()}
    return Measurement(metrics=samples)


def test_the_quantiles_are_those_of_students_t():
    t = pytest.importorskip("scipy.stats").t
    assert list(_STUDENT_T) == pytest.approx([t.ppf(0.99, df) for df in range(1, len(_STUDENT_T) + 1)], abs=6e-4)


def test_the_interval_is_that_of_the_textbook():
    gain = mean_gain([0.02, 0.03, 0.04])
    half = 6.965 * statistics.stdev([0.02, 0.03, 0.04]) / 3**0.5
    assert gain.mean == pytest.approx(0.03)
    assert (gain.low, gain.high) == (pytest.approx(0.03 - half), pytest.approx(0.03 + half))


def test_one_round_alone_proves_nothing():
    gain = mean_gain([0.5])
    assert gain.low < -1e9
    assert gain.high > 1e9


@given(drift=st.lists(st.floats(0.5, 2.0), min_size=4, max_size=4))
def test_what_both_of_a_pair_share_cancels(drift):
    rounds = [{A: measured(*(0.9 * d for d in drift)), B: measured(*drift)} for _ in range(3)]
    assert Evidence(minimize(), rounds).gain(A, over=B).mean == pytest.approx(0.1)


def test_an_outlier_in_a_round_does_not_count():
    rounds = [{A: measured(0.9, 0.9, 30.0, 0.9, 0.9), B: measured(1, 1, 1, 1, 1)} for _ in range(3)]
    assert Evidence(minimize(), rounds).gain(A, over=B).mean == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("objective", "one", "other", "gain"),
    [
        (minimize("score"), 2.0, 4.0, 0.5),
        (maximize("score"), 6.0, 4.0, 0.5),
        (maximize("score"), -2.0, -4.0, 0.5),
        (minimize("score"), -6.0, -4.0, 0.5),
        (maximize("score"), 1.0, 0.0, LARGEST),
        (minimize("score"), 1.0, 0.0, -LARGEST),
        (maximize("score"), 0.0, 0.0, 0.0),
    ],
)
def test_gains_have_the_objectives_sign_whatever_the_values(objective, one, other, gain):
    rounds = [{A: measured(1.0, score=[one]), B: measured(1.0, score=[other])} for _ in range(3)]
    found = Evidence(objective, rounds).gain(A, over=B)
    assert (found.mean, found.low, found.high) == (gain, gain, gain)


def test_a_factor_of_two_or_three_is_proved_by_three_rounds_however_noisy_the_machine():
    # Read on two cores that eight other processes wanted too: tokens/s of a default and of a finalist.
    noisy = [(1122.0, 3079.0), (883.6, 2154.0), (787.4, 2722.0)]
    rounds = [{A: measured(1, score=[better]), B: measured(1, score=[default])} for default, better in noisy]
    gain = Evidence(maximize("score"), rounds).gain(A, over=B)
    assert gain.low > 0.3
    assert mean_gain([better / default - 1 for default, better in noisy]).low < 0  # the plain gains prove nothing
    assert gain.mean == pytest.approx((3079 / 1122 * 2154 / 883.6 * 2722 / 787.4) ** (1 / 3) - 1)
    times = [{A: measured(1, score=[1 / better]), B: measured(1, score=[1 / default])} for default, better in noisy]
    assert Evidence(minimize("score"), times).gain(A, over=B).mean == pytest.approx(1 - 1 / (1 + gain.mean))


@given(gains=st.lists(st.floats(-0.02, 0.02), min_size=2, max_size=8), maximized=st.booleans())
def test_small_gains_are_those_of_the_plain_mean(gains, maximized):
    objective = maximize("score") if maximized else minimize("score")
    rounds = [{A: measured(1, score=[1 + (gain if maximized else -gain)]), B: measured(1, score=[1])} for gain in gains]
    assert Evidence(objective, rounds).gain(A, over=B).mean == pytest.approx(statistics.fmean(gains), abs=5e-4)


def test_bounds_are_kept_by_the_median_over_the_rounds():
    objective = minimize(subject_to={"loss": 0.1})
    rounds = [{A: measured(1.0, loss=[loss])} for loss in (0.05, 0.3, 0.06)]
    assert Evidence(objective, rounds).feasible(A)
    assert not Evidence(objective, [*rounds, rounds[1], rounds[1]]).feasible(A)
