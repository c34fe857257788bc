"""What constraints reject: each by itself, and all that there is; what they leave is `solver`'s."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autotune.errors import SpaceError
from autotune.space.constraint import Constraint, ConstraintFault
from autotune.space.decision_diagram import Layout, Node
from autotune.space.solver import SECONDS, STEPS, build
from autotune.space.walk import SATISFIED, Bound, Budget, OverBudget, Walk
from autotune.values import Config, Problem

if TYPE_CHECKING:
    from autotune.device import Device

_EVERY = 20_000
_SAMPLED = 2_000
_REMEDY = "Relax it, or give the parameters that it reads more values."


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """What one constraint rejects by itself."""

    constraint: Constraint
    share: float
    """Of all configurations of the space."""
    exact: bool
    """Every configuration was looked at, not a sample of them."""
    example: Config | None
    """A configuration that it rejects, where one was seen."""


def rejections(layout: Layout, every: Node, constraints: Sequence[Bound], rng: random.Random) -> list[Rejection]:
    """What each constraint rejects of `every` configuration, or of a sample of them where they are many."""
    exact = every.count <= _EVERY
    paths = every.paths() if exact else (every.path(rng.randrange(every.count)) for _ in range(_SAMPLED))
    walk, looked_at = Walk(layout, constraints), every.count if exact else _SAMPLED
    rejected = [0] * len(constraints)
    examples: list[Config | None] = [None] * len(constraints)
    for path in paths:
        for which in _rejecting(walk, path):
            rejected[which] += 1
            examples[which] = examples[which] or walk.assignment.chosen
    return [
        Rejection(constraint=constraint, share=count / looked_at, exact=exact, example=example)
        for (constraint, _), count, example in zip(constraints, rejected, examples, strict=True)
    ]


def _rejecting(walk: Walk, path: Sequence[int]) -> list[int]:
    for place, index in enumerate(path):
        walk.assign(place, index)
    satisfied = (SATISFIED,) * len(walk.constraints)
    verdicts = [walk.judge(satisfied, [which])[0] for which in range(len(satisfied))]
    if None not in verdicts:
        for waits in filter(None, verdicts):
            walk.finish(waits)
    return [which for which, waits in enumerate(verdicts) if waits is None]


def nothing_left(layout: Layout, constraints: Sequence[Bound], problem: Problem, device: Device | None) -> SpaceError:
    """What to raise where no configuration is valid: it names the constraint that rejects all that there is."""
    place = f"for {problem.text or 'this problem'}" + (f" on {device.sku}" if device else "")
    for constraint, predicate in constraints:
        if _is_empty(layout, [(constraint, predicate)]):
            return SpaceError(f"no configuration is valid {place}: {_told(constraint)} rejects every one. {_REMEDY}")
    for count in range(2, len(constraints) + 1):
        if _is_empty(layout, constraints[:count]):
            *others, (last, _) = constraints[:count]
            before = " and ".join(constraint.name for constraint, _ in others)
            return SpaceError(
                f"no configuration is valid {place}: {_told(last)} rejects every one that {before} leave. {_REMEDY}"
            )
    names = " and ".join(_told(constraint) for constraint, _ in constraints)
    return SpaceError(
        f"no configuration was found that is valid {place}: {names} reject all that were tried. {_REMEDY}"
    )


def _is_empty(layout: Layout, constraints: Sequence[Bound]) -> bool:
    try:
        return build(layout, constraints, Budget(STEPS, SECONDS)) is None
    except (OverBudget, ConstraintFault):
        return False


def _told(constraint: Constraint) -> str:
    return constraint.name if constraint.reason == constraint.name else f"{constraint.name} ({constraint.reason})"
