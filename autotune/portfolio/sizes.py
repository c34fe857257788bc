"""Sizes: what one configuration for all problems loses, what two lose, and so on; measuring is elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.portfolio import tree
from autotune.portfolio.choice import Chosen, choices
from autotune.portfolio.domain import Domain
from autotune.portfolio.growth import Growth
from autotune.portfolio.losses import Loss, Losses
from autotune.portfolio.rule import Rule
from autotune.values import Problem

ENOUGH = 0.02
"""Without a wish the smallest size is taken whose worst loss is below this share: twice what a winner must win by."""
MOST = 8
"""And no larger size than that: each configuration is a binary to compile and to keep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """The best rule with at most so many configurations, and what it loses on each problem."""

    at_most: int
    rule: Rule
    losses: tuple[float, ...]
    """In the order of the problems; infinite where it has no configuration that runs."""

    @property
    def loss(self) -> Loss:
        """Over all problems."""
        return Loss.of(self.losses)


def sizes(losses: Losses, at_most: int) -> list[Sized]:
    """With at most 1, 2, … configurations; it ends where a further one gains nothing."""
    found: list[Sized] = []
    for number, chosen in enumerate(choices(losses, at_most), 1):
        sized = _sized(losses, chosen, number)
        if found and sized.loss.order >= found[-1].loss.order:
            sized = Sized(at_most=number, rule=found[-1].rule, losses=found[-1].losses)
        found.append(sized)
    return found


def smallest_enough(found: Sequence[Sized]) -> Sized:
    """The first that covers all that can be covered with a worst loss below `ENOUGH`, or the largest."""
    least = found[-1].loss.uncovered
    return next((one for one in found if one.loss.uncovered == least and one.loss.worst < ENOUGH), found[-1])


def _sized(losses: Losses, chosen: Chosen, at_most: int) -> Sized:
    best = losses.best_of(chosen)
    covered = [number for number, loss in enumerate(best) if loss < math.inf]
    root = Growth(losses, chosen, covered).tree()
    used = list(dict.fromkeys(tree.leaves(root)))
    problems = losses.problems
    rule = Rule(
        configs=tuple(losses.configs[number] for number in used),
        root=tree.renumbered(root, {number: place for place, number in enumerate(used)}),
        domain=Domain.of([problems[number] for number in covered]),
        uncovered=tuple(problem for number, problem in enumerate(problems) if number not in covered),
    )
    return Sized(at_most=at_most, rule=rule, losses=_lost(losses, rule))


def _lost(losses: Losses, rule: Rule) -> tuple[float, ...]:
    def lost(number: int, problem: Problem) -> float:
        config = rule.pick(problem)
        return math.inf if config is None else losses.rows[losses.configs.index(config)][number]

    return tuple(lost(number, problem) for number, problem in enumerate(losses.problems))
