"""How often a call is repeated, and when that is enough, against a clock whose readings are made up."""

import itertools

import pytest

from autotune.bench import sampling
from autotune.bench.clock import Reading
from autotune.bench.sampling import LIMITS, Rival, sample, warm_up
from autotune.objective import Objective, maximize
from autotune.trial import Effort

FULL, QUICK = LIMITS[Effort.FULL], LIMITS[Effort.QUICK]


class ScriptedClock:
    """Gives the readings of a list, over and over, and advances a clock of its own by them."""

    def __init__(self, monkeypatch, *readings_ms, result=None):
        self.readings, self.result = itertools.cycle(readings_ms), result
        self.batches, self.now_s = [], 0.0
        monkeypatch.setattr(sampling.time, "perf_counter", lambda: self.now_s)

    def warm_up(self, call):
        return self.take(call, 1, lambda _: None)[0].ms

    def take(self, call, count, keep):
        taken = [Reading(next(self.readings), keep(self.result)) for _ in range(count)]
        self.batches.append(count)
        self.now_s += sum(reading.ms for reading in taken) / 1e3
        return taken


@pytest.fixture
def clock(monkeypatch):
    return lambda *readings_ms, result=None: ScriptedClock(monkeypatch, *readings_ms, result=result)


def taken(clock, limits=FULL, each_ms=0.2, rival=None, wanted=frozenset()):
    return sample(lambda: None, clock, limits, each_ms, wanted, rival)["latency_ms"].values


def rival(value, objective=None):
    return Rival.of(objective or Objective(), value)


def test_short_calls_warm_up_a_few_times_and_long_ones_twice(clock):
    short, long = clock(0.01), clock(40.0)
    assert warm_up(lambda: None, short) == 0.01
    assert warm_up(lambda: None, long) == 40.0
    assert (len(short.batches), len(long.batches)) == (sampling.MOST_WARM_UP, sampling.LEAST_WARM_UP)


def test_the_first_call_compiles_and_does_not_use_up_the_warm_up(clock):
    compiling = clock(2_000.0, 0.2, 0.2, 0.2, 0.2)
    assert warm_up(lambda: None, compiling) == 0.2
    assert len(compiling.batches) == sampling.MOST_WARM_UP


def test_a_steady_call_is_known_after_few_readings_in_growing_batches(clock):
    steady = clock(0.2)
    assert len(taken(steady)) == 7
    assert steady.batches == [1, 2, 4]
    assert steady.now_s < 0.025


def test_a_few_readings_that_agree_by_chance_are_not_enough(clock):
    assert len(taken(clock(0.2, 0.2, 0.2, 0.3), QUICK)) > 3


def test_a_noisy_call_is_read_until_its_median_is_known_or_the_time_is_up(clock):
    noisy = clock(*(0.2 * (1 + 0.005 * step) for step in (0, 2, -3, 1, -1, 3, -2)))
    assert 7 < len(taken(noisy)) < 100
    restless = clock(1.0, 4.0)
    taken(restless)
    assert restless.now_s == pytest.approx(FULL.cap_s, rel=0.2)


def test_no_more_samples_are_taken_than_the_registry_should_hold(clock):
    assert len(taken(clock(0.001, 0.004))) <= sampling.MOST_SAMPLES + sampling.MOST_CALLS


def test_a_call_longer_than_the_cap_is_read_as_often_as_it_must(clock):
    assert len(taken(clock(2_000.0, 3_000.0), each_ms=2_000.0)) == FULL.least_when_long


def test_what_is_certainly_worse_than_the_rival_stops_after_three_readings(clock):
    assert len(taken(clock(0.3, 0.31, 0.29), rival=rival(0.2))) == 3


@pytest.mark.parametrize("readings_ms", [(0.24,), (0.5, 0.5, 0.2)])
def test_what_may_be_as_good_at_other_clocks_is_measured_as_usual(clock, readings_ms):
    assert len(taken(clock(*readings_ms), rival=rival(0.2))) >= 7


def test_a_long_call_that_is_many_times_worse_stops_after_one_reading(clock):
    assert len(taken(clock(20.0), each_ms=20.0, rival=rival(0.2))) == 1
    assert len(taken(clock(0.9), each_ms=0.9, rival=rival(0.2))) == 3  # its launch may be most of what the warm-up took


def test_the_rival_is_one_in_the_objectives_own_metric_and_direction(clock):
    throughput = maximize("tokens_per_s")
    wanted = frozenset({"tokens_per_s"})
    assert len(taken(clock(0.2, result={"tokens_per_s": 70}), rival=rival(100, throughput), wanted=wanted)) == 3
    assert len(taken(clock(0.2, result={"tokens_per_s": 130}), rival=rival(100, throughput), wanted=wanted)) == 7


def test_nothing_stops_early_without_a_rival_or_where_bounds_are_to_be_learnt_or_values_have_no_ratio(clock):
    assert rival(None) is None
    assert rival(1.0, Objective(subject_to={"p99_ms": 3.0})) is None
    score = maximize("score")
    result = {"score": -5.0}
    assert len(taken(clock(0.2, result=result), rival=rival(-1.0, score), wanted=frozenset({"score"}))) == 7
