"""Objective: which metric is to be small or large, and the bounds that a configuration must keep. No search here."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self, cast

from autotune.errors import WorkloadError

LATENCY_MS = "latency_ms"
"""The metric that is timed by us, always there: the wall or device time of one call of what was yielded."""

ENERGY_J = "energy_j"
"""Joules of one call as the device tells them; measured by us where the objective or one of its bounds names it."""


@dataclass(frozen=True, slots=True)
class Objective:
    """Minimise or maximise `metric` subject to upper (or lower) bounds on other metrics."""

    metric: str = LATENCY_MS
    direction: Literal["minimize", "maximize"] = "minimize"
    subject_to: Mapping[str, float] = field(default_factory=dict)
    """Upper bounds by metric; a name that ends in `_min` is a lower bound on the metric before the suffix."""

    def better(self, value: float, than: float) -> bool:
        """Whether `value` is strictly better than `than`."""
        return value < than if self.direction == "minimize" else value > than

    def speedup(self, value: float, baseline: float) -> float | None:
        """How many times better `value` is than `baseline`; above 1 is better in both directions.

        None unless both are positive: a ratio says nothing of a loss that reaches 0 or a score below it.
        """
        if value <= 0 or baseline <= 0:
            return None
        return baseline / value if self.direction == "minimize" else value / baseline

    def gain(self, value: float, over: float) -> float:
        """By which share of `over` the value is better; negative where it is worse, infinite where `over` is 0."""
        better_by = over - value if self.direction == "minimize" else value - over
        return better_by / abs(over) if over else math.copysign(math.inf, better_by) if better_by else 0.0

    def violations(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """By how much each bound is exceeded; at most 0 keeps it. A metric that is absent is infinitely off."""
        return {bound: self._excess(bound, limit, metrics) for bound, limit in self.subject_to.items()}

    def feasible(self, metrics: Mapping[str, float]) -> bool:
        """Whether every bound is kept."""
        return all(excess <= 0 for excess in self.violations(metrics).values())

    @property
    def metrics(self) -> frozenset[str]:
        """Every metric that a measurement must report, `latency_ms` left out since we time it ourselves."""
        return frozenset({self.metric, *map(bounded_metric, self.subject_to)} - {LATENCY_MS})

    @property
    def text(self) -> str:
        """`maximize tokens_per_s subject to p99_ms <= 200`."""
        bounds = [
            f"{bounded_metric(bound)} {'>=' if bound.endswith('_min') else '<='} {limit!r}"
            for bound, limit in sorted(self.subject_to.items())
        ]
        return f"{self.direction} {self.metric}" + (f" subject to {', '.join(bounds)}" if bounds else "")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `text`."""
        head, _, bounds = text.partition(" subject to ")
        direction, _, metric = head.partition(" ")
        pairs = (re.split(r" (<=|>=) ", bound) for bound in bounds.split(", ") if bound)
        limits = {name + ("_min" if sign == ">=" else ""): float(limit) for name, sign, limit in pairs}
        return cls(metric, cast('Literal["minimize", "maximize"]', direction), limits)

    @staticmethod
    def _excess(bound: str, limit: float, metrics: Mapping[str, float]) -> float:
        value = metrics.get(bounded_metric(bound), math.nan)
        if math.isnan(value):
            return math.inf
        return limit - value if bound.endswith("_min") else value - limit


def bounded_metric(bound: str) -> str:
    """The metric that a key of `subject_to` is about: `p99_ms` for `p99_ms`, `recall` for `recall_min`."""
    return bound.removesuffix("_min")


def minimize(metric: str = LATENCY_MS, subject_to: Mapping[str, float] | None = None) -> Objective:
    """The smallest `metric` among the configurations that keep the bounds: `minimize("p99_ms", {"loss": 0.1})`."""
    return Objective(metric, "minimize", _checked(subject_to))


def maximize(metric: str, subject_to: Mapping[str, float] | None = None) -> Objective:
    """The largest `metric` among the configurations that keep the bounds."""
    return Objective(metric, "maximize", _checked(subject_to))


def _checked(subject_to: Mapping[str, float] | None) -> dict[str, float]:
    bounds = dict(subject_to or {})
    for name, limit in bounds.items():
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not math.isfinite(limit):
            raise WorkloadError(f"subject_to[{name!r}] is {limit!r}; a bound is a finite number: {{'p99_ms': 200}}.")
    return {name: float(limit) for name, limit in bounds.items()}
