"""Catalogue: the valid configurations as rows of value indices; which of them are worth a look is `pool`."""

from __future__ import annotations

import random

import numpy as np

from autotune.search.encoding import Row, Rows
from autotune.space.valid_set import ValidSet

HELD = 100_000
"""Up to this many are held in memory, at a few bytes a value; of more, rows are drawn one by one."""
DRAWS_A_ROW = 2
"""How many draws are spent per row wanted, where rows repeat."""


class Catalogue:
    """Draws rows, and finds those near one."""

    def __init__(self, valid: ValidSet, seed: int) -> None:
        self._valid = valid
        self._random = random.Random(seed)
        self._numbers = np.random.default_rng(seed)
        self._near: dict[Row, Rows] = {}
        self._held: Rows | None = None
        if valid.exact and valid.size <= HELD:
            self._held = np.stack([np.array(column, dtype=np.int32) for column in valid.columns().values()], axis=1)

    @property
    def size(self) -> int | None:
        """How many rows there are; None where that is only estimated."""
        return self._valid.size if self._valid.exact else None

    def draw(self, count: int) -> Rows:
        """Distinct rows drawn uniformly: all of them where there are no more than that."""
        if self._held is not None:
            if count >= len(self._held):
                return self._held
            return self._held[self._numbers.choice(len(self._held), count, replace=False)]
        drawn: dict[Row, None] = {}
        for _ in range(DRAWS_A_ROW * count):
            drawn[self._valid.row(self._valid.sample(self._random))] = None
            if len(drawn) == count:
                break
        return np.array(list(drawn), dtype=np.int32)

    def near(self, row: Row) -> Rows:
        """The rows that differ from it in one value."""
        if row not in self._near:
            found = [self._valid.row(config) for config in self._valid.neighbours(self._valid.at(row))]
            self._near[row] = np.array(found, dtype=np.int32).reshape(-1, len(row))
        return self._near[row]

    def shuffled(self) -> Rows:
        """All rows that are held, or some, in random order."""
        rows = self.draw(HELD if self._held is not None else 1000)
        return rows[self._numbers.permutation(len(rows))]
