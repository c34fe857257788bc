"""Surrogate: keeps a belief up to date with the record: fits it anew now and then, and chooses its candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autotune.search.belief import Belief
from autotune.search.catalogue import Catalogue
from autotune.search.encoding import Encoding, Floats, Row, Rows
from autotune.search.evidence import Evidence, spread
from autotune.search.features import Features
from autotune.search.kernel import Hyperparameters, Kernel
from autotune.search.pool import Pool
from autotune.search.record import Record
from autotune.search.sibling import Sibling
from autotune.search.target import goal_of

WHOLE = 5000
"""A set of no more than this is a candidate as a whole. Whole sets of 12,000 took twice the time and found no more."""
DRAWN = 1500
"""Of others so many are drawn anew at each fit,"""
ELITE = 6
"""next to the neighbours of so many of the best,"""
PROMISING = 300
"""and so many of the former candidates that promised most. More thorough maximisation, by adding the neighbours of the
most promising candidate or of a new best at once, was no better, and worse on synthetic spaces."""
GROWTH = 1.15
"""Hyperparameters are fitted anew when the record has grown by this factor: some 30 times in 400 trials."""
MOST_FITTED = 200
"""Observations that hyperparameters are fitted to: a step of the fit takes 4 ms at 200, and grows with the cube."""
MARGIN = 2.0
"""By how many nats siblings must explain the values better to be listened to."""
KEPT = 448
"""Observations that a new belief is given at most, so that there is room for more."""


class Surrogate:
    """Answers which candidate promises most."""

    def __init__(
        self, catalogue: Catalogue, encoding: Encoding, record: Record, siblings: Sequence[Sibling] = ()
    ) -> None:
        self._catalogue, self._record = catalogue, record
        self._views = [Features(encoding)] + ([Features(encoding, siblings)] if siblings else [])
        self._fits: list[Hyperparameters | None] = [None] * len(self._views)
        self._chosen = len(self._views) - 1
        self._belief: Belief | None = None
        self._promise = np.empty(0)
        self._pool: Pool | None = None
        self._due = 0
        self._whole = catalogue.size is not None and catalogue.size <= WHOLE

    @property
    def trusting(self) -> bool:
        """Whether siblings are listened to: while nothing is known, and where that explains the values better."""
        return bool(self._views[self._chosen].siblings)

    def extend(self, number: int) -> None:
        """The configuration of that number was asked."""
        if self._belief and self._belief.full:
            self.expire()
        if self._belief:
            self._belief.extend(number)

    def expire(self) -> None:
        """The record does not only continue what the belief rests on: a new one is due."""
        self._belief = None

    def proposal(self) -> Row | None:
        """The candidate that promises most; None where all were asked."""
        goal = goal_of(self._record)
        belief = self._current(goal)
        self._promise = belief.promise(goal)
        pick = int(np.argmax(self._promise))
        return tuple(belief.pool.rows[pick].tolist()) if belief.pool.open[pick] else None

    def best(self) -> Row | None:
        """What succeeded and is believed to be best; None where nothing did."""
        goal = goal_of(self._record)
        return self._current(goal).best(goal)

    def _current(self, goal: Floats) -> Belief:
        known = int(np.isfinite(goal).sum())
        if self._belief is None or known >= self._due:
            self._belief = self._new_belief(goal, known)
        return self._belief

    def _new_belief(self, goal: Floats, known: int) -> Belief:
        numbers = self._record.numbers
        settled = numbers[np.isfinite(goal[numbers])]
        ranked = settled[np.argsort(goal[settled], kind="stable")]
        if known >= self._due:
            self._fit(goal, spread(ranked, MOST_FITTED))
            self._due = max(known + 1, int(known * GROWTH))
        features, hyper = self._views[self._chosen], self._fits[self._chosen]
        assert hyper is not None, "the first belief is always due"
        self._pool = Pool(self._candidates(ranked[:ELITE]), self._record)
        kernel = Kernel(features.encoding, hyper)
        return Belief(features, kernel, self._pool, self._record, _thinned(numbers, ranked))

    def _fit(self, goal: Floats, numbers: NDArray[np.intp]) -> None:
        """Choose the more probable explanation of the goals: without siblings, or with them."""
        rows, costs = self._record.rows[numbers], []
        for which, view in enumerate(self._views):
            evidence = Evidence(
                view.encoding, view.encoding(rows), view.said(rows), goal[numbers] - view.expected(rows)
            )
            self._fits[which], cost = evidence.most_probable(self._fits[which])
            costs.append(cost)
        self._chosen = len(costs) - 1 if costs[-1] + MARGIN <= costs[0] else 0

    def _candidates(self, elite: NDArray[np.intp]) -> Rows:
        if self._whole:
            return self._catalogue.draw(WHOLE)
        parts = [self._catalogue.draw(DRAWN)] + [self._catalogue.near(self._record.row(number)) for number in elite]
        parts += [sibling.leaders for sibling in self._views[-1].siblings]
        if self._pool is not None:
            parts.append(self._pool.rows[np.argsort(-self._promise, kind="stable")[:PROMISING]])
        return np.vstack(parts)


def _thinned(numbers: NDArray[np.intp], ranked: NDArray[np.intp]) -> NDArray[np.intp]:
    """At most KEPT of the record: pending ones first, then the latest, the best, and some of all the others."""
    if len(numbers) <= KEPT:
        return numbers
    pending = np.setdiff1d(numbers, ranked)[-KEPT // 2 :]
    latest = numbers[-KEPT // 4 :]
    return np.unique(np.concatenate([pending, latest, spread(ranked, KEPT - len(np.union1d(pending, latest)))]))
