"""Relay: a round whose trials need different environments, run in parts that are put together again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from autotune.bench.throttle import united
from autotune.measurement import Conditions, Failure, Measurement, Outcome, Samples
from autotune.round import LEAST_PASSES, Round

LEGS = LEAST_PASSES
"""How often each environment has its turn: every change of it costs a new process."""

Run = Callable[[Round], tuple[Outcome, ...]]


def relay(asked: Round, run: Run) -> tuple[Outcome, ...]:
    """Run the trials of each environment by themselves, leg by leg, every other leg the other way round.

    The i-th readings come from the same leg, though not from the same process. run: for trials of one environment.
    """
    legs: list[list[Outcome]] = [[] for _ in asked.trials]
    groups = _groups(asked)
    count = max(1, asked.passes // LEGS)
    for leg in range(min(LEGS, asked.passes)):
        for group in groups[::-1] if leg % 2 else groups:
            living = [index for index in group if not any(isinstance(outcome, Failure) for outcome in legs[index])]
            if living:
                part = replace(asked, trials=tuple(asked.trials[index] for index in living), passes=count)
                for index, outcome in zip(living, run(part), strict=True):
                    legs[index].append(outcome)
    return _joined(legs)


def _groups(asked: Round) -> list[list[int]]:
    """The indices of the trials of each environment, in the order in which they come."""
    groups: dict[frozenset[tuple[str, str | None]], list[int]] = {}
    for index, trial in enumerate(asked.trials):
        groups.setdefault(frozenset(trial.environment.items()), []).append(index)
    return list(groups.values())


def _joined(legs: Sequence[Sequence[Outcome]]) -> tuple[Outcome, ...]:
    """The first failure of each, or all its readings: of each leg as many as the shortest part of it has."""
    failures = [next((outcome for outcome in own if isinstance(outcome, Failure)), None) for own in legs]
    whole = [
        [outcome for outcome in own if isinstance(outcome, Measurement)]
        for own, failure in zip(legs, failures, strict=True)
        if failure is None
    ]
    counts = [min(map(_readings, parts)) for parts in zip(*whole, strict=True)]
    measurements = iter([_one(parts, counts) for parts in whole])
    return tuple(failure or next(measurements) for failure in failures)


def _readings(part: Measurement) -> int:
    return min(len(samples.values) for samples in part.metrics.values())


def _one(parts: Sequence[Measurement], counts: Sequence[int]) -> Measurement:
    names = [name for name in parts[0].metrics if all(name in part.metrics for part in parts)]
    metrics = {
        name: Samples(
            tuple(
                value for part, count in zip(parts, counts, strict=True) for value in part.metrics[name].values[:count]
            )
        )
        for name in names
    }
    phases = dict.fromkeys(name for part in parts for name in part.phase_s)
    return Measurement(
        metrics=metrics,
        conditions=_conditions([part.conditions for part in parts]),
        phase_s={name: round(sum(part.phase_s.get(name, 0.0) for part in parts), 6) for name in phases},
    )


def _conditions(states: Sequence[Conditions]) -> Conditions:
    """The last ones, with all that was seen in any leg."""
    return replace(
        states[-1],
        throttle=united(*(state.throttle for state in states)),
        disturbed=united(*(state.disturbed for state in states)),
    )
