"""Trial: the question that is sent to a worker, plain data from end to end; asking and answering live elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from autotune.values import Config, Problem


class Effort(StrEnum):
    """How long a trial is measured; part of a study's identity, since readings of the two are not comparable."""

    QUICK = "quick"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadReference:
    """Where a workload is found; the worker loads it from there and refuses another version."""

    path: Path
    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One configuration of one workload for one problem, to be measured on one device of the given SKU."""

    workload: WorkloadReference
    problem: Problem
    config: Config
    sku: str
    gpus: int = 0
    """Processes of one GPU each; 0 is the CPU."""
    timeout_s: float = 120.0
    """Wall seconds from the start of its execution, loading the workload file left out."""
    effort: Effort = Effort.FULL
    seed: int = 0
    environment: Mapping[str, str | None] = field(default_factory=dict)
    """Set before the process starts (None: unset); a change of it needs a fresh process."""
    rival: float | None = None
    """The best value of the objective when it was asked: what is certainly worse is measured no further."""
    known_throttle: tuple[str, ...] | None = None
    """What held the clocks back for the incumbent or the default; a reading under anything else is taken again."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "path": str(self.workload.path),
            "name": self.workload.name,
            "version": self.workload.version,
            "problem": self.problem,
            "config": self.config,
            "sku": self.sku,
            "gpus": self.gpus,
            "timeout_s": self.timeout_s,
            "effort": self.effort.value,
            "seed": self.seed,
            "environment": dict(self.environment),
            "rival": self.rival,
            "known_throttle": None if self.known_throttle is None else list(self.known_throttle),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        rest = {name: data[name] for name in ("sku", "gpus", "timeout_s", "seed", "environment", "rival")}
        throttle = data["known_throttle"]
        return cls(
            workload=WorkloadReference(path=Path(data["path"]), name=data["name"], version=data["version"]),
            problem=Problem(data["problem"]),
            config=Config(data["config"]),
            effort=Effort(data["effort"]),
            known_throttle=None if throttle is None else tuple(throttle),
            **rest,
        )

    @property
    def command(self) -> str:
        """The command that repeats this trial, on any device of its kind."""
        import shlex

        words = ["autotune", "trial", str(self.workload.path), "--workload", self.workload.name]
        if self.problem:
            words += ["--problem", self.problem.text]
        words += ["--config", self.config.text]
        words += ["--seed", str(self.seed)] if self.seed else []
        return shlex.join([*words, *(["--quick"] if self.effort is Effort.QUICK else [])])
