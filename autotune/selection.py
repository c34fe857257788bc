"""Selection: which trial of a study becomes the tuned configuration; measuring and storing it happen elsewhere."""

from __future__ import annotations

import platform

import autotune
from autotune.measurement import Measurement
from autotune.progress import Progress
from autotune.registry.records import RecordedTrial
from autotune.tuned_config import TunedConfig
from autotune.values import Config

PRACTICAL_GAIN = 0.01
"""A winner must beat the incumbent and the default by more than this share, or they stay."""


def select(progress: Progress, study_id: int, incumbent: Config | None) -> TunedConfig | None:
    """What a study promotes: its best trial, or the incumbent or the default where that is as good.

    incumbent: what is current now, if it could be measured here. None where no trial keeps the bounds, and where the
    incumbent was not measured again: nothing is put in its place unseen.
    """
    standing = next((trial for trial in progress.trials if trial.config == incumbent), None)
    if incumbent is not None and standing is None:
        return None
    winner = _winner(progress, standing)
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


def _winner(progress: Progress, standing: RecordedTrial | None) -> RecordedTrial | None:
    """The best, unless the gain over the incumbent, or over the default, is not practical or within the noise."""
    winner = progress.best
    for rival in (standing, progress.default):
        if winner and rival and progress.plan.feasible(rival) and not _clearly_better(progress, winner, rival):
            winner = rival
    return winner


def _clearly_better(progress: Progress, one: RecordedTrial, rival: RecordedTrial) -> bool:
    objective = progress.plan.workload.objective
    if not isinstance(one.outcome, Measurement) or not isinstance(rival.outcome, Measurement):
        return False
    samples, against = one.outcome.metrics[objective.metric], rival.outcome.metrics[objective.metric]
    (low, high), (rival_low, rival_high) = samples.interval, against.interval
    apart = high < rival_low if objective.direction == "minimize" else low > rival_high
    return apart and objective.gain(samples.median, over=against.median) > PRACTICAL_GAIN
