"""Score: how searches on a measured space compare with random search, with with the best there is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autotune.scoring.measured_space import Floats, Form, MeasuredSpace

BUDGETS = (50, 100, 200, 400)
"""Trials at which searches are compared."""
SURPLUS = 1e-12
"""What rounding may add to a ratio that is exactly at its limit."""


@dataclass(frozen=True, slots=True)
class Reached:
    """After how many trials each search was near enough to the best; None where it never was."""

    trials: tuple[int | None, ...]

    def share(self, within: int | None = None) -> float:
        """Of the searches that got there, in that many trials or at all."""
        return sum(n is not None and (within is None or n <= within) for n in self.trials) / len(self.trials)

    @property
    def median(self) -> float | None:
        """Trials of the median search; None where half of them never got there."""
        found = statistics.median(math.inf if n is None else n for n in self.trials)
        return None if found == math.inf else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Of several searches with one strategy: 0 is random search, 1 is the best from the start, below 0 is worse.

    By budget in trials, of those budgets that were searched to the end.
    """

    runs: int
    linear: Mapping[int, float]
    """The gap that random search leaves open, and that was closed: the mean over the window of each budget."""
    log: Mapping[int, float]
    """The same on logarithms. To be preferred: it tells strategies apart also where the median is far from the best."""
    ratio: Mapping[int, float]
    """The geometric mean of the best value so far over the best there is; what is worse than the median counts as it.

    Empty where values are not positive.
    """
    within_5pct: Reached
    within_1pct: Reached

    def mean(self, form: Form) -> float | None:
        """Over the budgets; None where there are none."""
        scores = self.linear if form == "linear" else self.log
        return statistics.fmean(scores.values()) if scores else None

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        trials = max(self.log, default=0)
        near = {"5pct": self.within_5pct, "1pct": self.within_1pct}
        return {
            "seeds": self.runs,
            "log_score": {str(budget): value for budget, value in self.log.items()},
            "log_score_mean": self.mean("log"),
            "score": {str(budget): value for budget, value in self.linear.items()},
            "score_mean": self.mean("linear"),
            "time_over_best": {str(budget): value for budget, value in self.ratio.items()},
            **{f"trials_to_{name}": reached.median for name, reached in near.items()},
            **{f"reached_{name}": reached.share() for name, reached in near.items()},
            **{f"reached_{name}_at_200": reached.share(200) for name, reached in near.items() if trials >= 200},
        }


def score(
    space: MeasuredSpace, searches: Sequence[Sequence[int]], trials: int, budgets: Sequence[int] = BUDGETS
) -> Score:
    """How searches of so many trials did, each given as the position of what it would have picked after each trial.

    Where readings are without noise that is the best so far, see `best_so_far`. A search that ended earlier keeps its
    last pick.
    """
    trials = min(trials, space.size)
    picks = _picks(searches, trials)
    within = [budget for budget in budgets if budget <= trials]
    ratios = space.ratios(picks)
    return Score(
        runs=len(searches),
        linear=_against_random(space, picks, within, "linear"),
        log=_against_random(space, picks, within, "log"),
        ratio={budget: _geometric_mean(space, picks[:, budget - 1]) for budget in within if space.positive},
        within_5pct=_reached(ratios, 1.05),
        within_1pct=_reached(ratios, 1.01),
    )


def shares_closed(space: MeasuredSpace, searches: Sequence[Sequence[int]], trials: int, form: Form) -> Floats:
    """A row for each search: the share of the gap that its pick closes after 1, 2, … trials."""
    return space.shares(_picks(searches, trials), form)


def best_so_far(space: MeasuredSpace, order: Sequence[int]) -> list[int]:
    """What a search that measured these positions in this order would have picked after each of them."""
    best: int | None = None
    picks = []
    for position in order:
        if best is None or space.is_better(position, best):
            best = position
        picks.append(best)
    return picks


def mean_score(scores: Iterable[Score]) -> Score:
    """Over several spaces of the same weight, for budgets that all of them have; all searches count for `within`."""
    every = list(scores)
    budgets = [budget for budget in every[0].log if all(budget in one.log for one in every)]
    positive = [budget for budget in budgets if all(budget in one.ratio for one in every)]
    return Score(
        runs=sum(one.runs for one in every),
        linear={budget: statistics.fmean(one.linear[budget] for one in every) for budget in budgets},
        log={budget: statistics.fmean(one.log[budget] for one in every) for budget in budgets},
        ratio={budget: statistics.geometric_mean(one.ratio[budget] for one in every) for budget in positive},
        within_5pct=Reached(tuple(n for one in every for n in one.within_5pct.trials)),
        within_1pct=Reached(tuple(n for one in every for n in one.within_1pct.trials)),
    )


def relative_curve(space: MeasuredSpace, picks: Any, form: Form) -> Floats:
    """P(k): of the gap that random search leaves open after k trials, the share that the searches closed on average."""
    expected = space.baseline(np.shape(picks)[1], form)
    closed = space.shares(picks, form).mean(axis=0)
    return np.asarray((closed - expected) / np.maximum(1.0 - expected, 1e-9))


def _against_random(space: MeasuredSpace, picks: Any, budgets: Sequence[int], form: Form) -> dict[int, float]:
    curve, scores = relative_curve(space, picks, form), {}
    for budget in budgets:
        first, last = space.window(budget, form)
        scores[budget] = float(curve[first - 1 : last].mean())
    return scores


def _geometric_mean(space: MeasuredSpace, picks: Any) -> float:
    worst = space.median / space.best if space.direction == "minimize" else space.best / space.median
    return float(np.exp(np.log(np.minimum(space.ratios(picks), worst)).mean()))


def _reached(ratios: Floats, limit: float) -> Reached:
    near = ratios <= limit + SURPLUS
    return Reached(tuple(int(np.argmax(row)) + 1 if row.any() else None for row in near))


def _picks(searches: Sequence[Sequence[int]], trials: int) -> NDArray[np.intp]:
    """A row for each search."""
    return np.array([_filled(search, trials) for search in searches], dtype=np.intp)


def _filled(search: Sequence[int], trials: int) -> list[int]:
    if not search:
        raise ValueError("a search without trials cannot be scored")
    picks = list(search[:trials])
    return picks + [picks[-1]] * (trials - len(picks))
