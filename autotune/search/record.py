"""Record: which configurations were asked and what came of them; what to make of it is `target` and `surrogate`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from autotune.search.encoding import Floats, Row, Rows

FAILED = math.inf
"""The excess of a configuration that gave no value."""
_ROOM = 64


class Record:
    """Rows in the order asked, by number from 0; one that was lost and is asked again gets another number."""

    def __init__(self, parameters: int) -> None:
        self._numbers: dict[Row, int] = {}
        self._count = 0
        self._rows: Rows = np.empty((_ROOM, parameters), dtype=np.int32)
        self._values, self._violation = np.full(_ROOM, np.nan), np.full(_ROOM, np.nan)

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, row: object) -> bool:
        return row in self._numbers

    def add(self, row: Row) -> int:
        """It is asked now and pending; its number."""
        if self._count == len(self._rows):
            self._rows = np.vstack([self._rows, np.empty_like(self._rows)])
            self._values = np.append(self._values, np.full(self._count, np.nan))
            self._violation = np.append(self._violation, np.full(self._count, np.nan))
        number = self._numbers[row] = self._count
        self._rows[number] = row
        self._count += 1
        return number

    def settle(self, row: Row, value: float | None, violation: float) -> None:
        """What came of it; a value or violation that is infinite or no number is a failure."""
        number = self._numbers[row]
        failed = value is None or not math.isfinite(value) or not math.isfinite(violation)
        self._values[number] = math.nan if failed or value is None else value
        self._violation[number] = FAILED if failed else violation

    def drop(self, row: Row) -> None:
        """It was lost, and may be asked again."""
        number = self._numbers.pop(row, None)
        if number is not None:
            self._values[number] = self._violation[number] = math.nan

    def row(self, number: int) -> Row:
        """The one of that number."""
        return tuple(self._rows[number].tolist())

    @property
    def informative(self) -> bool:
        """Whether outcomes differ: else there is nothing that a model could learn from them."""
        excess, values = self.excess, self.values
        told = ~np.isnan(excess)
        outcomes = np.where(excess[told] == 0, values[told], np.inf)
        return bool(told.any() and (outcomes != outcomes[0]).any()) or len(np.unique(excess[told])) > 1

    @property
    def settled(self) -> int:
        """How many configurations something came of."""
        return int((~np.isnan(self.excess)).sum())

    @property
    def succeeded(self) -> bool:
        """Whether any configuration ran and kept the bounds."""
        return bool((self.excess == 0).any())

    @property
    def least(self) -> Row:
        """The one that succeeded with the least value."""
        return self.row(int(np.argmin(np.where(self.excess == 0, self.values, np.inf))))

    @property
    def rows(self) -> Rows:
        """By number, lost ones included."""
        return self._rows[: self._count]

    @property
    def values(self) -> Floats:
        """By number; NaN where pending, failed or lost."""
        return self._values[: self._count]

    @property
    def excess(self) -> Floats:
        """By number, by how much bounds are broken: 0 where none, FAILED, NaN where pending or lost."""
        return np.maximum(self.violation, 0.0)

    @property
    def violation(self) -> Floats:
        """By number, the same where bounds are broken; where they are kept, minus how far they are."""
        return self._violation[: self._count]

    @property
    def numbers(self) -> NDArray[np.intp]:
        """Of the rows that are not lost, ascending."""
        return np.sort(np.fromiter(self._numbers.values(), dtype=np.intp, count=len(self._numbers)))
