"""Change: by how much one target differs from the nights before, and why that may be; how it is found: `regression`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from autotune.sweep.due import Target
from autotune.verdict import Gain


class ChangeKind(StrEnum):
    """What a target did."""

    REGRESSED = "regressed"
    FASTER = "faster"
    """Better, whatever the metric."""
    SAME = "same"


class Cause(StrEnum):
    """What is suspected, never proved."""

    TOOLCHAIN = "toolchain"
    """Other versions than on the nights it is compared with."""
    HARDWARE = "hardware"
    """Another device measured it, or the default moved as much, or all that the device measured did."""
    CONFIGURATION = "configuration"
    """Another configuration is in place."""
    NOISE = "noise"
    """It reads otherwise, and fails one of the tests."""
    UNKNOWN = "unknown"
    """The same versions, device and configuration."""
    NONE = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One target, tonight against the nights before."""

    target: Target
    kind: ChangeKind
    size: Gain
    """By which share of what it was it is better, negative where it is worse, with an interval of 98 %."""
    cause: Cause = Cause.NONE
    evidence: tuple[str, ...] = ()
    """What speaks for the cause; a sentence each, without its full stop."""
    nights: int = 0
    """How many earlier ones it was compared with."""
    device: str = ""
    node: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **target_json(self.target),
            "kind": self.kind.value,
            "size": self.size.to_json(),
            "cause": self.cause.value or None,
            "evidence": list(self.evidence),
            "nights": self.nights,
            "device": self.device,
            "node": self.node,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Everything that one device measured moved together: it is told once, and not as a change of every target."""

    device: str
    node: str
    size: Gain
    targets: int
    cause: Cause
    evidence: str

    @property
    def is_slower(self) -> bool:
        """Or faster."""
        return self.size.mean < 0

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "device": self.device,
            "node": self.node,
            "size": self.size.to_json(),
            "targets": self.targets,
            "cause": self.cause.value,
            "evidence": self.evidence,
        }


def target_json(target: Target) -> dict[str, Any]:
    """What a study tunes, as plain values."""
    return {"workload": target.workload, "problem": target.problem, "sku": target.sku, "gpus": target.gpus}
