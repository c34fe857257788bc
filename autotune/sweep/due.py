"""Due: why a workload, problem and SKU is looked at tonight, or is not; how that is decided is in `decision`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from autotune.values import Problem


class DueKind(StrEnum):
    """From what must be tuned to what may be left alone."""

    NEVER_TUNED = "never tuned"
    HARD_STALE = "hard stale"
    """Something changed that may change which configuration is best: it is tuned again, warm-started."""
    SOFT_STALE = "soft stale"
    """Something small changed, or time passed: incumbent, default and runner-up meet; it is tuned if their order is
    another one."""
    CANARY = "canary"
    """Fresh, and measured all the same, as a sample: that nothing changed unseen."""
    FRESH = "fresh"
    """Nothing is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a study tunes: one workload for one problem on one kind of device."""

    workload: str
    problem: Problem
    sku: str
    gpus: int

    @property
    def text(self) -> str:
        """`matmul m=16 on h200-sxm-141gb`."""
        problem = f" {self.problem.text}" if self.problem else ""
        return f"{self.workload}{problem} on {f'{self.gpus} x ' if self.gpus > 1 else ''}{self.sku}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One target's standing tonight."""

    target: Target
    kind: DueKind
    reasons: tuple[str, ...]
    """Each a few words that name what changed, from what to what."""
