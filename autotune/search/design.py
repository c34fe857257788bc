"""Design: where to look before there is a model."""

from __future__ import annotations

import numpy as np

from autotune.search.encoding import Encoding, Floats, Rows


def farthest(encoding: Encoding, candidates: Rows, taken: Rows, chance: np.random.Generator) -> int:
    """The candidate whose nearest taken row is farthest, maximin (Johnson, Moore and Ylvisaker 1990); ties by chance.

    Without any taken it is the one nearest to the middle of all.
    """
    columns = encoding(candidates)
    if not len(taken):
        return int(np.argmin(((columns - columns.mean(0)) ** 2).sum(1)))
    apart = _nearest(columns, encoding(taken))
    return int(chance.choice(np.flatnonzero(apart >= apart.max() - 1e-9)))


def _nearest(columns: Floats, taken: Floats) -> Floats:
    """The squared distance from each to the nearest taken one."""
    squared = (columns**2).sum(1)[:, None] + (taken**2).sum(1) - 2.0 * columns @ taken.T
    return np.asarray(squared.min(1))
