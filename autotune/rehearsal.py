"""Rehearsal: a study of a recorded space, run as any study is, and what it would have picked after each trial."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.executor import Executor
from autotune.plan import Budget, Plan
from autotune.progress import Progress
from autotune.registry import RecordedTrial, Registry
from autotune.search import Prior
from autotune.study import Study
from autotune.values import Config
from autotune.warm_start import WarmStart
from autotune.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What one study did."""

    picks: tuple[Config, ...]
    """After each trial: the best by the readings so far, which are noisy where the executor's are."""
    picked: Config | None
    """In the end: who won the rounds, else the best of the search; None where nothing runs."""
    search_ms: float
    """Of one trial, the mean: what the study took to choose, to record and to learn, all but the measuring."""
    interrupted: bool


def rehearse(
    workload: Workload, executor: Executor, *, sampler: str, seed: int, trials: int, prior: Prior | None = None
) -> Rehearsal:
    """Run the study that `autotune study` would run, and forget it; the executor answers from a recording.

    prior: what it begins from, as a warm start would.
    """
    (problem,), device = workload.problems, executor.devices()[0]
    plan = Plan(
        workload=workload, problem=problem, device=device, budget=Budget(trials=trials), sampler=sampler, seed=seed
    )
    clock = _SearchClock()
    with Registry.memory() as registry:  # of its own, since studies learn from those that are on record
        result = Study(plan, executor, registry, None, clock.watch, known=WarmStart(prior=prior)).run()
    best, verdict = result.progress.best, result.verdict
    fallback = best.config if best else None
    return Rehearsal(
        picks=_picks(plan, result.progress.trials),
        picked=verdict.winner if verdict and verdict.winner is not None else fallback,
        search_ms=clock.trial_ms,
        interrupted=result.state == "interrupted",
    )


def _picks(plan: Plan, trials: Sequence[RecordedTrial]) -> tuple[Config, ...]:
    """The first stands for nothing until something is measured that keeps the bounds."""
    picks: list[Config] = []
    best: float | None = None
    for trial in trials:
        value = plan.value(trial) if plan.feasible(trial) else None
        if not picks or (value is not None and (best is None or plan.workload.objective.better(value, best))):
            best = value if value is not None else best
            picks.append(trial.config)
        else:
            picks.append(picks[-1])
    return tuple(picks)


class _SearchClock:
    """From the first trial to the last one, the rounds and the preparations left out."""

    def __init__(self) -> None:
        self._ended_s: list[float] = []

    def watch(self, progress: Progress, trial: RecordedTrial | None) -> None:
        if trial is not None:
            self._ended_s.append(time.perf_counter())

    @property
    def trial_ms(self) -> float:
        spans = len(self._ended_s) - 1
        return 1e3 * (self._ended_s[-1] - self._ended_s[0]) / spans if spans > 0 else 0.0
