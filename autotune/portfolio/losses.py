"""Losses: by how much each configuration is worse than each problem's best; which of them are taken is in `choice`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from autotune.objective import Objective
from autotune.values import Config, Problem

LARGEST = 1e6
"""Losses beyond are cut: a share of a best that reads 0 is infinite, and here infinite means that it does not run."""

Column = tuple[Problem, Mapping[Config, float]]
"""A problem, and the objective's value of each configuration that was measured for it and did not fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Of a portfolio, over the problems; 0.03 is 3 % worse than each problem's best."""

    mean: float
    """Geometric: each problem counts by its ratio, whatever its size, as in how much longer a mix of them takes."""
    worst: float
    uncovered: int = 0
    """Problems for which nothing in the portfolio runs; they are in neither number."""

    @classmethod
    def of(cls, losses: Iterable[float]) -> Self:
        """Of the loss on each problem, infinite where nothing runs."""
        every = list(losses)
        covered = [loss for loss in every if loss < math.inf]
        mean = math.expm1(math.fsum(map(math.log1p, covered)) / len(covered)) if covered else 0.0
        return cls(mean=mean, worst=max(covered, default=0.0), uncovered=len(every) - len(covered))

    @property
    def order(self) -> tuple[int, float, float]:
        """Smaller is better: first that all problems are covered, then the mean, then the worst."""
        return self.uncovered, round(self.mean, 9), round(self.worst, 9)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"mean": self.mean, "worst": self.worst, "uncovered": self.uncovered}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(mean=float(data["mean"]), worst=float(data["worst"]), uncovered=int(data["uncovered"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """A row per configuration, a column per problem; infinite where one was not measured, or failed."""

    configs: tuple[Config, ...]
    problems: tuple[Problem, ...]
    rows: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, objective: Objective, columns: Sequence[Column]) -> Self:
        """From measured values; each problem's best among them has the loss 0."""
        configs = tuple(dict.fromkeys(config for _, values in columns for config in values))
        losses = [_column(objective, [values.get(config) for config in configs]) for _, values in columns]
        rows = tuple(tuple(column[number] for column in losses) for number in range(len(configs)))
        return cls(configs=configs, problems=tuple(problem for problem, _ in columns), rows=rows)

    def best_of(self, chosen: Iterable[int]) -> tuple[float, ...]:
        """For each problem the least loss among those configurations."""
        rows = [self.rows[number] for number in chosen]
        return tuple(map(min, zip(*rows, strict=True))) if rows else (math.inf,) * len(self.problems)


def _column(objective: Objective, values: Sequence[float | None]) -> list[float]:
    """How many times better the best is, less one; as a share of the best where a ratio of the values says nothing."""
    known = [value for value in values if value is not None]
    if not known:
        return [math.inf] * len(values)
    best = min(known) if objective.direction == "minimize" else max(known)
    as_ratios = all(value > 0 for value in known)

    def loss(value: float | None) -> float:
        if value is None:
            return math.inf
        ratio = objective.speedup(best, value) if as_ratios else None
        lost = -objective.gain(value, over=best) if ratio is None else ratio - 1
        return max(0.0, min(LARGEST, lost))

    return [loss(value) for value in values]
