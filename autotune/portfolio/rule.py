"""Rule: which of a few configurations a problem gets, and which problems it leaves out; finding it is in `sizes`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from autotune.portfolio import tree
from autotune.portfolio.domain import Domain
from autotune.portfolio.tree import Node
from autotune.values import Config, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Picks a configuration by a problem's dimensions."""

    configs: tuple[Config, ...]
    root: Node
    domain: Domain
    uncovered: tuple[Problem, ...] = ()
    """Problems within the domain for which none of the configurations is known to run."""

    def pick(self, problem: Problem) -> Config | None:
        """The configuration; None outside of the domain."""
        number = self.number(problem)
        return None if number is None else self.configs[number]

    def number(self, problem: Problem) -> int | None:
        """Which of `configs` that is, from 0."""
        if not self.domain.covers(problem) or problem.text in {one.text for one in self.uncovered}:
            return None
        return tree.pick(self.root, problem)

    @property
    def text(self) -> str:
        """As Python that can be read and pasted, the domain and what is left out as comments."""
        domain = [f"# tuned for {region.text}" for region in self.domain.regions if region.text]
        uncovered = [f"# not for {problem.text}: none of them is known to run" for problem in self.uncovered]
        return "\n".join([*domain, *uncovered, *tree.lines(self.root, self.configs)])

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "configs": list(self.configs),
            "tree": tree.to_json(self.root),
            "domain": self.domain.to_json(),
            "uncovered": list(self.uncovered),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            configs=tuple(map(Config, data["configs"])),
            root=tree.from_json(data["tree"]),
            domain=Domain.from_json(data["domain"]),
            uncovered=tuple(map(Problem, data["uncovered"])),
        )
