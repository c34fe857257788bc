"""TunedConfig: a winner and everything that says how far to trust it; how it is stored lives elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from autotune.values import Config, Problem
from autotune.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedConfig:
    """The best known configuration of a workload for a problem on a SKU."""

    workload: str
    version: str
    """Of the workload's source, see `workload.source_version`."""
    problem: Problem
    sku: str
    gpus: int
    config: Config
    metric: str
    direction: str
    value: float
    """The median over its rounds; the unit is in the metric's name."""
    interval: tuple[float, float]
    """A 95 % confidence interval of that median; under six rounds, the range of all."""
    baseline: float | None
    """The default configuration's median over the same rounds; None where the default failed."""
    baseline_config: Config
    speedup: float | None
    """How many times better than the baseline, by pairs; above 1 is better whatever the direction."""
    toolchain: Mapping[str, str]
    measured_at: str
    """UTC, ISO 8601, to the second."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Study, trials, failures, device name, host, autotune's version, effort."""
    cache: str = "cold"
    """What its calls found in the GPU's L2, see `Workload.cache`: readings of the two kinds are not comparable."""
    verdict: Verdict | None = None
    """Why it won; None where it was stored before there were rounds."""

    @property
    def is_default(self) -> bool:
        """Whether the search found nothing better than the default: a result too, and not searched again."""
        return self.config == self.baseline_config

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return plain | {
            "interval": list(self.interval),
            "verdict": None if self.verdict is None else self.verdict.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; raises KeyError or TypeError where a field is missing or of the wrong kind.

        What an earlier version did not write takes its default, and what a later one added is left out: a snapshot
        outlives the versions that wrote it.
        """
        low, high = data["interval"]
        verdict = data.get("verdict")
        converted = {
            "problem": Problem(data["problem"]),
            "config": Config(data["config"]),
            "baseline_config": Config(data["baseline_config"]),
            "interval": (float(low), float(high)),
            "cache": data.get("cache", "cold"),
            "verdict": None if verdict is None else Verdict.from_json(verdict),
        }
        return cls(**{name: data[name] for name in cls.__slots__ if name not in converted} | converted)
