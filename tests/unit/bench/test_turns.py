"""Rounds in this process: the order of the turns, what pairs up, and what becomes of a trial that fails."""

import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from autotune.bench import perform_round, sampling, turns
from autotune.device import cpu_device
from autotune.measurement import Conditions, Failure, FailureKind, Measurement, Samples
from autotune.objective import ENERGY_J, Objective, maximize, minimize
from autotune.round import LEAST_PASSES, Round
from autotune.space import SearchSpace, integer
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import Workload

CPU = cpu_device()


def run(body, count=3, passes=4, objective=None, number=2, **watchers):
    """A round over the configurations x=0, 1, …"""
    declared = Workload(
        name=body.__name__,
        body=body,
        space=SearchSpace(x=integer(0, 9)),
        problems=(Problem(),),
        objective=objective or Objective(),
        path=Path(__file__),
        version="1",
    )
    trial = Trial(
        workload=declared.reference, problem=Problem(), config=Config(), sku=CPU.sku, effort=Effort.QUICK, seed=5
    )
    trials = tuple(replace(trial, config=Config(x=x)) for x in range(count))
    asked = Round(trials=trials, number=number, passes=passes)
    return perform_round(declared, asked, CPU, watchers.pop("on_phase", lambda _: None), **watchers)


def lengths(outcomes):
    return {len(s.values) for one in outcomes if isinstance(one, Measurement) for s in one.metrics.values()}


def test_every_trial_is_prepared_then_called_in_turn_then_verified():
    events = []

    def body(problem, config):
        events.append(("prepare", config.x))
        yield lambda: time.sleep(0.001) or events.append(("call", config.x))
        events.append(("verify", config.x))

    outcomes = run(body)
    assert [isinstance(one, Measurement) for one in outcomes] == [True] * 3, outcomes
    assert lengths(outcomes) == {4}
    assert [x for what, x in events if what == "prepare"] == [x for what, x in events if what == "verify"] == [0, 1, 2]
    assert events[-3:] == [("verify", 0), ("verify", 1), ("verify", 2)]
    assert all(set(one.phase_s) == {"prepare", "warm_up", "measure", "verify"} for one in outcomes)


def test_every_other_pass_goes_the_other_way_round():
    turns_taken, phases = [], []

    def body(problem, config):
        yield lambda: time.sleep(0.001)

    run(body, on_turn=turns_taken.append, on_phase=lambda name: phases.append((name, len(turns_taken))))
    (measuring,), (verifying,) = ([at for name, at in phases if name == wanted] for wanted in ("measure", "verify"))
    assert turns_taken[measuring - 1 : verifying - 1] == [0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0]
    assert all(one != other for (one, _), (other, _) in pairwise(phases))


def test_a_reading_is_the_median_of_the_calls_that_fit():
    calls = {0: [], 1: []}

    def body(problem, config):
        yield lambda: time.sleep(0.0005 if config.x else 0.02) or calls[config.x].append(1) or {"n": 1}

    slow, quick = run(body, count=2, passes=3)
    assert slow.medians["latency_ms"] > 20 > 5 > quick.medians["latency_ms"] > 0.5
    assert len(calls[1]) >= 2 * len(calls[0])
    assert slow.medians["n"] == quick.medians["n"] == 1


def test_a_failing_trial_is_out_and_the_others_are_measured():
    def body(problem, config):
        assert config.x != 0, "cannot be prepared"
        calls = []

        def call():
            calls.append(1)
            if config.x == 1:
                raise ValueError("in a warm-up")
            if config.x == 2 and len(calls) > sampling.MOST_WARM_UP + 1:
                raise LookupError("in a later call")
            time.sleep(0.001)

        yield call
        assert config.x != 3, "off by one"

    outcomes = run(body, count=6)
    kinds = [one.kind if isinstance(one, Failure) else None for one in outcomes]
    runtime = FailureKind.RUNTIME
    assert kinds == [runtime, runtime, runtime, FailureKind.INCORRECT, None, None], outcomes
    said = [one.message for one in outcomes if isinstance(one, Failure)]
    assert [text.partition(":")[0] for text in said] == ["AssertionError", "ValueError", "LookupError", "wrong result"]
    assert [one.phase for one in outcomes[:4]] == ["prepare", "warm_up", outcomes[2].phase, "verify"]
    assert lengths(outcomes) == {4}


