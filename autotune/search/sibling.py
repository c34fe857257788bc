"""Sibling: what one source of the prior says of any configuration; how far it is trusted is learnt in `surrogate`."""

from __future__ import annotations

import numpy as np

from autotune.search.encoding import Encoding, Floats, Row, Rows
from autotune.search.evidence import Evidence, spread
from autotune.search.kernel import Kernel, Points
from autotune.search.posterior import Posterior
from autotune.search.prior import Outcomes, Prior
from autotune.search.target import Target
from autotune.space.valid_set import ValidSet

MOST_FITTED = 150
"""Recordings that hyperparameters are fitted to, once, before the first proposal."""
MOST_OBSERVED = 400
"""Recordings that predictions rest on, where a configuration was not recorded."""
LEADERS = 50
"""How many of a source's best are candidates in a set that is too large to be one as a whole."""
FEWEST = 3
"""A source with fewer values says nothing."""


class Sibling:
    """Goals (see `target`) as recorded, and elsewhere as a Gaussian process predicts them from the recordings."""

    def __init__(self, encoding: Encoding, rows: list[Row], values: Floats, valid: ValidSet) -> None:
        self._encoding = encoding
        good = np.isfinite(values)
        goal = np.full(len(rows), np.nan)
        goal[good] = Target.of(values[good])(values[good])
        goal[~good] = max(0.0, goal[good].max())
        self._recorded: dict[Row, float] = dict(zip(rows, goal.tolist(), strict=True))
        self._ranked = np.argsort(goal, kind="stable")
        self._kernel: Kernel | None = None
        best = (rows[place] for place in self._ranked[:LEADERS])
        self.leaders: Rows = _stacked([row for row in best if valid.at(row) in valid], len(encoding.tables))
        """The best of what was recorded, so far as it is valid here, the best first."""

    def __call__(self, rows: Rows) -> Floats:
        """The goal of each, (rows,): 0 on average over the source, about -2 for its best."""
        goal = np.array([self._recorded.get(row, np.nan) for row in map(tuple, rows.tolist())], dtype=float)
        missing = np.isnan(goal)
        if missing.any():
            goal[missing] = self._predicted(rows[missing])
        return goal

    def _predicted(self, rows: Rows) -> Floats:
        everything, goal = np.array(list(self._recorded), dtype=np.int32), np.array(list(self._recorded.values()))
        if self._kernel is None:
            few = spread(self._ranked, MOST_FITTED)
            evidence = Evidence(self._encoding, self._encoding(everything[few]), np.zeros((len(few), 0)), goal[few])
            self._kernel = Kernel(self._encoding, evidence.most_probable()[0])
        some = spread(self._ranked, MOST_OBSERVED)
        points = (self._points(everything[some]), self._points(rows))
        return Posterior(self._kernel, *points, room=len(some)).mean(goal[some])

    def _points(self, rows: Rows) -> Points:
        assert self._kernel is not None
        return self._kernel.place(self._encoding(rows), np.zeros((len(rows), 0)))


def _stacked(rows: list[Row], parameters: int) -> Rows:
    return np.array(rows, dtype=np.int32).reshape(-1, parameters)


def siblings_of(prior: Prior, valid: ValidSet, encoding: Encoding) -> list[Sibling]:
    """One for each source that has something to say of this space; configurations of other spaces are left out."""
    found = []
    for outcomes in prior.sources.values():
        rows, values = _of_this_space(outcomes, valid)
        if np.isfinite(values).sum() >= FEWEST and np.ptp(values[np.isfinite(values)]) > 0:
            found.append(Sibling(encoding, rows, values, valid))
    return found


def _of_this_space(outcomes: Outcomes, valid: ValidSet) -> tuple[list[Row], Floats]:
    rows: list[Row] = []
    values: list[float] = []
    for config, value in outcomes.items():
        try:
            rows.append(valid.row(config))
        except ValueError:
            continue
        values.append(np.nan if value is None or not np.isfinite(value) else value)
    return rows, np.array(values)
