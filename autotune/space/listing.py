"""Listing: configurations that are given one by one, and the parameters that they make; none is judged here."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from autotune.errors import SpaceError
from autotune.space.decision_diagram import ABSENT, Table
from autotune.space.parameter import Parameter, is_number, listed
from autotune.values import Config, Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Distinct configurations of the same parameters; one that lacks a parameter has it inactive."""

    parameters: Mapping[str, Parameter]
    rows: tuple[tuple[int, ...], ...]
    """Value indices, ABSENT where inactive; in lexicographic order."""
    first: tuple[int, ...]
    """The row that was given first, the default."""

    @classmethod
    def of(cls, configs: Iterable[Mapping[str, Any]]) -> Self:
        """Values in ascending order where all are numbers, else in order of appearance; parameters likewise."""
        rows = [config if isinstance(config, Config) else Config(config) for config in configs]
        if not rows:
            raise SpaceError("SearchSpace.of() got no configurations; expected at least one.")
        seen: dict[str, dict[Scalar, None]] = {}
        for row in rows:
            for name, value in row.items():
                seen.setdefault(name, {})[value] = None
        parameters = {name: _parameter(name, list(values), rows[0]) for name, values in seen.items()}
        places = {name: {value: i for i, value in enumerate(p.values)} for name, p in parameters.items()}
        indexed = [tuple([places[name][row[name]] if name in row else ABSENT for name in places]) for row in rows]
        return cls(parameters=parameters, rows=tuple(sorted(set(indexed))), first=indexed[0])

    @property
    def table(self) -> Table:
        """The rows as a trie."""
        root: dict[int, Any] = {}
        for row in self.rows:
            table = root
            for index in row:
                table = table.setdefault(index, {})
        return root

    def holds(self, config: Mapping[str, Scalar]) -> bool:
        """Whether the part of the configuration that is listed here is one of the rows."""
        row = tuple(p.index(config[name]) if name in config else ABSENT for name, p in self.parameters.items())
        place = bisect_left(self.rows, row)
        return place < len(self.rows) and self.rows[place] == row

    def default(self, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """The first row with the given values, others than of these parameters aside.

        Where no row has them all it is the row that was given first, with them put in.
        """
        mine = {name: given[name] for name in self.parameters if name in given}
        rows = map(self._config, (self.first, *self.rows))
        return next((row for row in rows if mine.items() <= row.items()), self._config(self.first) | mine)

    def _config(self, row: tuple[int, ...]) -> dict[str, Scalar]:
        return {name: p.values[i] for (name, p), i in zip(self.parameters.items(), row, strict=True) if i != ABSENT}


def _parameter(name: str, values: list[Scalar], first: Mapping[str, Scalar]) -> Parameter:
    numbers = [value for value in values if is_number(value)]
    ordered = sorted(numbers) if len(numbers) == len(values) else values
    return listed(ordered, default=first.get(name, ordered[0]))