def test_where_all_fail_there_is_nothing_left_to_measure():
    def body(problem, config):
        yield lambda: 1 / 0

    assert {one.kind for one in run(body)} == {FailureKind.RUNTIME}


def test_every_body_is_ended_whatever_happens_to_one():
    opened, closed = [], []

    def body(problem, config):
        opened.append(config.x)
        try:
            yield lambda: time.sleep(0.001) if config.x else {}[1]
            assert config.x != 1
        finally:
            closed.append(config.x)

    run(body)
    assert sorted(opened) == sorted(closed) == [0, 1, 2]

    def interrupted(problem, config):
        def call():
            raise KeyboardInterrupt

        opened.append(config.x)
        try:
            yield call if config.x == 1 else lambda: None
        finally:
            closed.append(config.x)

    opened.clear(), closed.clear()
    with pytest.raises(KeyboardInterrupt):
        run(interrupted)
    assert sorted(opened) == sorted(closed) == [0, 1]


def test_a_failure_that_breaks_the_process_loses_the_others_but_not_those_verified_before():
    def body(problem, config):
        yield lambda: time.sleep(0.001)
        if config.x == 1:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    verified, broken, lost = run(body)
    assert isinstance(verified, Measurement)
    assert broken.kind is FailureKind.RUNTIME
    assert lost.kind is FailureKind.LOST
    assert "x=1" in lost.message
    assert "illegal memory access" in lost.message

    def breaks(problem, config):
        if config.x == 1:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        yield lambda: None

    assert [one.kind.value for one in run(breaks)] == ["lost", "runtime", "lost"]


@pytest.mark.parametrize("where", ["prepare", "call"])
def test_bodies_that_do_not_fit_together_are_measured_by_turns(where):
    alive, most, verified, prepared = [], [], [], []

    def crowd(wanted):
        if where == wanted and len(alive) > 2:
            raise MemoryError

    def body(problem, config):
        prepared.append(config.x)
        alive.append(config.x)
        try:
            crowd("prepare")
            most.append(len(alive))

            def call():
                crowd("call")
                time.sleep(0.001)

            yield call
            verified.append(config.x)
        finally:
            alive.remove(config.x)

    outcomes = run(body, passes=7)
    assert [isinstance(one, Measurement) for one in outcomes] == [True] * 3, outcomes
    assert lengths(outcomes) == {7}
    assert sorted(verified) == [0, 1, 2]
    assert prepared[3:] == [0, 1, 2, 2, 1, 0, 0, 1, 2]
    assert most[-9:] == [1] * 9


def test_a_body_that_does_not_even_fit_alone_fails_and_the_others_are_measured():
    def body(problem, config):
        if config.x == 1:
            raise MemoryError
        yield lambda: time.sleep(0.001)

    outcomes = run(body)
    assert isinstance(outcomes[0], Measurement)
    assert outcomes[1].kind is FailureKind.OUT_OF_MEMORY
    assert isinstance(outcomes[2], Measurement)
    assert len(lengths(outcomes)) == 1


def test_long_calls_are_read_the_least_and_not_repeated_until_clocks_are_steady():
    calls = []

    def body(problem, config):
        yield lambda: time.sleep(0.3) or calls.append(config.x)

    outcomes = run(body, count=2, passes=20, number=1)
    assert lengths(outcomes) == {LEAST_PASSES}
    assert len(calls) == 2 * (sampling.LEAST_WARM_UP + LEAST_PASSES)


