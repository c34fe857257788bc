"""MeasuredSpace: the values of all configurations of a space, and the expectation of random search on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Direction = Literal["minimize", "maximize"]
Form = Literal["linear", "log"]

Floats = NDArray[np.float64]

START, CUTOFF = 0.50, 0.96
"""Shares of the gap that random search has closed where the comparison begins, and where it ends."""
LEAST_BASELINE = 400
"""Trials over which random search is looked at, at least, to find where it reaches these."""


class MeasuredSpace:
    """One value for each configuration, NaN where it failed; at least one must not have.

    A configuration's share of the gap is that between the median and the best value which it closes: 0 for a failure
    and for what is worse than the median. In the log form it is the share of the gap between their logarithms, which
    tells good from better also where the median is many times the best. Where the median or the best is not positive
    there are no logarithms, and the log form is the linear one.
    """

    def __init__(self, values: Sequence[float], direction: Direction = "minimize") -> None:
        self.values: Floats = np.asarray(values, dtype=np.float64)
        self.direction = direction
        measured = self.values[~np.isnan(self.values)]
        if not len(measured):
            raise ValueError("no configuration has a value; a search cannot be scored where everything failed")
        self.best = float(measured.min() if direction == "minimize" else measured.max())
        self.median = float(np.median(measured))
        self._closed: dict[Form, Floats] = {form: self._shares(form) for form in ("linear", "log")}
        self._baselines: dict[Form, Floats] = {}

    @property
    def size(self) -> int:
        """Configurations, those that failed included."""
        return len(self.values)

    @property
    def positive(self) -> bool:
        """Whether the better half of the values is: only then do ratios and logarithms mean something."""
        return min(self.median, self.best) > 0

    def is_better(self, position: int, than: int) -> bool:
        """Whether its value is strictly better; anything is better than a failure."""
        value, other = self.values[position], self.values[than]
        if np.isnan(value) or np.isnan(other):
            return bool(np.isnan(other) and not np.isnan(value))
        return bool(value < other if self.direction == "minimize" else value > other)

    def shares(self, positions: Any, form: Form) -> Floats:
        """The share of the gap that each configuration closes."""
        return self._closed[form][np.asarray(positions, dtype=np.intp)]

    def ratios(self, positions: Any) -> Floats:
        """How many times worse than the best each configuration is; infinite where it failed, or is not positive."""
        values = self.values[np.asarray(positions, dtype=np.intp)]
        if self.best <= 0:
            return np.where(values == self.best, 1.0, np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = values / self.best if self.direction == "minimize" else self.best / values
        return np.where(np.isnan(ratios) | (ratios <= 0), np.inf, ratios)

    def baseline(self, trials: int, form: Form) -> Floats:
        """The expected share after 1, 2, … trials of random search without replacement, exactly.

        Of k draws from n configurations sorted by share, best first, the best is the j-th with the probability
        C(n - j, k - 1) / C(n, k).
        """
        trials = min(trials, self.size)
        if len(self._baselines.get(form, ())) < trials:
            self._baselines[form] = _best_of_draws(self._closed[form], trials)
        return self._baselines[form][:trials]

    def window(self, budget: int, form: Form) -> tuple[int, int]:
        """The first and the last trial at which searches are compared.

        From where random search has closed half of the gap, and from half of the budget at the latest, to where it has
        closed 96 %, or to the end of the budget.
        """
        expected = self.baseline(max(budget, LEAST_BASELINE), form)
        first = max(1, min(_first(expected >= START, budget // 2), budget // 2))
        return first, max(first, min(_first(expected >= CUTOFF, budget), budget))

    def _shares(self, form: Form) -> Floats:
        values, median, best = self.values, self.median, self.best
        if form == "log" and self.positive:
            values = np.log(np.where(values > 0, values, np.nan))
            median, best = float(np.log(median)), float(np.log(best))
        if median == best:  # there is no gap: what is as good as the best has closed it
            worse = values > best if self.direction == "minimize" else values < best
            return np.where(np.isnan(values) | worse, 0.0, 1.0)
        shares = np.clip((median - values) / (median - best), 0.0, 1.0)
        return np.where(np.isnan(shares), 0.0, shares)


def _first(reached: NDArray[np.bool_], otherwise: int) -> int:
    """The number, from 1, of the first that is true."""
    return int(np.argmax(reached)) + 1 if reached.any() else otherwise


def _best_of_draws(shares: Floats, trials: int) -> Floats:
    size = len(shares)
    ranked = np.sort(shares)[::-1]
    ranked = ranked[ranked > 0]  # the others add nothing to the sum
    place = np.arange(1, len(ranked) + 1)
    chance = np.full(len(ranked), 1.0 / size)  # that the best of k draws is at this place; k is 1
    expected = [float(chance @ ranked)]
    for draws in range(2, trials + 1):
        left = np.maximum(size - place - draws + 2, 0)
        chance = chance * (draws / (draws - 1)) * left / (size - draws + 1)
        expected.append(float(chance @ ranked))
    return np.array(expected)
