"""Finalists: which configurations of a search are measured again; who of them wins is up to `contest`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from autotune.measurement import Measurement
from autotune.plan import Plan
from autotune.registry.records import RecordedTrial
from autotune.values import Config

MOST_FINALISTS = 8
DRIFT = 0.25
"""How much worse than the best a finalist may have read. A sustained load lowers the clocks of a GPU by a fifth within
seconds (1.98 to 1.6 GHz is 24 % more time), so two readings of a search, taken minutes apart, may differ by that."""


def finalists(plan: Plan, trials: Sequence[RecordedTrial], others: Iterable[Config]) -> tuple[Config, ...]:
    """The best of the search that keep the bounds, best first; none of them, or of `others`, is another's equal.

    others: the default and the incumbent, which take part anyway. Two configurations are equal where both compile to
    the same binary.
    """
    measured = [trial for trial in trials if plan.feasible(trial)]
    objective = plan.workload.objective
    ranked = sorted(measured, key=lambda t: plan.value(t) or 0.0, reverse=objective.direction == "maximize")
    best = plan.value(ranked[0]) if ranked else None
    binaries = {trial.config: _binary(trial) for trial in trials}
    taken = {binaries.get(config, config) for config in others}
    chosen: list[Config] = []
    for trial in ranked:
        value = plan.value(trial)
        if best is None or value is None or objective.gain(value, over=best) < -DRIFT:
            break
        if binaries[trial.config] not in taken and len(chosen) < MOST_FINALISTS:
            taken.add(binaries[trial.config])
            chosen.append(trial.config)
    return tuple(chosen)


def _binary(trial: RecordedTrial) -> Config:
    """The configuration that stands for all with its binary: the first of them that was measured."""
    same = trial.outcome.same_binary_as if isinstance(trial.outcome, Measurement) else None
    return trial.config if same is None else same