def test_calls_go_on_untimed_until_two_series_agree(monkeypatch):
    device = SimpleNamespace(now_s=0.0, calls=0)
    monkeypatch.setattr(turns.time, "perf_counter", lambda: device.now_s)

    class Warming:
        index, alive, each_s = 0, True, 0.001

        def time(self, about_s):
            device.calls += 1
            device.now_s += about_s
            return {"latency_ms": 1 + 0.5 * 0.8**device.calls if self.settles else device.calls**2}

    pace = turns.PACES[Effort.FULL]
    Warming.settles = True
    turns._steady([Warming()], pace, pace.first_steady_s)
    assert pace.window_s * 2 < device.now_s < pace.first_steady_s
    Warming.settles, device.now_s = False, 0.0
    turns._steady([Warming()], pace, pace.first_steady_s)
    assert device.now_s == pytest.approx(pace.first_steady_s, abs=2 * pace.reading_s)


def throttled(monkeypatch, reasons):
    """Pass by pass, what holds the clocks back in it; the last goes on."""
    left = list(reasons)

    def watched(measure, device):
        measure()
        return None, Conditions(throttle=left.pop(0) if len(left) > 1 else left[0])

    monkeypatch.setattr(turns, "conditions", lambda device: Conditions(throttle=("sw_power_cap",)))
    monkeypatch.setattr(turns, "watched", watched)


def quick(problem, config):
    yield lambda: time.sleep(0.001)


def test_a_pass_in_which_something_new_holds_the_clocks_back_is_taken_again(monkeypatch):
    seen = []
    cap, hot = ("sw_power_cap",), ("sw_power_cap", "hw_thermal_slowdown")
    throttled(monkeypatch, [cap, hot, cap])
    outcomes = run(quick, on_turn=seen.append)
    assert lengths(outcomes) == {4}
    assert {(one.conditions.throttle, one.conditions.disturbed) for one in outcomes} == {(cap, ())}


def test_passes_are_taken_again_a_few_times_and_then_marked(monkeypatch):
    throttled(monkeypatch, [("hw_thermal_slowdown",)])
    outcomes = run(quick)
    assert lengths(outcomes) == {4}
    assert {one.conditions.disturbed for one in outcomes} == {("hw_thermal_slowdown",)}


def test_metrics_of_the_objective_are_paired_and_those_that_come_and_go_are_left_out():
    def body(problem, config):
        calls = []

        def call():
            calls.append(1)
            time.sleep(0.004)
            return {"tokens_per_s": 100.0 + config.x, **({"extra": 1.0} if len(calls) % 2 else {})}

        yield call

    outcomes = run(body, objective=maximize("tokens_per_s"))
    assert [one.medians["tokens_per_s"] for one in outcomes] == [100, 101, 102]
    assert all(set(one.metrics) == {"latency_ms", "tokens_per_s"} for one in outcomes)


def test_energy_is_read_in_every_pass_where_it_is_the_objective(monkeypatch):
    monkeypatch.setattr(sampling, "energy_per_call", lambda call, clock, device, cap_s: Samples((0.5, 0.7, 0.6)))
    outcomes = run(quick, objective=minimize(ENERGY_J))
    assert [one.metrics[ENERGY_J].values for one in outcomes] == [(0.6,) * 4] * 3


def test_on_error_sees_what_each_body_raised():
    seen = []

    def body(problem, config):
        yield lambda: {}[config.x]

    run(body, on_error=lambda error: seen.append(str(error)))
    assert seen == ["0", "1", "2"]


def test_what_is_left_running_is_charged_to_the_round(monkeypatch):
    monkeypatch.setattr("autotune.bench.leftovers.Present.left_over", lambda self, path: ["process 7 (sleep 100)"])
    outcomes = run(quick)
    assert {one.kind for one in outcomes} == {FailureKind.RUNTIME}
    assert "sleep 100" in outcomes[0].message


def test_every_trial_of_a_round_sees_the_same_random_inputs():
    drawn = []

    def body(problem, config):
        import random

        drawn.append(random.random())
        yield lambda: time.sleep(0.001)

    run(body)
    assert len(set(drawn)) == 1
