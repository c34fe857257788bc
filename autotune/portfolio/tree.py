"""Tree: the questions of a rule, as values, as JSON and as text; how one is grown is in `growth`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotune.portfolio.domain import is_same
from autotune.values import Config, Problem, Scalar


@dataclass(frozen=True, slots=True)
class Leaf:
    """The end of the questions."""

    config: int
    """The number of the configuration, from 0."""


@dataclass(frozen=True, slots=True)
class AtMost:
    """Whether a size is at most the threshold."""

    name: str
    threshold: float

    def holds(self, problem: Problem) -> bool:
        """Of a problem that has that size."""
        value: Any = problem[self.name]
        return bool(value <= self.threshold)

    @property
    def text(self) -> str:
        """As Python."""
        return f"{self.name} <= {self.threshold!r}"


@dataclass(frozen=True, slots=True)
class Is:
    """Whether a category is that one."""

    name: str
    value: Scalar

    def holds(self, problem: Problem) -> bool:
        """Of a problem that has that category."""
        return is_same(problem[self.name], self.value)

    @property
    def text(self) -> str:
        """As Python."""
        word = "is" if self.value is None or isinstance(self.value, bool) else "=="
        return f"{self.name} {word} {self.value!r}"


Question = AtMost | Is


@dataclass(frozen=True, slots=True)
class Branch:
    """A question, and where each answer leads."""

    question: Question
    then: Node
    otherwise: Node


Node = Leaf | Branch


def pick(node: Node, problem: Problem) -> int:
    """The number of the configuration at the end of the questions."""
    while isinstance(node, Branch):
        node = node.then if node.question.holds(problem) else node.otherwise
    return node.config


def leaves(node: Node) -> Iterator[int]:
    """The number at each end, from the left."""
    if isinstance(node, Leaf):
        yield node.config
    else:
        yield from leaves(node.then)
        yield from leaves(node.otherwise)


def renumbered(node: Node, numbers: Mapping[int, int]) -> Node:
    """With the configurations under other numbers."""
    if isinstance(node, Leaf):
        return Leaf(numbers[node.config])
    return Branch(node.question, renumbered(node.then, numbers), renumbered(node.otherwise, numbers))


def lines(node: Node, configs: Sequence[Config]) -> list[str]:
    """As Python: if, elif and else, one line each."""
    if isinstance(node, Leaf):
        return [f"config = {dict(configs[node.config])!r}"]
    then, otherwise = lines(node.then, configs), lines(node.otherwise, configs)
    first, *rest = [f"if {node.question.text}:", *map("    {}".format, then)]
    if isinstance(node.otherwise, Branch):
        return [first, *rest, f"el{otherwise[0]}", *otherwise[1:]]
    return [first, *rest, "else:", *map("    {}".format, otherwise)]


def to_json(node: Node) -> dict[str, Any]:
    """Plain values for JSON."""
    if isinstance(node, Leaf):
        return {"config": node.config}
    asked = node.question
    question = {"at_most": asked.threshold} if isinstance(asked, AtMost) else {"is": asked.value}
    return {"name": asked.name, **question, "then": to_json(node.then), "otherwise": to_json(node.otherwise)}


def from_json(data: Mapping[str, Any]) -> Node:
    """The inverse of `to_json`."""
    if "config" in data:
        return Leaf(int(data["config"]))
    name = data["name"]
    question: Question = AtMost(name, data["at_most"]) if "at_most" in data else Is(name, data["is"])
    return Branch(question, from_json(data["then"]), from_json(data["otherwise"]))
