"""Encoding: value indices as coordinates between which a kernel measures distance; the kernel itself is `kernel`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotune.space import Parameter

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
"""Value indices, (configurations, parameters); ABSENT = -1 where a parameter is inactive."""
Row = tuple[int, ...]
"""The same of one configuration."""

PLACE, SAME, ALIGNED = range(3)
"""Kinds of columns: where an ordinal value stands, whether two values are the same, by how many twos one divides."""

MOST_ONE_HOT = 64
"""A parameter with more values than this is not told apart value by value, which would cost a column for each."""
MOST_PLACES = 4096
"""Of more values, consecutive ones are taken together: a range may be too long for a table."""
LOG_RATIO = 4.0
"""Positive values that span more than this factor are placed by their logarithm."""
MOST_TWOS = 7
"""Alignment beyond 128 makes no difference that a GPU kernel feels."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """Tables that turn value indices into columns, and for each column its parameter and its kind."""

    tables: tuple[Floats, ...]
    """By parameter, (values + 1, its columns); the last row, which index -1 reaches, is the inactive parameter's."""
    steps: tuple[int, ...]
    """By parameter, how many consecutive values share a row: 1, unless it has very many."""
    owner: NDArray[np.intp]
    kind: NDArray[np.intp]

    @classmethod
    def of(cls, parameters: Mapping[str, Parameter]) -> Encoding:
        """The encoding of a space's parameters."""
        tables, owner, kind = [], [], []
        steps = tuple(-(-len(parameter.values) // MOST_PLACES) for parameter in parameters.values())
        for place, (parameter, step) in enumerate(zip(parameters.values(), steps, strict=True)):
            columns = _columns(parameter, parameter.values[::step])
            tables.append(np.hstack([table for _, table in columns]))
            for which, table in columns:
                owner += [place] * table.shape[1]
                kind += [which] * table.shape[1]
        return cls(tuple(tables), steps, np.array(owner, dtype=np.intp), np.array(kind, dtype=np.intp))

    def __call__(self, rows: Rows) -> Floats:
        """The columns of each configuration, (configurations, columns)."""
        parts = (table[rows[:, i] // step] for i, (table, step) in enumerate(zip(self.tables, self.steps, strict=True)))
        return np.hstack(list(parts))


def _columns(parameter: Parameter, values: Sequence[object]) -> list[tuple[int, Floats]]:
    """The kinds of columns that tell the values apart, each as a table (values + 1, columns)."""
    if not parameter.ordinal:
        return [(SAME, _one_hot(len(values)))]
    columns = [(PLACE, _with_absent(_places(values)))]
    if 2 < len(values) <= MOST_ONE_HOT or parameter.conditions:
        columns.append((SAME, _one_hot(len(values))))
    twos = _twos(values)
    if twos is not None:
        columns.append((ALIGNED, _with_absent(twos)))
    return columns


def _one_hot(count: int) -> Floats:
    """Rows at distance 1 from one another; of many values a random projection, at distances near 1."""
    if count <= MOST_ONE_HOT:
        return np.asarray(np.eye(count + 1) * np.sqrt(0.5))
    signs = np.random.default_rng(count).choice([-1.0, 1.0], size=(count + 1, MOST_ONE_HOT))
    return np.asarray(signs * np.sqrt(0.5 / MOST_ONE_HOT))


def _with_absent(column: Floats) -> Floats:
    return np.reshape(np.append(column, 0.5), (-1, 1))


def _places(values: Sequence[object]) -> Floats:
    """Numbers scaled to 0 … 1, by their logarithm where they span a large factor."""
    numbers = np.array(values, dtype=float)
    low = numbers.min()
    if low >= 0 and numbers.max() > LOG_RATIO * low:
        numbers = np.log2(numbers + (low < 1))
    return _scaled(numbers)


def _twos(values: Sequence[object]) -> Floats | None:
    """By how many twos each value divides, scaled to 0 … 1; None where that says nothing new."""
    numbers = np.array(values, dtype=float)
    if len(numbers) < 3 or np.any(numbers != np.round(numbers)) or np.abs(numbers).max() > 2**53:
        return None
    whole = np.abs(numbers).astype(np.int64)
    if np.all(whole & (whole - 1) == 0):
        return None
    return _scaled(np.log2(np.gcd(whole, 1 << MOST_TWOS).astype(float)))


def _scaled(numbers: Floats) -> Floats:
    numbers = numbers / (np.abs(numbers).max() or 1.0)  # the difference of two huge ones would overflow
    low, high = numbers.min(), numbers.max()
    return np.zeros(len(numbers)) if high == low else np.asarray((numbers - low) / (high - low))
