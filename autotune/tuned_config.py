"""TunedConfig: a winner and everything that says how far to trust it; how it is stored lives elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from autotune.values import Config, Problem


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
    """The median of the metric; its unit is in the metric's name."""
    interval: tuple[float, float]
    """A 95 % confidence interval of the median."""
    baseline: float | None
    """The default configuration's median, measured in the same study; None where the default failed."""
    baseline_config: Config
    speedup: float | None
    """How many times better than the baseline, above 1 is better whatever the direction."""
    toolchain: Mapping[str, str]
    measured_at: str
    """UTC, ISO 8601, to the second."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Study, trials, failures, device name, host, autotune's version, effort."""

    @property
    def is_default(self) -> bool:
        """Whether the search found nothing better than the default: a result too, and not searched again."""
        return self.config == self.baseline_config

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: getattr(self, name) for name in self.__slots__} | {"interval": list(self.interval)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; raises KeyError or TypeError where a field is missing or of the wrong kind."""
        low, high = data["interval"]
        converted = {
            "problem": Problem(data["problem"]),
            "config": Config(data["config"]),
            "baseline_config": Config(data["baseline_config"]),
            "interval": (float(low), float(high)),
        }
        return cls(**{name: data[name] for name in cls.__slots__} | converted)
