"""A set of configurations as a decision diagram; what builds it is `solver`, and what it means is `valid_set`.

A node holds every way to continue at one parameter; a path from the root to the leaf is a configuration, one value
index for each parameter. Equal continuations are one node, so a diagram is often tiny where its set is huge.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from autotune.space.parameter import Parameter

ABSENT = -1
"""The value index of an inactive parameter."""

Table = Mapping[int, Any]
"""Listed configurations as a trie: by value index, ascending, the table of the next parameter; empty after the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a diagram is over: parameters in order, parents before children, and what is listed of them."""

    parameters: Mapping[str, Parameter]
    tables: Mapping[str, Table]
    """By the first of the consecutive parameters that the table covers."""
    rows: int
    """Listed configurations, of all tables together."""


class Node:
    """The continuations at one parameter: runs of value indices `starts[i] … stops[i] - 1` that share `children[i]`.

    Runs ascend; ABSENT is a run of its own. `before[i]` configurations come before run i, `count` is all of them. The
    leaf has no runs and counts 1.
    """

    __slots__ = ("before", "children", "count", "starts", "stops")

    def __init__(self, starts: tuple[int, ...], stops: tuple[int, ...], children: tuple[Node, ...]) -> None:
        self.starts, self.stops, self.children = starts, stops, children
        sizes = ((stop - start) * child.count for start, stop, child in zip(starts, stops, children, strict=True))
        self.before: tuple[int, ...] = (0, *accumulate(sizes))
        self.count: int = self.before[-1] if children else 1

    def child(self, index: int) -> Node | None:
        """Where the value index leads; None where it leads nowhere."""
        run = bisect_right(self.starts, index) - 1
        return self.children[run] if run >= 0 and index < self.stops[run] else None

    def edges(self) -> Iterator[tuple[int, Node]]:
        """Each value index with where it leads, ascending."""
        for start, stop, child in zip(self.starts, self.stops, self.children, strict=True):
            for index in range(start, stop):
                yield index, child

    def path(self, rank: int) -> list[int]:
        """The configuration at that place in lexicographic order, from 0 to `count` - 1."""
        node, indices = self, []
        while node.children:
            index, node, rank = node.step(rank)
            indices.append(index)
        return indices

    def step(self, rank: int) -> tuple[int, Node, int]:
        """The first value index on the way to that place, where it leads, and the place to look for there."""
        run = bisect_right(self.before, rank) - 1
        child = self.children[run]
        offset, rank = divmod(rank - self.before[run], child.count)
        return self.starts[run] + offset, child, rank

    def paths(self, prefix: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
        """All configurations in lexicographic order, lazily."""
        if not self.children:
            yield prefix
        for index, child in self.edges():
            yield from child.paths((*prefix, index))

    def columns(self) -> list[array[int]]:
        """All configurations in lexicographic order, as one array('i') of value indices for each parameter."""
        below: dict[Node, list[array[int]]] = {}
        for level in reversed(self._levels()):
            below = {node: node._columns(below) for node in level}  # the level below is not needed any more
        return below[self]

    def _levels(self) -> list[list[Node]]:
        levels = [[self]]
        while levels[-1][0].children:
            levels.append(list(dict.fromkeys(child for node in levels[-1] for child in node.children)))
        return levels

    def _columns(self, below: Mapping[Node, list[array[int]]]) -> list[array[int]]:
        if not self.children:
            return []
        own = array("i")
        rest = [array("i") for _ in below[self.children[0]]]
        for start, stop, child in zip(self.starts, self.stops, self.children, strict=True):
            for index in range(start, stop):
                own.extend(array("i", (index,)) * child.count)
            for column, part in zip(rest, below[child], strict=True):
                column.extend(part * (stop - start))
        return [own, *rest]


LEAF = Node((), (), ())
