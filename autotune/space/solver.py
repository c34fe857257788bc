"""What constraints leave of a space: its decision diagram, or one configuration; no product is walked through.

Constraints are opaque, so all that is known comes from running them on assignments that are not complete yet: one that
returns has decided for every completion, one that reads a parameter without a value waits for that parameter. What a
sub-tree holds depends only on the values that were read in it; it is kept under these and found again for every
assignment that agrees on them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

from autotune.space.constraint import ConstraintFault
from autotune.space.decision_diagram import ABSENT, LEAF, Layout, Node, Table
from autotune.space.walk import SATISFIED, Bound, Budget, Memory, OverBudget, Waits, Walk

STEPS = 300_000
"""What a diagram may cost before constraints are left out of it: values tried and constraints run, 1 to 2 us each."""
SECONDS = 2.0
"""The same for slow predicates. Generous, for what is found must not depend on how busy the machine is."""

_PROBES = 64
_HOPELESS = 10


def solve(layout: Layout, constraints: Sequence[Bound]) -> tuple[Node | None, list[Bound]]:
    """The diagram of what the constraints allow, None where that is nothing, and the constraints that are not in it.

    Where all of them together would cost too much, those are left out that read the most values.
    """
    kept = list(range(len(constraints)))
    breadths: list[float] = []
    while kept:
        budget = Budget(STEPS + layout.rows * len(layout.parameters), SECONDS)
        try:
            root = build(layout, [constraints[which] for which in kept], budget)
            return root, [bound for which, bound in enumerate(constraints) if which not in kept]
        except OverBudget:
            breadths = breadths or _breadths(layout, constraints)
            widest = max(kept, key=breadths.__getitem__)
            kept = [which for which in kept if which != widest and breadths[which] < _HOPELESS * STEPS]
        except ConstraintFault as fault:  # perhaps one that was left out rejects what this one cannot take
            if len(kept) == len(constraints):
                raise
            kept = [which for which in kept if constraints[which][0] != fault.constraint]
    return build(layout, ()), list(constraints)


def _breadths(layout: Layout, constraints: Sequence[Bound]) -> list[float]:
    """For each constraint about how many combinations of values it tells apart.

    Knuth's estimate of the size of a tree: the mean over random paths of the product of the branchings on the path
    (Estimating the efficiency of backtrack programs, Mathematics of Computation 29, 1975).
    """
    rng, walk = random.Random(0), Walk(layout, constraints)
    root = build(layout, ()) or LEAF
    breadths = [0.0] * len(constraints)
    for _ in range(_PROBES):
        for place, index in enumerate(root.path(rng.randrange(root.count))):
            walk.assign(place, index)
        for which in range(len(constraints)):
            _, read = walk.judge((SATISFIED,) * len(constraints), [which])
            branchings = (len(p.values) for place, p in enumerate(walk.parameters) if read >> place & 1)
            breadths[which] += math.prod(branchings) / _PROBES
    return breadths


def build(layout: Layout, constraints: Sequence[Bound], budget: Budget | None = None) -> Node | None:
    """The diagram of all configurations that the constraints allow, None where that is none; may raise OverBudget."""
    builder = _Builder(layout, constraints, budget)
    waits = builder.start()
    return None if waits is None else builder.explore(0, waits, None)[0]


class _Builder(Walk):
    """Whether a parameter is active counts as read, not the values of its parents: one more bit for each condition."""

    def __init__(self, layout: Layout, constraints: Sequence[Bound], budget: Budget | None) -> None:
        super().__init__(layout, constraints)
        self._tables = {self.place[name]: table for name, table in layout.tables.items()}
        self._budget = budget
        self._nodes: dict[Any, Node] = {}
        self._conditions: list[list[int]] = [[] for _ in self.names]  # by child, the places of their outcomes
        self._outcomes: list[list[tuple[int, Callable[[Any], bool]]]] = [[] for _ in self.names]  # by parent
        self._own = [1 << place for place in range(len(self.names))]
        for child, parameter in enumerate(self.parameters):
            for condition in parameter.conditions:
                outcome, parent = len(self.indices), self.place[condition.parent]
                self.indices.append(ABSENT)
                self._conditions[child].append(outcome)
                self._outcomes[parent].append((outcome, condition.holds))
                self._own[parent] |= 1 << outcome
        self._memory: Memory[Node | None] = Memory(self.indices)

    def assign(self, place: int, index: int) -> None:
        super().assign(place, index)
        for outcome, holds in self._outcomes[place]:
            self.indices[outcome] = index != ABSENT and holds(self.parameters[place].values[index])

    def explore(self, place: int, waits: Waits, table: Table | None) -> tuple[Node | None, int]:
        """The node that continues the assignment, None where nothing does, and what was read to find it."""
        if place == len(self.names):
            self.finish(waits)
            return LEAF, 0
        if table is not None:  # every prefix of a table is seen once
            return self._expand(place, waits, table)
        key = place, waits
        known = self._memory.recall(key)
        if known is None:
            known = self._expand(place, waits, self._tables.get(place))
            self._memory.keep(key, known[1], known[0])
        return known

    def _expand(self, place: int, waits: Waits, table: Table | None) -> tuple[Node | None, int]:
        domain, read = self._domain(place, table)
        own, waiting = self._own[place], self.waiting(waits, place)
        runs = _Runs()
        for index in domain:
            if self._budget:
                self._budget.spend(1 + len(waiting))
            self.assign(place, index)
            after, seen = self.judge(waits, waiting) if waiting else (waits, 0)
            read |= seen
            if after is None:
                continue
            child, seen = self.explore(place + 1, after, (table[index] or None) if table else None)
            read |= seen
            if index == 0 and not (waiting or table or seen & own):  # nothing depends on this parameter
                runs.add(0, len(domain), child)
                break
            runs.add(index, index + 1, child)
        self.retract(place)
        return self._node(runs), read & ~own

    def _domain(self, place: int, table: Table | None) -> tuple[Sequence[int], int]:
        """The value indices that are to be tried, and what was read to tell."""
        if table:
            return list(table), 0
        read = 0
        for outcome in self._conditions[place]:
            read |= 1 << outcome
            if not self.indices[outcome]:
                return (ABSENT,), read
        return range(len(self.parameters[place].values)), read

    def _node(self, runs: _Runs) -> Node | None:
        if not runs.children:
            return None
        key = tuple(runs.starts), tuple(runs.stops), tuple(runs.children)
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = Node(*key)
        return node


class _Runs:
    """Edges to be, equal neighbours joined."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.stops: list[int] = []
        self.children: list[Node] = []

    def add(self, start: int, stop: int, child: Node | None) -> None:
        if child is None:
            return
        if start and self.children and self.children[-1] is child and self.stops[-1] == start:
            self.stops[-1] = stop
        else:
            self.starts.append(start)
            self.stops.append(stop)
            self.children.append(child)


