"""Clocks: how one call is timed on a device; how often to call and when it was enough is decided in bench.py."""

from __future__ import annotations

import ctypes
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from autotune.device import Device

Call = Callable[[], Any]
Keep = Callable[[Any], Any]
"""Reduces a call's result to what is kept of it, outside the timed interval: a tensor kept would use up memory."""

SHORT_CALL_MS = 0.02
"""On a CPU, calls shorter than this are timed several at a time: the clock and its loop cost about 0.1 µs."""
LOOP_MS = 0.1
"""How long the calls that are timed together take at least."""
FLUSH_FACTOR = 2
"""The buffer that is zeroed to flush the L2 is this many times its size, whatever the replacement policy."""
ESCAPED_MS, ESCAPED_SHARE = 0.01, 0.05
"""Work that goes on after the end event, by more than both, runs on streams that the events do not see."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One timed call."""

    ms: float
    kept: Any


class Clock(Protocol):
    """Times calls on one device for one trial."""

    def warm_up(self, call: Call) -> float:
        """Call it once and wait for the device; wall milliseconds of the whole, to plan with."""

    def take(self, call: Call, count: int, keep: Keep) -> list[Reading]:
        """Time `count` calls, each from cold L2 on a GPU."""

    def finish(self) -> None:
        """Wait until the device is idle, which raises what failed on it meanwhile, and give the clock's memory back."""


def clock_for(device: Device) -> Clock:
    """The clock for what the workload has loaded by now; to be asked for once it is prepared."""
    if device.kind == "cpu":
        return HostClock()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return EventClock(torch, (device.l2_bytes or 0) * FLUSH_FACTOR)
    driver = CudaDriver((device.l2_bytes or 0) * FLUSH_FACTOR)
    return SynchronizedClock(flush=driver.flush, synchronize=driver.synchronize, free=driver.free)


