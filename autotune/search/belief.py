"""Belief: what a Gaussian process with given hyperparameters expects of each candidate, and which it would measure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autotune.search.acquisition import log_expected_improvement
from autotune.search.encoding import Floats, Row, Rows
from autotune.search.feasibility import log_feasible
from autotune.search.features import Features
from autotune.search.kernel import Kernel, Points
from autotune.search.pool import Pool
from autotune.search.posterior import Posterior
from autotune.search.record import Record

ROOM = 640
"""Configurations asked that it can hold: at 5,000 candidates a proposal then takes 4 ms."""
NEGLIGIBLE = -20.0
"""The log of an expected improvement, in spreads of the goal, below which candidates are told apart by their chance to
run: where nothing is left to gain among what runs, a search would otherwise try what fails."""
LEAST_VARIANCE = 1e-8
"""Single precision leaves this much doubt of a variance of 1."""


class Belief:
    """Extended by each configuration that is asked; pending ones count as if they turned out as expected.

    That leaves the mean where it is and takes the variance around them, so that the next proposal looks elsewhere
    (kriging believer; Ginsbourger, Le Riche and Carraro 2010).
    """

    def __init__(self, features: Features, kernel: Kernel, pool: Pool, record: Record, asked: NDArray[np.intp]) -> None:
        self._features, self._kernel, self.pool, self._record = features, kernel, pool, record
        self._asked = asked.tolist()
        rows = record.rows[asked]
        self._expected_asked, self._expected = features.expected(rows), features.expected(pool.rows)
        self._posterior = Posterior(kernel, self._points(rows), self._points(pool.rows), room=ROOM)

    @property
    def full(self) -> bool:
        """Whether it can hold no more."""
        return not self._posterior.room

    def extend(self, number: int) -> None:
        """The configuration of that number in the record was asked."""
        row = self._record.rows[number : number + 1]
        self.pool.close(tuple(row[0].tolist()))
        self._posterior.observe(self._points(row))
        self._asked.append(number)
        self._expected_asked = np.append(self._expected_asked, self._features.expected(row))

    def promise(self, goal: Floats) -> Floats:
        """The log of the expected improvement times the probability of success, (candidates,); goals by number."""
        violation = self._record.violation[self._asked]
        values = self._complete(goal)
        mean = self._posterior.mean(values) + self._expected
        deviation = np.sqrt(np.maximum(self._posterior.variance, LEAST_VARIANCE))
        counting = self._counting(goal)
        best = float(self._smoothed(values)[counting].min()) if counting.any() else 0.0
        improvement = log_expected_improvement(mean, deviation, best)
        if (violation > 0).any():
            improvement = np.logaddexp(improvement, NEGLIGIBLE) + 1e-9 * improvement  # the last settles what is equal
        promise = improvement + log_feasible(self._posterior, violation)
        return np.where(self.pool.open, promise, -np.inf)

    def best(self, goal: Floats) -> Row | None:
        """The asked configuration with the least mean; None where none succeeded."""
        counting = self._counting(goal)
        if not counting.any():
            return None
        smoothed = np.where(counting, self._smoothed(self._complete(goal)), np.inf)
        return self._record.row(self._asked[int(np.argmin(smoothed))])

    def _complete(self, goal: Floats) -> Floats:
        """What the process is given at the asked: the goal so far as it is not expected anyway, fantasies included."""
        values = goal[self._asked] - self._expected_asked
        return self._posterior.completed(values, np.isfinite(values))

    def _smoothed(self, values: Floats) -> Floats:
        return self._posterior.smoothed(values) + self._expected_asked

    def _counting(self, goal: Floats) -> NDArray[np.bool_]:
        """The asked among which the best is looked for: those that succeeded, or if none did all that are known."""
        excess = self._record.excess[self._asked]
        succeeded = excess == 0
        return np.asarray(succeeded if succeeded.any() else np.isfinite(goal[self._asked]))

    def _points(self, rows: Rows) -> Points:
        return self._kernel.place(self._features.encoding(rows), self._features.said(rows))
