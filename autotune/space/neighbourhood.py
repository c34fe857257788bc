"""What is near a configuration in a decision diagram: everything by distance, and what differs in one value."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush, merge
from itertools import chain, islice

from autotune.space.decision_diagram import ABSENT, Node

MOST_PER_PARAMETER = 256
"""Of a parameter with more values only this many, the nearest, make neighbours."""

_Edge = tuple[int, float, int, Node]
"""Differing parameters, distance, value index, where it leads."""
_Step = tuple[int, float, tuple[int, ...], Node]
"""The same of a prefix: its value indices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where one parameter should be: a value index, and how far from it the others are."""

    index: int
    wished: bool
    """Whether another value counts as a difference; else it is only farther away."""
    span: int | None
    """From the first value index to the last, of an ordinal parameter; of others None: all values are equally far."""

    def edges(self, node: Node) -> Iterator[_Edge]:
        """What the node offers, the nearest first."""
        runs = zip(node.starts, node.stops, node.children, strict=True)
        return merge(*(self._run(start, stop, child) for start, stop, child in runs))

    def _run(self, start: int, stop: int, child: Node) -> Iterator[_Edge]:
        if start == ABSENT:
            yield 0, 0.0, ABSENT, child
            return
        if start <= self.index < stop:
            yield 0, 0.0, self.index, child
        below, above = range(start, min(stop, self.index)), range(max(start, self.index + 1), stop)
        if self.span is None:
            for index in chain(below, above):
                yield int(self.wished), 1.0, index, child
        else:
            for index in merge(reversed(below), above, key=self._steps):
                yield int(self.wished), self._steps(index) / self.span, index, child

    def _steps(self, index: int) -> int:
        return abs(index - self.index)


def nearest(root: Node, targets: Sequence[Target], steps: int) -> Iterator[tuple[int, ...]]:
    """All paths of the diagram, first by how many parameters differ, then by the sum of the distances; at most `steps`.

    A best-first search for the shortest, second shortest, … path. A node is expanded once for each path that has been
    found and once more, no matter how many prefixes lead to it: only the k shortest of them can be part of one of the
    k shortest paths, so the others wait.
    """
    frontier: list[tuple[_Step, Iterator[_Step]]] = []
    waiting: defaultdict[Node, list[_Step]] = defaultdict(list)
    expanded: Counter[Node] = Counter()
    found = 0
    _push(frontier, iter([(0, 0.0, (), root)]))
    for _ in range(steps):
        if not frontier:
            return
        step, siblings = heappop(frontier)
        _push(frontier, siblings)
        node = step[-1]
        if not node.children:
            found += 1
            yield step[2]
            for steps_to_node in filter(None, waiting.values()):
                _push(frontier, iter([heappop(steps_to_node)]))
        elif expanded[node] > found:
            heappush(waiting[node], step)
        else:
            expanded[node] += 1
            _push(frontier, _continued(step, targets))


def _push(frontier: list[tuple[_Step, Iterator[_Step]]], steps: Iterator[_Step]) -> None:
    """Only the first: those after it follow when it is taken, for they are no nearer."""
    for step in steps:
        heappush(frontier, (step, steps))
        return


def _continued(step: _Step, targets: Sequence[Target]) -> Iterator[_Step]:
    differing, distance, indices, node = step
    for differs, apart, index, child in targets[len(indices)].edges(node):
        yield differing + differs, distance + apart, (*indices, index), child


def neighbours(root: Node, indices: Sequence[int], targets: Sequence[Target]) -> Iterator[Iterator[tuple[int, ...]]]:
    """For each other value of an active parameter, the nearest first: the paths that take it and keep all else.

    There are several where it activates parameters. These take any value, the nearest to their targets first.
    """
    node: Node | None = root
    for place, index in enumerate(indices):
        if node is None:
            return
        if index != ABSENT:
            others = (edge for edge in targets[place].edges(node) if edge[2] not in (index, ABSENT))
            for _, _, other, child in islice(others, MOST_PER_PARAMETER):
                yield _completions(child, (*indices[:place], other), indices, targets)
        node = node.child(index)


def _completions(
    node: Node, prefix: tuple[int, ...], indices: Sequence[int], targets: Sequence[Target]
) -> Iterator[tuple[int, ...]]:
    if not node.children:
        yield prefix
        return
    place = len(prefix)
    if indices[place] == ABSENT:
        edges = ((index, child) for _, _, index, child in targets[place].edges(node))
    else:
        edges = ((index, child) for index in (indices[place], ABSENT) if (child := node.child(index)))
    for index, child in edges:
        yield from _completions(child, (*prefix, index), indices, targets)
