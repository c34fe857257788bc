"""Selection: which trial of a study becomes the tuned configuration; measuring and storing it happen elsewhere."""

from __future__ import annotations

import platform

import autotune
from autotune.measurement import Measurement
from autotune.progress import Progress
from autotune.registry.records import RecordedTrial
from autotune.tuned_config import TunedConfig

PRACTICAL_GAIN = 0.01
"""A winner must beat the default by more than this share, or the default stays."""


def select(progress: Progress, study_id: int) -> TunedConfig | None:
    """What a study promotes: its best trial, or a default that is as good; None where no trial keeps the bounds."""
    winner = _winner(progress)
    if winner is None or not isinstance(winner.outcome, Measurement):
        return None
    plan, objective = progress.plan, progress.plan.workload.objective
    samples = winner.outcome.metrics[objective.metric]
    return TunedConfig(
        workload=plan.workload.name,
        version=plan.workload.version,
        problem=plan.problem,
        sku=plan.device.sku,
        gpus=plan.gpus,
        config=winner.config,
        metric=objective.metric,
        direction=objective.direction,
        value=samples.median,
        interval=samples.interval,
        baseline=plan.value(progress.default),
        baseline_config=progress.default_config,
        speedup=plan.speedup(winner, over=progress.default),
        toolchain=plan.key.toolchain,
        measured_at=winner.finished_at,
        provenance={
            "study": study_id,
            "trial": winner.number,
            "trials": len(progress.trials),
            "failures": sum(progress.failures.values()),
            "metrics": winner.outcome.medians,
            "effort": plan.effort.value,
            "objective": objective.text,
            "device": plan.device.name,
            "host": platform.node(),
            "autotune": autotune.__version__,
        },
    )


def _winner(progress: Progress) -> RecordedTrial | None:
    """The best, unless the default keeps the bounds and the gain over it is not practical or within the noise."""
    best, default, objective = progress.best, progress.default, progress.plan.workload.objective
    if best is None or default is None:
        return best
    if not isinstance(best.outcome, Measurement) or not isinstance(default.outcome, Measurement):
        return best
    if not objective.feasible(default.outcome.medians):
        return best
    best_low, best_high = best.outcome.metrics[objective.metric].interval
    default_low, default_high = default.outcome.metrics[objective.metric].interval
    apart = best_high < default_low if objective.direction == "minimize" else best_low > default_high
    speedup = progress.speedup
    return best if apart and speedup is not None and speedup > 1 + PRACTICAL_GAIN else default
