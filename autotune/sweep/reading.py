"""From rounds to a night's readings: of a study that was tuned, and of a recheck."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Mapping, Sequence

from autotune.device import Device
from autotune.measurement import Measurement, Outcome
from autotune.plan import Plan
from autotune.registry import RecordedRound
from autotune.sweep.night import Reading
from autotune.values import Config
from autotune.verdict import Verdict


def readings_of_study(
    rounds: Sequence[RecordedRound],
    verdict: Verdict,
    incumbent: Config | None,
    default: Config,
    plan: Plan,
    here: Sequence[Device],
) -> tuple[Reading, ...]:
    """Of the rounds that its verdict rests on: the last in which all that are wanted were measured.

    incumbent: what production ran; not the study's own winner, unless it was that already.
    """
    if not verdict.rounds:  # nothing was measured again
        return ()
    roles = {"default": default}
    if incumbent is not None:
        roles["incumbent"] = incumbent
    if verdict.winner is not None and verdict.winner != incumbent:
        roles["winner"] = verdict.winner
    seen = {config for one in rounds[-verdict.rounds :] for config in one.outcomes}
    roles = {role: config for role, config in roles.items() if config in seen}
    return readings_of_rounds([one.outcomes for one in rounds], roles, plan, here, most=verdict.rounds)


def readings_of_rounds(
    rounds: Sequence[Mapping[Config, Outcome]],
    roles: Mapping[str, Config],
    plan: Plan,
    here: Sequence[Device],
    most: int = 0,
) -> tuple[Reading, ...]:
    """Each role's medians, paired: of the last `most` rounds in which all took part that were ever measured."""
    metric = plan.workload.objective.metric
    measured = {role: config for role, config in roles.items() if any(_is_measured(one, config) for one in rounds)}
    common = [one for one in rounds if all(_is_measured(one, config) for config in measured.values())]
    return tuple(
        Reading(
            role=role,
            config=config,
            medians=tuple(_median(one[config], metric) for one in common[-most:]),
            device=_device(plan, here),
            node=platform.node(),
        )
        for role, config in measured.items()
        if common
    )


def _is_measured(outcomes: Mapping[Config, Outcome], config: Config) -> bool:
    return isinstance(outcomes.get(config), Measurement)


def _median(outcome: Outcome, metric: str) -> float:
    assert isinstance(outcome, Measurement)
    return statistics.median(outcome.metrics[metric].values)


def _device(plan: Plan, here: Sequence[Device]) -> str:
    """Its UUID, where only one device can have been it; an outcome does not say which one measured it."""
    of_sku = [device.uuid for device in here if device.sku == plan.device.sku]
    return of_sku[0] if len(of_sku) == 1 else ""
