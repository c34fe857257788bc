"""HostClock: how one call is timed on the CPU."""

from __future__ import annotations

import math
import time

from autotune.bench.affinity import Pinning
from autotune.bench.clock import Call, Keep, Reading, nothing, parts

SHORT_CALL_MS = 0.02
"""On a CPU, calls shorter than this are timed several at a time: the clock and its loop cost about 0.1 µs."""
LOOP_MS = 0.1
"""How long the calls that are timed together take at least."""


class HostClock:
    """Wall time on the CPU; short calls are timed in a loop whose length the warm-up finds.

    The calling thread stays on one core while it is timed, where its calls have proved to use no other.
    """

    def __init__(self) -> None:
        self._loop = 1
        self._pinning = Pinning()
        self._restore = nothing

    def warm_up(self, call: Call) -> float:
        """Also sizes the loop by the call's time."""
        self._restore, timed = parts(call)
        self._restore()
        with self._pinning.watch():
            started = time.perf_counter_ns()
            for _ in range(self._loop):
                timed()
            wall_ms = (time.perf_counter_ns() - started) / 1e6
        each_ms = max(wall_ms / self._loop, 1e-6)
        alone = self._restore is not nothing  # a second call would find what the first one left
        self._loop = math.ceil(LOOP_MS / each_ms) if each_ms < SHORT_CALL_MS and not alone else 1
        return wall_ms

    def take(self, call: Call, count: int, keep: Keep) -> list[Reading]:
        """What is kept of a loop is its last result."""
        restore, timed = parts(call)
        readings, loop = [], range(self._loop if restore is nothing else 1)
        with self._pinning.hold():
            for _ in range(count):
                result = None
                restore()
                started = time.perf_counter_ns()
                for _ in loop:
                    result = timed()
                elapsed = time.perf_counter_ns() - started
                readings.append(Reading(elapsed / 1e6 / len(loop), keep(result)))
        return readings

    def run(self, call: Call | None, count: int) -> None:
        """Under the same conditions as when it is timed."""
        restore, timed = parts(call) if call is not None else (self._restore, nothing)
        if restore is nothing and call is None:
            return
        with self._pinning.hold():
            for _ in range(count):
                restore()
                timed()

    def finish(self) -> None:
        """A CPU has nothing under way once a call has returned."""
