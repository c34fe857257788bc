"""GraphClock: times a short call of torch or Triton in CUDA graphs that hold many; `gpu_clock.py` decides when to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import pairwise
from typing import Any

from autotune.bench.clock import Call, Keep, Reading, nothing, parts
from autotune.bench.flush import Flush
from autotune.bench.libcuda import CudaDriver
from autotune.restoring import Restoring

REPLAY_MS = 2.0
"""How long one replay takes, about."""
LEAST_CALLS, MOST_CALLS = 8, 128
"""In one graph: fewer would not hide the half microsecond of an event, more would only take longer to capture."""
LEAST_MS = 1e-6
"""A reading is a difference; this keeps chance from making one that is not above 0."""


class NotCaptured(Exception):
    """The call cannot be timed in a graph."""

    def __init__(self, message: str, *, escaped: bool = False) -> None:
        super().__init__(message)
        self.escaped = escaped
        """Nothing of it was captured: it runs on streams that do not follow the current one."""


class GraphClock:
    """Device time of one call: what a graph with many of them takes longer than one with fewer, over their number.

    Where something surrounds a call, the two graphs are N times (flush, call) and N times the flush alone; otherwise
    they are 2 N and N calls. What a graph costs to start and to end is in both, and what it costs from one node to the
    next stays with the call, as it does in a stream that is kept full. Every replay is between two events and two
    replays of the other graph, whose mean is taken: a drift of the clocks cancels.

    The driver captures, not torch: after a capture that failed, torch's allocator and random generators stay in the
    state of capturing for the rest of the process, while the driver's stream is as it was. Memory that the call
    allocates comes from a pool of torch that lives as long as the graphs. Random numbers of torch cannot be captured
    in this way and raise, which is a call that is not captured.
    """

    method = "graph"

    def __init__(self, torch: Any, call: Call, flush: Flush, about_ms: float) -> None:
        """Capture it. about_ms: of one call with what surrounds it. Raises NotCaptured, and then all is as it was."""
        self._torch, self._driver, self._call = torch, CudaDriver(), call
        self._flush = flush
        self._restore, self._timed = parts(call)
        self._calls = max(LEAST_CALLS, min(MOST_CALLS, int(REPLAY_MS / max(about_ms, 1e-6))))
        if isinstance(call, Restoring) and not call.on_gpu:
            raise NotCaptured("what it restores is not on the GPU")
        self._pool: Any = None
        self._more = self._fewer = 0
        """Graphs that can be launched; 0 is none."""
        try:
            self._capture()
        except BaseException:
            self._free()
            raise

    def warm_up(self, call: Call) -> float:
        """Nothing to size here; wall milliseconds of one reading."""
        started = time.perf_counter_ns()
        self.take(call, 1, lambda _: None)
        return (time.perf_counter_ns() - started) / 1e6

    def take(self, call: Call, count: int, keep: Keep) -> list[Reading]:
        """`call` is the one that was captured; what it returns is not to be had."""
        events = [self._torch.cuda.Event(enable_timing=True) for _ in range(2 * count + 2)]
        self._launch(self._fewer)  # untimed: while it runs the host gets ahead of the device, and stays there
        events[0].record()
        for index, event in enumerate(events[1:]):
            self._launch(self._more if index % 2 else self._fewer)
            event.record()
        self._call_once()
        self._torch.cuda.synchronize()
        spans = [begin.elapsed_time(end) for begin, end in pairwise(events)]
        each = [spans[i] - (spans[i - 1] + spans[i + 1]) / 2 for i in range(1, len(spans), 2)]
        return [Reading(max(LEAST_MS, ms / self._calls), keep(None)) for ms in each]

    def run(self, call: Call | None, count: int) -> None:
        """By as many replays as fit, so that the device never waits for the host; exactly `count` calls."""
        if call is not None:
            held = self._calls if self._surrounded else 2 * self._calls
            self._repeat(self._more, held, count, self._call_once)
        elif self._surrounded:
            self._repeat(self._fewer, self._calls, count, self._surround)
        self._torch.cuda.synchronize()

    def finish(self) -> None:
        """Idempotent. The flush belongs to others too and is left to them."""
        try:
            self._torch.cuda.synchronize()
        finally:
            self._free()

    @property
    def _surrounded(self) -> bool:
        return bool(self._flush) or self._restore is not nothing

    def _surround(self) -> None:
        """Restore between two flushes, or it would take the longer the less of its tensors the call left in the L2."""
        if self._restore is not nothing:
            self._flush()
            self._restore()
        self._flush()

    def _call_once(self) -> None:
        """Outside of a graph: results are where they are expected, however the call hands them on."""
        self._surround()
        self._timed()

    def _capture(self) -> None:
        torch, stream = self._torch, _capture_stream(self._torch, self._torch.cuda.current_device())
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            self._call_once()  # libraries set up what they keep for each stream, which must not be captured
        torch.cuda.synchronize()
        self._pool = torch.cuda.MemPool()
        try:
            self._more, more = self._captured(stream, self._call_once, self._calls * (1 if self._surrounded else 2))
            self._fewer, fewer = self._captured(
                stream, self._surround if self._surrounded else self._call_once, self._calls
            )
        except Exception as error:
            _recover(torch)
            raise NotCaptured(f"{type(error).__name__}: {error}") from None
        if more <= fewer:
            raise NotCaptured("it leaves no work in torch's current stream", escaped=True)
        for executable in (self._more, self._fewer):
            self._driver.upload(executable, stream.cuda_stream)
        torch.cuda.synchronize()
        self._launch(self._more)
        torch.cuda.synchronize()

    def _captured(self, stream: Any, work: Callable[[], None], times: int) -> tuple[int, int]:
        """The graph of that work, ready to be launched, and how many nodes it has."""
        driver, raw = self._driver, stream.cuda_stream
        with self._torch.cuda.stream(stream), _allocating_from(self._torch, self._pool):
            driver.begin_capture(raw)
            try:
                for _ in range(times):
                    work()
            except BaseException:
                driver.abandon_capture(raw)
                raise
            graph = driver.end_capture(raw)
        try:
            return driver.instantiate(graph), driver.nodes(graph)
        finally:
            driver.destroy_graph(graph)

    def _launch(self, executable: int) -> None:
        self._driver.launch(executable, self._torch.cuda.current_stream().cuda_stream)

    def _repeat(self, executable: int, held: int, count: int, one: Callable[[], None]) -> None:
        replays, rest = divmod(count, held)
        for _ in range(replays):
            self._launch(executable)
        for _ in range(rest):
            one()

    def _free(self) -> None:
        for executable in (self._more, self._fewer):
            if executable:
                self._driver.destroy_executable(executable)
        self._more = self._fewer = 0
        self._pool = None


@cache
def _capture_stream(torch: Any, device_index: int) -> Any:
    """One for the life of the process: libraries keep a workspace for every stream that they have seen."""
    return torch.cuda.Stream(device_index)


@contextmanager
def _allocating_from(torch: Any, pool: Any) -> Iterator[None]:
    """As torch.cuda.use_mem_pool does, and for all threads: autograd allocates in threads of its own."""
    device_index, core = torch.cuda.current_device(), torch._C
    core._cuda_beginAllocateToPool(device_index, pool.id)
    try:
        yield
    finally:
        core._cuda_endAllocateToPool(device_index, pool.id)
        core._cuda_releasePool(device_index, pool.id)


def _recover(torch: Any) -> None:
    """After a capture that failed: nothing pends that the next launch would report; raises if the context is broken."""
    with suppress(RuntimeError):
        torch.zeros(1, device="cuda")
    torch.cuda.synchronize()
