"""Night: what one sweep did and measured, as it stays on record; what it means in the morning is in `morning`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from autotune.event import Event
from autotune.sweep.due import Due, DueKind, Target
from autotune.values import Config, Problem
from autotune.verdict import Verdict


class Deed(StrEnum):
    """What was done about a target."""

    TUNED = "tuned"
    RECHECKED = "rechecked"
    """Incumbent, default and runner-up were measured in turn, and nothing was searched."""
    LEFT = "left"
    """It was not due."""
    OUT_OF_BUDGET = "out of budget"
    FAILED = "failed"
    """Neither could be done; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One configuration's rounds of one night: what nights are compared by."""

    role: str
    """`incumbent` (what production ran during that day), `winner` (new that night), or `default`."""
    config: Config
    medians: tuple[float, ...]
    """One per round, of the objective's metric; rounds are paired with those of the target's other readings."""
    device: str
    """The UUID of the device that measured them."""
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a night has to say of one target."""

    due: Due
    deed: Deed
    metric: str
    direction: str
    """`minimize` or `maximize`."""
    readings: tuple[Reading, ...] = ()
    verdict: Verdict | None = None
    study: int | None = None
    trials: int = 0
    """Measured tonight."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """How many trials failed, by `KIND on NODE`."""
    gpu_s: float = 0.0
    """Seconds of devices that it took."""
    toolchain: Mapping[str, str] = field(default_factory=dict)
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """A whole sweep."""

    started_at: str
    """UTC, ISO 8601, to the second."""
    ended_at: str
    results: tuple[Result, ...]
    events: tuple[Event, ...] = ()
    generation: int | None = None
    """Under which its winners were published; None where there were none."""
    missing: tuple[str, ...] = ()
    """What a reader would expect and does not find: a file that cannot be loaded, a SKU that was not there tonight."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "schema": "autotune-night/1",
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "generation": self.generation,
            "results": [_result_json(result) for result in self.results],
            "events": [event.to_json() for event in self.events],
            "missing": list(self.missing),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            started_at=data["started_at"],
            ended_at=data["ended_at"],
            generation=data["generation"],
            results=tuple(map(_result, data["results"])),
            events=tuple(map(Event.from_json, data["events"])),
            missing=tuple(data["missing"]),
        )


def _result_json(result: Result) -> dict[str, Any]:
    target = result.due.target
    return {
        "workload": target.workload,
        "problem": target.problem,
        "sku": target.sku,
        "gpus": target.gpus,
        "due": result.due.kind.value,
        "reasons": list(result.due.reasons),
        "deed": result.deed.value,
        "metric": result.metric,
        "direction": result.direction,
        "readings": [
            {
                "role": one.role,
                "config": one.config,
                "medians": list(one.medians),
                "device": one.device,
                "node": one.node,
            }
            for one in result.readings
        ],
        "verdict": result.verdict and result.verdict.to_json(),
        "study": result.study,
        "trials": result.trials,
        "failures": dict(result.failures),
        "gpu_s": result.gpu_s,
        "toolchain": dict(result.toolchain),
        "message": result.message,
    }


def _result(data: Mapping[str, Any]) -> Result:
    target = Target(workload=data["workload"], problem=Problem(data["problem"]), sku=data["sku"], gpus=data["gpus"])
    return Result(
        due=Due(target=target, kind=DueKind(data["due"]), reasons=tuple(data["reasons"])),
        deed=Deed(data["deed"]),
        metric=data["metric"],
        direction=data["direction"],
        readings=tuple(
            Reading(
                role=one["role"],
                config=Config(one["config"]),
                medians=tuple(one["medians"]),
                device=one["device"],
                node=one["node"],
            )
            for one in data["readings"]
        ),
        verdict=None if data["verdict"] is None else Verdict.from_json(data["verdict"]),
        study=data["study"],
        trials=data["trials"],
        failures=dict(data["failures"]),
        gpu_s=data["gpu_s"],
        toolchain=dict(data["toolchain"]),
        message=data["message"],
    )
