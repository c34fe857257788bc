import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.measurement import (
    Conditions,
    Failure,
    FailureKind,
    Measurement,
    Samples,
    median_interval_rank,
    outcome_from_json,
    paired_ratio,
)


def coverage(n, rank):
    """P(rank-th smallest <= median <= rank-th largest), exactly."""
    return 1 - 2 * sum(math.comb(n, k) for k in range(rank + 1)) / 2**n


@pytest.mark.parametrize("n", [*range(6, 60), 101, 500, 999])
def test_the_interval_covers_the_median_with_95_percent_and_no_wider_than_needed(n):
    rank = median_interval_rank(n)
    assert coverage(n, rank) >= 0.95
    assert coverage(n, rank + 1) < 0.95


@pytest.mark.parametrize("n", [1000, 1001, 5000])
def test_the_normal_approximation_for_many_samples_is_close_to_the_exact_rank(n):
    rank = median_interval_rank(n)
    assert 0.945 <= coverage(n, rank) <= 0.97


def test_the_interval_holds_the_true_median_about_95_times_in_100():
    generator = random.Random(1)
    held = 0
    for _ in range(600):
        low, high = Samples(tuple(generator.expovariate(1.0) for _ in range(25))).interval
        held += low <= math.log(2) <= high
    assert held / 600 > 0.93


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=80))
def test_the_median_lies_within_its_interval(values):
    samples = Samples(tuple(values))
    low, high = samples.interval
    assert min(values) <= low <= samples.median <= high <= max(values)


def test_a_metric_without_samples_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Samples(())


def test_outcomes_survive_json():
    measurement = Measurement(
        metrics={"latency_ms": Samples((1.0, 2.0)), "tokens_per_s": Samples((5.0,))},
        conditions=Conditions(sm_clock_mhz=1980, throttle=("sw_power_cap",)),
        phase_s={"prepare": 0.5, "measure": 1.5},
    )
    failure = Failure(kind=FailureKind.TIMEOUT, message="killed", details="…", phase="measure", phase_s={"measure": 2})
    for outcome in (measurement, failure):
        assert outcome_from_json(json.loads(json.dumps(outcome.to_json()))) == outcome
    assert measurement.elapsed_s == 2.0
    assert measurement.medians == {"latency_ms": 1.5, "tokens_per_s": 5.0}


def test_drift_common_to_both_cancels_in_paired_ratios():
    drift = [1.0, 1.1, 1.2, 1.3]
    assert paired_ratio([2 * d for d in drift], drift).values == pytest.approx((2.0,) * 4)