def find(
    layout: Layout, root: Node, constraints: Sequence[Bound], rng: random.Random, budget: Budget
) -> list[int] | None:
    """A configuration of the diagram that the constraints allow, None where there is none; may raise OverBudget.

    Which one is random, but not uniformly so.
    """
    finder = _Finder(layout, constraints, rng, budget)
    waits = finder.start()
    if waits is None or finder.descend(root, 0, waits) is not None:
        return None
    return finder.indices


class _Finder(Walk):
    """A depth-first search in random order that never repeats a failure whose cause it knows."""

    def __init__(self, layout: Layout, constraints: Sequence[Bound], rng: random.Random, budget: Budget) -> None:
        super().__init__(layout, constraints)
        self._rng, self._budget = rng, budget
        self._failures: Memory[None] = Memory(self.indices)

    def descend(self, node: Node, place: int, waits: Waits) -> int | None:
        """Complete `indices` and return None; or what was read to know that it cannot be done."""
        if not node.children:
            self.finish(waits)
            return None
        known = self._failures.recall((node, waits))
        if known is not None:
            return known[1]
        read, waiting = 0, self.waiting(waits, place)
        for index, child in chain(self._drawn(node), node.edges()):
            self._budget.spend(1 + len(waiting))
            self.assign(place, index)
            after, seen = self.judge(waits, waiting)
            read |= seen
            if after is not None:
                below = self.descend(child, place + 1, after)
                if below is None:
                    return None
                read |= below
        self.retract(place)
        read &= ~(1 << place)
        self._failures.keep((node, waits), read, None)
        return read

    def _drawn(self, node: Node) -> Iterator[tuple[int, Node]]:
        """As many edges as it has runs, with repetitions, each by how many configurations it leads to."""
        for _ in node.starts:
            index, child, _rest = node.step(self._rng.randrange(node.count))
            yield index, child
