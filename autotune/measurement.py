"""Measurement and Failure, the two outcomes of a trial, and the statistics on samples; nothing is measured here."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from autotune.values import Config


class FailureKind(StrEnum):
    """Why a trial gave no measurement."""

    INVALID = "invalid"
    """The device cannot run this configuration: more shared memory, registers or threads than it has."""
    COMPILE = "compile"
    """A compiler refused it."""
    RUNTIME = "runtime"
    """An exception, a crash, or a breach of the workload's protocol."""
    OUT_OF_MEMORY = "out_of_memory"
    """Device or host memory ran out."""
    INCORRECT = "incorrect"
    """An assertion after the yield failed: the result is wrong."""
    TIMEOUT = "timeout"
    """It was killed after its time limit."""
    LOST = "lost"
    """The infrastructure failed, not the configuration; never held against it."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Repeated readings of one metric, in the order taken."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a metric needs at least one sample")

    @property
    def median(self) -> float:
        """The middle reading."""
        return statistics.median(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """A confidence interval of at least 95 % for the median, from order statistics; no distribution is assumed.

        Source: Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2 (quantile interval by the binomial).
        Under six samples no pair of order statistics reaches 95 %: the whole range is given.
        """
        ordered, low = sorted(self.values), median_interval_rank(len(self.values))
        return ordered[low], ordered[len(ordered) - 1 - low]

    @property
    def relative_width(self) -> float:
        """Half the width of the interval over the median; infinite where the median is 0."""
        low, high = self.interval
        return (high - low) / 2 / abs(self.median) if self.median else math.inf


def median_interval_rank(n: int) -> int:
    """The largest rank r (from 0) with P(r-th smallest <= median <= r-th largest of n) >= 0.95, or 0."""
    tail, rank = 0.5**n if n < 1000 else 0.0, 0
    if n >= 1000:  # normal approximation to the binomial; the exact sum would underflow
        return max(0, math.floor(n / 2 - 1.96 * math.sqrt(n) / 2) - 1)
    term = tail
    while rank + 1 < n / 2:
        term *= (n - rank) / (rank + 1)
        if tail + term > 0.025:
            break
        tail, rank = tail + term, rank + 1
    return rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What the device was doing while it was measured; None where it cannot be read."""

    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    throttle: tuple[str, ...] = ()
    """What held the clocks back while it was measured, by NVML's names."""
    disturbed: tuple[str, ...] = ()
    """Those of `throttle` that were not there for the rival, and did not go away when it was measured again."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) not in (None, ())}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        tuples = {name: tuple(data.get(name, ())) for name in ("throttle", "disturbed")}
        return cls(**{**data, **tuples})


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A trial that ran and whose result was right."""

    metrics: Mapping[str, Samples]
    conditions: Conditions = field(default_factory=Conditions)
    phase_s: Mapping[str, float] = field(default_factory=dict)
    """Wall seconds per phase: prepare, warm_up (compiles, where that was not done ahead), measure, verify."""
    same_binary_as: Config | None = None
    """The configuration that was measured in its place, because both compile to the same binary."""

    @property
    def medians(self) -> dict[str, float]:
        """The median of each metric."""
        return {name: samples.median for name, samples in self.metrics.items()}

    @property
    def elapsed_s(self) -> float:
        """Wall seconds of all phases together."""
        return math.fsum(self.phase_s.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "metrics": {name: list(samples.values) for name, samples in self.metrics.items()},
            "conditions": self.conditions.to_json(),
            "phase_s": dict(self.phase_s),
            **({"same_binary_as": self.same_binary_as} if self.same_binary_as is not None else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A trial that gave no measurement, and why."""

    kind: FailureKind
    message: str
    """What happened and what to do, in a sentence or two."""
    details: str = ""
    """The end of the traceback or of what the process printed."""
    phase: str = ""
    phase_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def elapsed_s(self) -> float:
        """Wall seconds until it failed."""
        return math.fsum(self.phase_s.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "failure": self.kind.value,
            "message": self.message,
            "details": self.details,
            "phase": self.phase,
            "phase_s": dict(self.phase_s),
        }


Outcome = Measurement | Failure


def outcome_from_json(data: Mapping[str, Any]) -> Outcome:
    """The inverse of `Measurement.to_json` and `Failure.to_json`."""
    if "failure" in data:
        kind = FailureKind(data["failure"])
        return Failure(kind=kind, **{k: data[k] for k in ("message", "details", "phase", "phase_s")})
    return Measurement(
        metrics={name: Samples(tuple(values)) for name, values in data["metrics"].items()},
        conditions=Conditions.from_json(data["conditions"]),
        phase_s=data["phase_s"],
        same_binary_as=Config(data["same_binary_as"]) if "same_binary_as" in data else None,
    )


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Samples:
    """The ratios of readings taken in alternation, pair by pair: drift common to a pair cancels."""
    return Samples(tuple(a / b for a, b in zip(numerators, denominators, strict=True)))
