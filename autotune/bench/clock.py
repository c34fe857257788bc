"""Clock: the contract of what times one call; the clocks are in files beside this, `clock_choice` chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from autotune.restoring import Restoring

Call = Callable[[], Any]
Keep = Callable[[Any], Any]
"""Reduces a call's result to what is kept of it, outside the timed interval: a tensor kept would use up memory."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One timed call."""

    ms: float
    kept: Any


class Clock(Protocol):
    """Times one call on one device; where the call is a Restoring, each time from its tensors' initial contents."""

    def warm_up(self, call: Call) -> float:
        """Call it once at least and wait for the device; wall milliseconds of one reading, about, to plan with."""

    def take(self, call: Call, count: int, keep: Keep) -> list[Reading]:
        """Time `count` calls. Readings of several clocks may be taken in turn, each of its own call."""

    def run(self, call: Call | None, count: int) -> None:
        """The same untimed, then wait; None: only what surrounds each call that was seen (flush, restore)."""

    def finish(self) -> None:
        """Wait until the device is idle, which raises what failed on it meanwhile, and give the clock's memory back."""


def parts(call: Call | None) -> tuple[Callable[[], None], Call]:
    """What to do before a call, and the call itself."""
    if isinstance(call, Restoring):
        return call.restore, call.call
    return nothing, call or nothing


def nothing() -> None:
    """What need not be done."""
