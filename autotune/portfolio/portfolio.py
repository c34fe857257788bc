"""Portfolio: what a matrix study ends with, with all that says how far to trust it; how it is stored is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from autotune.portfolio.losses import Loss
from autotune.portfolio.rule import Rule
from autotune.values import Config, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """What one of the tuned problems gets."""

    problem: Problem
    best: Config
    """The problem's own winner."""
    value: float
    """Of that winner."""
    config: int | None
    """The number of what the rule picks, from 0; None where none of the configurations is known to run."""
    loss: float | None
    """By how much that is worse than the winner; 0.03 is 3 %."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        known = {name: data[name] for name in cls.__slots__}
        return cls(**known | {"problem": Problem(data["problem"]), "best": Config(data["best"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """A few configurations of a workload for many problems on a SKU, and the rule that picks among them."""

    workload: str
    version: str
    sku: str
    gpus: int
    metric: str
    direction: str
    cache: str
    rule: Rule
    picks: tuple[Pick, ...]
    """For each tuned problem, as they were declared."""
    sizes: tuple[Loss, ...]
    """With at most 1, 2, … configurations."""
    missing: tuple[Problem, ...] = ()
    """Problems that were asked for and have no winner."""
    toolchain: Mapping[str, str]
    measured_at: str
    """UTC, ISO 8601, to the second."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Studies, their trials, all candidates, how many comparisons rest on rounds, host, autotune's version."""

    @property
    def loss(self) -> Loss:
        """Of what the rule picks, over the tuned problems."""
        return Loss.of(float("inf") if pick.loss is None else pick.loss for pick in self.picks)

    @property
    def reason(self) -> str:
        """How far to trust a pick: `picked by the rule of a matrix study over 18 problems; at most 2.1 % slower …`."""
        worse = "slower" if self.metric == "latency_ms" else "worse"
        return (
            f"picked by the rule of a matrix study over {len(self.picks)} problems; "
            f"at most {100 * self.loss.worst:.1f} % {worse} than the best on them"
        )

    @property
    def measure(self) -> str:
        """`1 minimize latency_ms cold`: GPUs, objective and cache; of each there is one current portfolio."""
        return f"{self.gpus} {self.direction} {self.metric} {self.cache}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return plain | {
            "rule": self.rule.to_json(),
            "picks": [pick.to_json() for pick in self.picks],
            "sizes": [loss.to_json() for loss in self.sizes],
            "missing": list(self.missing),
            "toolchain": dict(self.toolchain),
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; what a later version added is left out."""
        converted = {
            "rule": Rule.from_json(data["rule"]),
            "picks": tuple(map(Pick.from_json, data["picks"])),
            "sizes": tuple(map(Loss.from_json, data["sizes"])),
            "missing": tuple(map(Problem, data["missing"])),
        }
        return cls(**{name: data[name] for name in cls.__slots__ if name not in converted} | converted)
