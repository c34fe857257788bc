"""Rounds whose trials need different environments: who is run when, and how the parts are put together."""

from dataclasses import replace
from pathlib import Path

from autotune.executors.relay import LEGS, relay
from autotune.measurement import Conditions, Failure, FailureKind, Measurement, Samples
from autotune.round import Round
from autotune.trial import Trial, WorkloadReference
from autotune.values import Config, Problem


def asked(*environments, passes=9):
    reference = WorkloadReference(path=Path("w.py"), name="w", version="1")
    trial = Trial(workload=reference, problem=Problem(), config=Config(), sku="cpu")
    trials = tuple(
        replace(trial, config=Config(x=x), environment={"ALGO": value}) for x, value in enumerate(environments)
    )
    return Round(trials=trials, number=1, passes=passes)


def measured(*values, **changes):
    return Measurement(metrics={"latency_ms": Samples(values)}, phase_s={"measure": 0.5, "verify": 0.25}, **changes)


def test_each_environment_has_its_turn_in_every_leg_and_every_other_leg_goes_the_other_way_round():
    runs = []

    def run(part):
        runs.append(tuple(trial.config["x"] for trial in part.trials))
        assert len({trial.environment["ALGO"] for trial in part.trials}) == 1
        return tuple(measured(*[10.0 * x + len(runs)] * part.passes) for x in runs[-1])

    outcomes = relay(asked("ring", "tree", "ring"), run)
    assert LEGS == 3
    assert runs == [(0, 2), (1,), (1,), (0, 2), (0, 2), (1,)]
    assert [outcome.metrics["latency_ms"].values for outcome in outcomes] == [
        (1.0,) * 3 + (4.0,) * 3 + (5.0,) * 3,
        (12.0,) * 3 + (13.0,) * 3 + (16.0,) * 3,
        (21.0,) * 3 + (24.0,) * 3 + (25.0,) * 3,
    ]
    assert outcomes[0].phase_s == {"measure": 1.5, "verify": 0.75}


def test_of_each_leg_as_many_readings_count_as_its_shortest_part_has():
    counts = iter([3, 1, 2, 3, 3, 3])
    outcomes = relay(asked("a", "b"), lambda part: (measured(*[float(part.trials[0].config["x"])] * next(counts)),))
    assert [outcome.metrics["latency_ms"].values for outcome in outcomes] == [(0.0,) * 6, (1.0,) * 6]


def test_a_trial_that_fails_is_run_no_more_and_costs_the_others_nothing():
    failure, runs = Failure(kind=FailureKind.RUNTIME, message="it broke"), []

    def run(part):
        runs.append([trial.config["x"] for trial in part.trials])
        return tuple(failure if x == 1 else measured(1.0) for x in runs[-1])

    outcomes = relay(asked("a", "a", "b", passes=3), run)
    assert outcomes[1] is failure
    assert [len(outcomes[x].metrics["latency_ms"].values) for x in (0, 2)] == [3, 3]
    assert sum(1 in part for part in runs) == 1
    assert relay(asked("a", "b"), lambda part: (failure,)) == (failure, failure)


def test_what_held_the_clocks_back_in_any_leg_is_kept():
    reasons = iter([("a",), (), ("b",), (), (), ()])

    def run(part):
        now = next(reasons)
        return (measured(1.0, conditions=Conditions(throttle=now, disturbed=now)),)

    first, second = relay(asked("x", "y"), run)
    assert (first.conditions.throttle, first.conditions.disturbed) == (("a",), ("a",))
    assert second.conditions.throttle == ("b",)
