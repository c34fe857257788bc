"""Target: measured values as a model is to predict them, stretched where they are good."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autotune.search.encoding import Floats
from autotune.search.record import FAILED, Record

FLOOR = 0.05
"""Gaps below this share of that between best and median are hardly told apart: that is about what noise is. Of .005,
.02, .05 and .1 it was best on synthetic spaces; on recorded ones it equals .02."""

FEWEST_RAN = 2
"""Below this many values there is nothing else to tell good from bad by than what failed."""


@dataclass(frozen=True, slots=True)
class Target:
    """The log of the gap to the best value seen, clipped at the median, then standardised: the least is the best.

    What is worse than the median teaches little of where the best is, and how much worse it is less than nothing.
    Gaps, unlike values, may be taken the log of whatever their sign and unit.
    """

    best: float
    scale: float
    centre: float
    spread: float

    @classmethod
    def of(cls, values: Floats) -> Target:
        """As these values demand, of which there must be some, all finite."""
        best = float(values.min())
        with np.errstate(over="ignore"):
            scale = float(np.median(values) - best)
        raw = cls(best, scale, 0.0, 1.0)(values)
        return cls(best, scale, float(raw.mean()), float(raw.std()) or 1.0)

    def __call__(self, values: Floats) -> Floats:
        """Of finite values, other ones included."""
        if not self.scale > 0:  # half of them are equal: then by whether they are
            return np.asarray((np.sign(values - self.best) - self.centre) / self.spread)
        with np.errstate(over="ignore"):
            gap = np.clip((values - self.best) / self.scale, 0.0, 1.0)
        return np.asarray((np.log(gap + FLOOR) - self.centre) / self.spread)


def goal_of(record: Record) -> Floats:
    """The target of each configuration asked, by number; NaN where nothing is known.

    Until something keeps the bounds the target is by how much they are broken. A failure has no value, and is given
    none: taken for the worst it would make what lies beside it look bad, and that is often where the best is. How
    likely something fails is `feasibility`'s question. Only where hardly anything ran, all but failures look alike.
    """
    excess = record.excess
    ran = np.isfinite(excess)
    feasible = excess == 0
    values, measured = (record.values, feasible) if feasible.any() else (excess, ran)
    goal = np.full(len(values), np.nan)
    if measured.any():
        goal[ran] = Target.of(values[measured])(values[ran])
    if ran.sum() < FEWEST_RAN:
        goal[excess == FAILED] = max(0.0, np.max(goal[ran], initial=0.0))
    return goal
