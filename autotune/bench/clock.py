"""Clocks: how one call is timed. Those of a GPU are in files beside this; how often to call is decided elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from autotune.bench.affinity import Pinning
from autotune.device import Device
from autotune.restoring import Restoring

Call = Callable[[], Any]
Keep = Callable[[Any], Any]
"""Reduces a call's result to what is kept of it, outside the timed interval: a tensor kept would use up memory."""

SHORT_CALL_MS = 0.02
"""On a CPU, calls shorter than this are timed several at a time: the clock and its loop cost about 0.1 µs."""
LOOP_MS = 0.1
"""How long the calls that are timed together take at least."""
FLUSH_FACTOR = 2
"""The buffer that is zeroed to flush the L2 is this many times its size, whatever the replacement policy."""


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


def clock_for(device: Device, *, cache: Literal["cold", "warm"] = "cold") -> Clock:
    """The clock for what the workload has loaded by now; to be asked for once it is prepared.

    cache: whether a GPU's L2 is flushed before each call, or left as the call before it left it.
    """
    if device.kind == "cpu":
        return HostClock()
    from autotune.bench.gpu_clock import SynchronizedClock, TorchClock
    from autotune.bench.libcuda import CudaDriver

    flush_bytes = (device.l2_bytes or 0) * FLUSH_FACTOR if cache == "cold" else 0
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return TorchClock(torch, flush_bytes)
    driver = CudaDriver()
    flush = driver.zeroes(flush_bytes)
    return SynchronizedClock(flush=flush, synchronize=driver.synchronize, free=flush.free)


def parts(call: Call | None) -> tuple[Callable[[], None], Call]:
    """What to do before a call, and the call itself."""
    if isinstance(call, Restoring):
        return call.restore, call.call
    return nothing, call or nothing


def nothing() -> None:
    """What need not be done."""


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
