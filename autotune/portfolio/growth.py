"""Growth: the smallest tree of questions that gives each problem a configuration that loses little on it.

A tree pays for its losses on the tuned problems and for each of its ends, and the cheapest is taken. How many problems
get their very best is not asked: among near equals it means nothing. All trees are compared where there are few enough.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from autotune.portfolio.domain import is_same, is_size, size_names
from autotune.portfolio.losses import Losses
from autotune.portfolio.tree import AtMost, Branch, Is, Leaf, Node, Question
from autotune.values import Problem, Scalar

WORTH = 0.01
"""What a further end must save, summed over the problems: 1 % on one of them. Less is within the noise of a reading."""
MOST_BOXES = 1000
"""Of neighbouring problems, whose best trees are all compared (44 values of one dimension, say); beyond, a tree asks
the best question first, and is cut back."""

Members = frozenset[int]
"""The numbers of problems."""


@dataclass(frozen=True, slots=True)
class _Grown:
    """A tree for some problems, and what it costs on them."""

    node: Node
    total: float
    """Of the logarithms of one plus the loss."""
    worst: float
    ends: int = 1

    @property
    def order(self) -> tuple[float, int, float]:
        return round(self.total + WORTH * self.ends, 9), self.ends, round(self.worst, 9)


class Growth:
    """Grows the tree that tells which of the chosen configurations is for which problem.

    covered: the numbers of the problems that it is to fit; each has a chosen configuration that runs.
    """

    def __init__(self, losses: Losses, chosen: Sequence[int], covered: Sequence[int]) -> None:
        self._losses, self._chosen, self._covered = losses, chosen, frozenset(covered)
        problems = [losses.problems[number] for number in covered]
        self._sizes = size_names(problems)
        self._categories = [name for name in sorted(problems[0]) if name not in self._sizes]
        self._compares_all = _boxes(problems, self._sizes, self._categories) <= MOST_BOXES
        self._known: dict[Members, _Grown] = {}

    def tree(self) -> Node:
        """For all covered problems; its leaves are numbers of configurations in `losses`."""
        return self._grown(self._covered).node

    def _grown(self, members: Members) -> _Grown:
        if members not in self._known:
            self._known[members] = self._cheapest(members)
        return self._known[members]

    def _cheapest(self, members: Members) -> _Grown:
        leaf = self._leaf(members)
        if leaf.total == 0 or len(members) == 1:
            return leaf
        questions = self._questions(members)
        if not self._compares_all:
            questions = [min(questions, key=lambda question: self._sum_of_leaves(question, members))]
        return min([leaf, *(self._branch(question, members) for question in questions)], key=lambda one: one.order)

    def _leaf(self, members: Members) -> _Grown:
        def cost(config: int) -> _Grown:
            lost = [self._losses.rows[config][number] for number in members]
            return _Grown(Leaf(config), math.fsum(map(math.log1p, lost)), max(lost))

        return min(map(cost, self._chosen), key=lambda one: one.order)

    def _branch(self, question: Question, members: Members) -> _Grown:
        then, otherwise = map(self._grown, self._halves(question, members))
        return _Grown(
            Branch(question, then.node, otherwise.node),
            then.total + otherwise.total,
            max(then.worst, otherwise.worst),
            then.ends + otherwise.ends,
        )

    def _sum_of_leaves(self, question: Question, members: Members) -> tuple[float, float, int]:
        """What the question is worth by itself; of equals, such as none that helps yet, the most even one."""
        then, otherwise = self._halves(question, members)
        costs = [self._leaf(half) for half in (then, otherwise)]
        finite = [cost.total for cost in costs if cost.total < math.inf]
        return len(costs) - len(finite), round(sum(finite), 9), abs(len(then) - len(otherwise))

    def _halves(self, question: Question, members: Members) -> tuple[Members, Members]:
        then = frozenset(number for number in members if question.holds(self._losses.problems[number]))
        return then, members - then

    def _questions(self, members: Members) -> list[Question]:
        """All that tell some of the problems from others."""
        problems = [self._losses.problems[number] for number in sorted(members)]
        sizes = (question for name in self._sizes for question in _thresholds(name, problems))
        categories = (question for name in self._categories for question in _equalities(name, problems))
        return [*sizes, *categories]


def _thresholds(name: str, problems: Sequence[Problem]) -> Iterator[AtMost]:
    values = {value for problem in problems if is_size(value := problem[name])}
    for low, high in pairwise(sorted(values)):
        yield AtMost(name, between(low, high))


def between(low: float, high: float) -> float:
    """A threshold that the low value is not above and the high one is: their geometric midpoint, in few digits.

    The arithmetic one where they are not both positive.
    """
    if isinstance(low, int) and isinstance(high, int):
        return math.isqrt(low * high) if low > 0 else (low + high) // 2
    middle = math.sqrt(low) * math.sqrt(high) if low > 0 else low / 2 + high / 2
    candidates = [*(float(f"{middle:.{digits}g}") for digits in (2, 3, 6)), middle, low]
    return next(candidate for candidate in candidates if low <= candidate < high)


def _equalities(name: str, problems: Sequence[Problem]) -> Iterator[Is]:
    values = _distinct([problem[name] for problem in problems])
    if len(values) > 1:
        yield from (Is(name, value) for value in (values[:1] if len(values) == 2 else values))


def _distinct(values: Sequence[Scalar]) -> list[Scalar]:
    found: list[Scalar] = []
    for value in values:
        if not any(is_same(value, other) for other in found):
            found.append(value)
    return found


def _boxes(problems: Sequence[Problem], sizes: Sequence[str], categories: Sequence[str]) -> int:
    """How many sets of problems questions can cut out, at most."""
    counts = {name: len(_distinct([problem[name] for problem in problems])) for name in (*sizes, *categories)}
    ranges = math.prod(counts[name] * (counts[name] + 1) // 2 for name in sizes)
    return ranges * math.prod(1 << counts[name] for name in categories)
