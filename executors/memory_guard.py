"""MemoryGuard: whether a worker is about to use up the host's memory; it only looks, the supervisor kills."""

from __future__ import annotations

import time

from . import proc

SHARE = 0.9
"""Of the memory that a worker could have, how much it may take."""
LOOK_S = 0.05
"""Between two looks at least."""
SCAN_SHARE = 0.02
"""Of the time, how much may go into reading the table of processes, which is slow where there are thousands."""


class MemoryGuard:
    """Watches what a worker and all that it started hold; the kernel's own killer might take the study instead.

    limit_bytes: instead of a share of what is there. Without it the bound is not fixed at the start: pages that
    forked processes share count once each, and other programs come and go, so that what is still available decides.
    """

    def __init__(self, pid: int, limit_bytes: int | None) -> None:
        self._pid, self._limit_bytes = pid, limit_bytes
        self._others_bytes = 0
        self._next_look_s = self._next_scan_s = 0.0

    def objection(self) -> str | None:
        """What is wrong, with the numbers; None while nothing is, or it is too early to look again."""
        if time.monotonic() < self._next_look_s:
            return None
        self._next_look_s = time.monotonic() + LOOK_S
        held = proc.resident_bytes(self._pid) + self._others()
        bound = self._limit_bytes or SHARE * (held + proc.available_bytes())
        if held <= bound:
            return None
        return f"it held {_gib(held)} of host memory, and {_gib(bound)} is all that it may take here"

    def _others(self) -> int:
        """What the processes that it started hold, as of the last look."""
        now_s = time.monotonic()
        if now_s >= self._next_scan_s:
            self._others_bytes = sum(p.resident_bytes for p in proc.members(self._pid) if p.pid != self._pid)
            took_s = time.monotonic() - now_s
            self._next_scan_s = now_s + took_s / SCAN_SHARE
        return self._others_bytes


def _gib(count: float) -> str:
    return f"{count / 2**30:.2f} GiB"