class HostClock:
    """Wall time on the CPU; short calls are timed in a loop whose length the warm-up finds."""

    def __init__(self) -> None:
        self._loop = 1

    def warm_up(self, call: Call) -> float:
        """Also sizes the loop by the call's time."""
        started = time.perf_counter_ns()
        for _ in range(self._loop):
            call()
        wall_ms = (time.perf_counter_ns() - started) / 1e6
        each_ms = max(wall_ms / self._loop, 1e-6)
        self._loop = math.ceil(LOOP_MS / each_ms) if each_ms < SHORT_CALL_MS else 1
        return wall_ms

    def take(self, call: Call, count: int, keep: Keep) -> list[Reading]:
        """What is kept of a loop is its last result."""
        readings, loop = [], range(self._loop)
        for _ in range(count):
            result = None
            started = time.perf_counter_ns()
            for _ in loop:
                result = call()
            elapsed = time.perf_counter_ns() - started
            readings.append(Reading(elapsed / 1e6 / len(loop), keep(result)))
        return readings

    def finish(self) -> None:
        """A CPU has nothing under way once a call has returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SynchronizedClock:
    """Wall time from an idle GPU to an idle GPU: sees every stream, and counts the launch and the wait as well."""

    flush: Callable[[], None]
    synchronize: Callable[[], None]
    free: Callable[[], None]

    def warm_up(self, call: Call) -> float:
        """Nothing to size here."""
        started = time.perf_counter_ns()
        self.flush()
        call()
        self.synchronize()
        return (time.perf_counter_ns() - started) / 1e6

    def take(self, call: Call, count: int, keep: Keep) -> list[Reading]:
        """One wait per call."""
        readings = []
        for _ in range(count):
            self.flush()
            self.synchronize()
            started = time.perf_counter_ns()
            result = call()
            self.synchronize()
            elapsed = time.perf_counter_ns() - started
            readings.append(Reading(elapsed / 1e6, keep(result)))
            del result
        return readings

    def finish(self) -> None:
        """Wait first: what failed on the device is raised, and the buffer is in use no more."""
        self.synchronize()
        self.free()


class EventClock:
    """Device time between two events on torch's current stream, with one wait per batch.

    Work on streams that the current one does not wait for goes on after the end event and would be missed; where the
    warm-up finds that, calls are timed from an idle to an idle device instead.
    """

    def __init__(self, torch: Any, flush_bytes: int) -> None:
        self._torch = torch
        self._flush_bytes = flush_bytes
        self._buffer: Any = None
        self._overhang_ms: list[float] = []
        self._idle_to_idle = SynchronizedClock(flush=self._flush, synchronize=torch.cuda.synchronize, free=self._free)

    def warm_up(self, call: Call) -> float:
        """Also looks for work that outlasts the end event; the first call compiles and tells nothing."""
        started = time.perf_counter_ns()
        begin, end = self._timed(call)[:2]
        end.synchronize()
        ended = time.perf_counter_ns()
        self._torch.cuda.synchronize()
        idle = time.perf_counter_ns()
        self._torch.cuda.synchronize()  # costs what waiting for nothing costs
        overhang_ms = (2 * idle - ended - time.perf_counter_ns()) / 1e6
        self._overhang_ms.append(overhang_ms - max(ESCAPED_MS, ESCAPED_SHARE * begin.elapsed_time(end)))
        return (idle - started) / 1e6

    def take(self, call: Call, count: int, keep: Keep) -> list[Reading]:
        """The device runs on between the calls of a batch, so that the time to launch is hidden as in a real run."""
        if min(self._overhang_ms[1:], default=0.0) > 0:
            return self._idle_to_idle.take(call, count, keep)
        batch = []
        for _ in range(count):
            begin, end, result = self._timed(call)
            batch.append((begin, end, keep(result)))
            del result
        self._torch.cuda.synchronize()
        return [Reading(begin.elapsed_time(end), kept) for begin, end, kept in batch]

    def finish(self) -> None:
        """As for the other clocks of a GPU."""
        self._idle_to_idle.finish()

    def _timed(self, call: Call) -> tuple[Any, Any, Any]:
        begin, end = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._flush()
        begin.record()
        result = call()
        end.record()
        return begin, end, result

    def _flush(self) -> None:
        if self._buffer is None and self._flush_bytes:
            self._buffer = self._torch.empty(self._flush_bytes, dtype=self._torch.int8, device="cuda")
        if self._buffer is not None:
            self._buffer.zero_()

    def _free(self) -> None:
        self._buffer = None


class CudaDriver:
    """The few calls of libcuda that time a workload which uses no torch; they act on the thread's current context."""

    NO_CONTEXT = frozenset({3, 4, 201})  # not initialised, deinitialised, invalid context: nothing can be under way

    def __init__(self, flush_bytes: int) -> None:
        self._cuda = ctypes.CDLL("libcuda.so.1")
        self._flush_bytes = ctypes.c_size_t(flush_bytes)
        self._buffer = ctypes.c_uint64()

    def synchronize(self) -> None:
        """Wait for every stream of the context; raises RuntimeError with the driver's name for what failed."""
        self._check(self._cuda.cuCtxSynchronize())

    def flush(self) -> None:
        """Zero a buffer larger than the L2."""
        if not self._flush_bytes.value:
            return
        if not self._buffer.value:
            self._check(self._cuda.cuMemAlloc_v2(ctypes.byref(self._buffer), self._flush_bytes))
        if self._buffer.value:
            self._check(self._cuda.cuMemsetD8_v2(self._buffer, ctypes.c_ubyte(0), self._flush_bytes))

    def free(self) -> None:
        """Give the buffer back; a context that the workload destroyed has done so already."""
        self._cuda.cuMemFree_v2(self._buffer)
        self._buffer = ctypes.c_uint64()

    def _check(self, status: int) -> None:
        if status and status not in self.NO_CONTEXT:
            name, text = ctypes.c_char_p(), ctypes.c_char_p()
            self._cuda.cuGetErrorName(status, ctypes.byref(name))
            self._cuda.cuGetErrorString(status, ctypes.byref(text))
            raise RuntimeError(f"{(name.value or b'CUDA error').decode()}: {(text.value or b'').decode()}")
