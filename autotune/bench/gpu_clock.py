"""GPU clocks: by events, from an idle to an idle device, and the choice between these and graphs (`graph_clock.py`)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from autotune.bench.clock import Call, Clock, Keep, Reading, nothing, parts
from autotune.bench.flush import Flush
from autotune.bench.graph_clock import GraphClock, NotCaptured

_T = TypeVar("_T")

ESCAPED_MS, ESCAPED_SHARE = 0.01, 0.05
"""Work that goes on after the end event, by more than both, runs on streams that the events do not see."""
SURE, LONG_MS = 5, 100.0
"""So many calls must have shown it; or as many as the warm-up and one more, where a call takes longer than this."""
SHORT_KERNEL_MS = 0.064
"""Calls shorter than this on the device are timed in a graph: launching one takes the host 8 to 12 µs, and events tell
time in steps of about half a microsecond."""
SEEN_WHEN_SHORT = 3
"""So many calls must have been seen to size a graph: the host may be held up between the events of one."""
LEAD_MS = 5.0
"""Without a flush, a call shorter than this is preceded by an untimed one, which hides the launch of the first timed
one and leaves in the L2 what a call leaves there."""
IDLE_S, RAMP_S = 1.0, 0.15
"""A GPU that was left idle for so long is loaded for so long before its first reading, so that its clocks are up."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """One call in the warm-up."""

    device_ms: float
    flushed_ms: float
    """With what surrounds it."""
    overhang_ms: float
    """How much longer the device was busy after the end event than is put down to chance; negative where it was not."""
    returns_metrics: bool


class SynchronizedClock:
    """Wall time from an idle GPU to an idle GPU: sees every stream, and counts the launch and the wait as well."""

    method = "idle"

    def __init__(
        self, *, flush: Callable[[], None], synchronize: Callable[[], None], free: Callable[[], None] = nothing
    ) -> None:
        self._flush, self._synchronize, self._free = flush, synchronize, free
        self._restore = nothing

    def warm_up(self, call: Call) -> float:
        """Nothing to size here."""
        self._restore, timed = parts(call)
        started = time.perf_counter_ns()
        self._surround()
        timed()
        self._synchronize()
        return (time.perf_counter_ns() - started) / 1e6

    def take(self, call: Call, count: int, keep: Keep) -> list[Reading]:
        """One wait per call."""
        self._restore, timed = parts(call)
        readings = []
        for _ in range(count):
            self._surround()
            self._synchronize()
            started = time.perf_counter_ns()
            result = timed()
            self._synchronize()
            elapsed = time.perf_counter_ns() - started
            readings.append(Reading(elapsed / 1e6, keep(result)))
            del result
        return readings

    def run(self, call: Call | None, count: int) -> None:
        """The device runs on between the calls."""
        if call is not None:
            self._restore = parts(call)[0]
        timed = parts(call)[1]
        for _ in range(count):
            self._surround()
            timed()
        self._synchronize()

    def finish(self) -> None:
        """Wait first: what failed on the device is raised, and the buffer is in use no more."""
        self._synchronize()
        self._free()

    def _surround(self) -> None:
        self._restore()
        self._flush()


class EventClock:
    """Device time between two events on torch's current stream, with one wait per batch.

    Work on streams that the current one does not wait for goes on after the end event and is missed.
    """

    method = "events"

    def __init__(self, torch: Any, flush: Flush) -> None:
        self._torch, self._flush = torch, flush
        self._restore = nothing
        self._seen: list[_Seen] = []

    @property
    def seen(self) -> list[_Seen]:
        """The calls of the warm-up, but for the first, which compiles and tells nothing."""
        return self._seen[1:]

    @property
    def about_ms(self) -> float:
        """Of one call on the device; 0 where nothing was seen yet."""
        return min((seen.device_ms for seen in self.seen), default=0.0)

    def warm_up(self, call: Call) -> float:
        """Also looks for work that outlasts the end event."""
        started = time.perf_counter_ns()
        before = self._event()
        before.record()
        begin, end, result = self._timed(call)
        end.synchronize()
        ended = time.perf_counter_ns()
        self._torch.cuda.synchronize()
        idle = time.perf_counter_ns()
        self._torch.cuda.synchronize()  # costs what waiting for nothing costs
        overhang_ms = (2 * idle - ended - time.perf_counter_ns()) / 1e6
        device_ms = begin.elapsed_time(end)
        overhang_ms -= max(ESCAPED_MS, ESCAPED_SHARE * device_ms)
        self._seen.append(_Seen(device_ms, before.elapsed_time(end), overhang_ms, isinstance(result, Mapping)))
        return (idle - started) / 1e6

    def take(self, call: Call, count: int, keep: Keep) -> list[Reading]:
        """The device runs on between the calls of a batch, so that the time to launch is hidden as in a real run."""
        if not self._flush and self.about_ms < LEAD_MS:
            self._timed(call)
        batch = []
        for _ in range(count):
            begin, end, result = self._timed(call)
            batch.append((begin, end, keep(result)))
            del result
        self._torch.cuda.synchronize()
        return [Reading(begin.elapsed_time(end), kept) for begin, end, kept in batch]

    def run(self, call: Call | None, count: int) -> None:
        """Without events."""
        if call is not None:
            self._restore = parts(call)[0]
        timed = parts(call)[1]
        for _ in range(count):
            self._restore()
            self._flush()
            timed()
        self._torch.cuda.synchronize()

    def finish(self) -> None:
        """As for the other clocks of a GPU."""
        self._torch.cuda.synchronize()
        self._flush.free()

    def _timed(self, call: Call) -> tuple[Any, Any, Any]:
        self._restore, timed = parts(call)
        begin, end = self._event(), self._event()
        self._restore()
        self._flush()
        begin.record()
        result = timed()
        end.record()
        return begin, end, result

    def _event(self) -> Any:
        return self._torch.cuda.Event(enable_timing=True)


_Way = EventClock | GraphClock | SynchronizedClock


class TorchClock:
    """Times a call of torch or Triton in the way that suits it, which its warm-up by events and the first reading tell.

    Short calls are timed in graphs, calls whose work runs on streams that the current one does not wait for from an
    idle to an idle device, all others by events.
    """

    def __init__(self, torch: Any, flush_bytes: int) -> None:
        self._torch = torch
        self._flush = Flush(torch, flush_bytes)
        self._events = EventClock(torch, self._flush)
        self._chosen: tuple[Call, _Way] | None = None

    @property
    def method(self) -> str:
        """`events`, `graph` or `idle`."""
        return (self._chosen[1] if self._chosen else self._events).method

    def warm_up(self, call: Call) -> float:
        """By events; from the second call on, a short one is captured, and what it gives is the time of one reading."""
        if self._chosen is None:
            wall_ms = self._events.warm_up(call)
            _load.add(sum(seen.flushed_ms for seen in self._events.seen[-1:]) / 1e3)
            if not self._events.seen or self._events.about_ms >= SHORT_KERNEL_MS:
                return wall_ms
        clock = self._for(call)
        return _loaded_by(partial(clock.warm_up, call))

    def take(self, call: Call, count: int, keep: Keep) -> list[Reading]:
        """The first time also loads the device until its clocks are up."""
        clock = self._for(call)
        return _loaded_by(partial(clock.take, call, count, keep))

    def run(self, call: Call | None, count: int) -> None:
        """In a graph where it is timed in one, so that the device never waits for the host."""
        clock = self._for(call) if call is not None else self._chosen[1] if self._chosen else self._events
        _loaded_by(partial(clock.run, call, count))

    def finish(self) -> None:
        """Idempotent."""
        chosen, self._chosen = self._chosen, None
        try:
            if chosen and chosen[1] is not self._events:
                chosen[1].finish()
        finally:
            self._events.finish()

    def _for(self, call: Call) -> _Way:
        if self._chosen is None:
            self._chosen = call, self._choose(call)
            _ramp_up(self._chosen[1], call)
        chosen_for, clock = self._chosen
        return clock if chosen_for is call or not isinstance(clock, GraphClock) else self._events

    def _choose(self, call: Call) -> _Way:
        if not self._events.seen:
            return self._events
        idle_to_idle = SynchronizedClock(flush=self._flush, synchronize=self._torch.cuda.synchronize)
        if self._escapes(call):
            return idle_to_idle
        while len(self._events.seen) < SEEN_WHEN_SHORT and self._events.about_ms < SHORT_KERNEL_MS:
            self._events.warm_up(call)
        seen = self._events.seen
        if self._events.about_ms >= SHORT_KERNEL_MS or any(one.returns_metrics for one in seen):
            return self._events
        try:
            return GraphClock(self._torch, call, self._flush, min(one.flushed_ms for one in seen))
        except NotCaptured as reason:
            return idle_to_idle if reason.escaped else self._events

    def _escapes(self, call: Call) -> bool:
        """Whether the device was busy after the end event each time: the host may be held up once, or a few times."""
        wall_ms = 0.0
        while min(one.overhang_ms for one in self._events.seen) > 0:
            if len(self._events.seen) >= SURE or wall_ms > LONG_MS:
                return True
            wall_ms = self._events.warm_up(call)
        return False


class _Load:
    """How long the device has been under load since it last stood idle, as far as this process knows."""

    def __init__(self) -> None:
        self._busy_s, self._until_s = 0.0, -math.inf

    def add(self, busy_s: float) -> None:
        """It has just been busy for so long."""
        now_s = time.monotonic()
        if now_s - busy_s - self._until_s > IDLE_S:
            self._busy_s = 0.0
        self._busy_s, self._until_s = self._busy_s + busy_s, now_s

    @property
    def up(self) -> bool:
        """Whether its clocks have had the time to rise, and none to fall."""
        return self._busy_s >= RAMP_S and time.monotonic() - self._until_s < IDLE_S


_load = _Load()


def _loaded_by(work: Callable[[], _T]) -> _T:
    started_s = time.monotonic()
    done = work()
    _load.add(time.monotonic() - started_s)
    return done


def _ramp_up(clock: Clock, call: Call) -> None:
    count = 1
    while not _load.up:
        _loaded_by(partial(clock.run, call, count))
        count *= 2
