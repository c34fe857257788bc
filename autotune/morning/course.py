"""Course: what the nights on record say of one target, in order; what follows from it is in `regression`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autotune.morning.location import center
from autotune.sweep.due import Target
from autotune.sweep.night import Night, Reading, Result
from autotune.values import Config

DISTURBED = 0.05
"""A round so much worse than the better half of its night was disturbed."""

Versions = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One night's word on one target: logarithms of what it cost, in which more is worse whatever the direction."""

    night: str
    """When that night began."""
    role: str
    config: Config
    default: Config | None
    cost: float
    """Of the configuration."""
    variance: float
    """Of `cost`, as its rounds tell."""
    default_cost: float | None
    """None where the default was not measured, or is this configuration."""
    ratio: float | None
    """Of the configuration over the default, from rounds of both: what a round does to both is not in it."""
    ratio_variance: float
    toolchain: Versions
    device: str
    node: str
    value: float
    low: float
    high: float
    """In the metric's own unit: as it was, and the range of its clean rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A target's nights, oldest first."""

    target: Target
    metric: str
    direction: str
    tonight: Point | None
    """None where tonight measured nothing that was in place."""
    before: tuple[Point, ...]
    """At most one a night for each configuration: what was in place, and what won."""


def courses(tonight: Night, history: Iterable[Night]) -> tuple[Course, ...]:
    """Of each of tonight's targets; earlier nights by another metric are another matter and are left out."""
    earlier = [(night, {result.due.target: result for result in night.results}) for night in history]
    return tuple(_course(tonight, result, earlier) for result in tonight.results)


def _course(tonight: Night, result: Result, earlier: Iterable[tuple[Night, dict[Target, Result]]]) -> Course:
    before: list[Point | None] = []
    for night, results in earlier:
        then = results.get(result.due.target)
        if then is not None and (then.metric, then.direction) == (result.metric, result.direction):
            won = [reading for reading in then.readings if reading.role == "winner"]
            before += [point_of(night, then, reading) for reading in filter(None, (incumbent(then), *won))]
    now = incumbent(result)
    return Course(
        target=result.due.target,
        metric=result.metric,
        direction=result.direction,
        tonight=point_of(tonight, result, now) if now else None,
        before=tuple(point for point in before if point is not None),
    )


def incumbent(result: Result) -> Reading | None:
    """What was in place: the incumbent, or the default where that is the best known."""
    roles = {reading.role: reading for reading in result.readings}
    return roles.get("incumbent") or roles.get("default")


def point_of(night: Night, result: Result, reading: Reading) -> Point | None:
    """None for values of which there are no logarithms."""
    sign = 1.0 if result.direction == "minimize" else -1.0
    costs = _costs(reading.medians, sign)
    if costs is None:
        return None
    default = next((one for one in result.readings if one.role == "default"), None)
    beside = None if default is None or default.config == reading.config else _costs(default.medians, sign)
    own, other = _clean(costs), _clean(beside or ())
    ratios = [costs[n] - beside[n] for n in own & other] if beside and len(beside) == len(costs) else []
    return Point(
        night=night.started_at,
        role=reading.role,
        config=reading.config,
        default=default.config if default else None,
        cost=(cost := center([costs[n] for n in own])),
        variance=_variance([costs[n] for n in own]),
        default_cost=center([beside[n] for n in other]) if beside else None,
        ratio=center(ratios) if len(ratios) > 1 else None,
        ratio_variance=_variance(ratios),
        toolchain=tuple(sorted(result.toolchain.items())),
        device=reading.device,
        node=reading.node,
        value=math.exp(sign * cost),
        low=min(reading.medians[n] for n in own),
        high=max(reading.medians[n] for n in own),
    )


def _costs(medians: Sequence[float], sign: float) -> list[float] | None:
    if not medians or not all(0 < value < math.inf for value in medians):
        return None
    return [sign * math.log(value) for value in medians]


def _clean(costs: Sequence[float]) -> set[int]:
    """The rounds that nothing disturbed: what disturbs makes slow, so those near the better half of them.

    Up to half of a night's rounds may be held back, and the rest still say what there is to say.
    """
    if not costs:
        return set()
    better = sorted(costs)[: math.ceil(len(costs) / 2)]
    return {number for number, cost in enumerate(costs) if cost <= statistics.fmean(better) + DISTURBED}


def _variance(values: Sequence[float]) -> float:
    """Of their centre."""
    count = len(values)
    if count < 2:
        return 0.0
    mean = math.fsum(values) / count
    return math.pi / 3 * math.fsum((value - mean) ** 2 for value in values) / (count - 1) / count
