"""Clocks against devices that are made up here: what is timed, from which state, and what is found in the warm-up."""

import ctypes
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from autotune import clock
from autotune.clock import CudaDriver, EventClock, HostClock, SynchronizedClock, clock_for
from autotune.device import cpu_device

GPU = replace(cpu_device(), kind="gpu", sku="h200", l2_bytes=50)


class Stream:
    """As much of torch as a clock looks at; the events' time is a counter's, the host's is real."""

    def __init__(self, overhang_s=0.0):
        self.overhang_s, self.flushed_bytes, self.now_ms, self.busy = overhang_s, 0, 0.0, False
        self.cuda = SimpleNamespace(Event=self.event, synchronize=self.synchronize, is_initialized=lambda: True)
        self.int8 = "int8"

    def event(self, enable_timing):
        event = SimpleNamespace(ms=0.0, synchronize=lambda: None)
        event.record = lambda: setattr(event, "ms", self.now_ms)
        event.elapsed_time = lambda other: other.ms - event.ms
        return event

    def synchronize(self):
        time.sleep(self.overhang_s if self.busy else 0)
        self.busy = False

    def empty(self, count, dtype, device):
        return SimpleNamespace(zero_=lambda: setattr(self, "flushed_bytes", self.flushed_bytes + count))

    def call(self):
        self.now_ms += 0.25
        self.busy = True
        return {"tokens": 1}


class Driver:
    """As much of libcuda as a clock calls."""

    def __init__(self, status=0):
        self.status, self.calls = status, []

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append(name)
            if name == "cuMemAlloc_v2":
                ctypes.cast(arguments[0], ctypes.POINTER(ctypes.c_uint64))[0] = 4096
            if name.startswith("cuGetError"):
                text = b"CUDA_ERROR_ILLEGAL_ADDRESS" if name == "cuGetErrorName" else b"an illegal memory access"
                ctypes.cast(arguments[1], ctypes.POINTER(ctypes.c_char_p))[0] = text
            return self.status if name == "cuCtxSynchronize" else 0

        return call


def test_a_cpu_call_is_timed_one_by_one():
    clock = HostClock()
    assert clock.warm_up(lambda: time.sleep(0.002)) >= 2
    readings = clock.take(lambda: time.sleep(0.002) or 7, 3, lambda result: result + 1)
    assert [reading.kept for reading in readings] == [8, 8, 8]
    assert all(reading.ms >= 2 for reading in readings)


def test_a_short_cpu_call_is_timed_in_a_loop_and_a_longer_one_not_any_more():
    calls = []
    clock = HostClock()
    for _ in range(3):
        clock.warm_up(lambda: None)
    assert all(reading.ms < 0.01 for reading in clock.take(lambda: calls.append(1), 2, lambda _: None))
    assert len(calls) >= 20
    assert len(calls) % 2 == 0
    for _ in range(2):
        clock.warm_up(lambda: time.sleep(0.001))
    calls.clear()
    clock.take(lambda: calls.append(1), 2, lambda _: None)
    assert len(calls) == 2


def test_events_time_the_device_from_a_cold_cache():
    stream = Stream()
    timed = EventClock(stream, flush_bytes=100)
    for _ in range(3):
        timed.warm_up(stream.call)
    readings = timed.take(stream.call, 5, lambda result: result["tokens"])
    assert [reading.ms for reading in readings] == [0.25] * 5
    assert [reading.kept for reading in readings] == [1] * 5
    assert stream.flushed_bytes == 8 * 100


def test_work_that_outlasts_the_events_is_timed_from_an_idle_to_an_idle_device():
    stream = Stream(overhang_s=0.002)
    timed = EventClock(stream, flush_bytes=100)
    for _ in range(3):
        timed.warm_up(stream.call)
    assert all(reading.ms >= 2 for reading in timed.take(stream.call, 3, lambda result: None))


def test_one_hiccup_is_no_work_on_another_stream():
    stream = Stream(overhang_s=0.002)
    timed = EventClock(stream, flush_bytes=0)
    timed.warm_up(stream.call)
    timed.warm_up(stream.call)
    stream.overhang_s = 0
    timed.warm_up(stream.call)
    assert [reading.ms for reading in timed.take(stream.call, 2, lambda result: None)] == [0.25] * 2
    assert stream.flushed_bytes == 0


def test_the_driver_is_flushed_and_waited_for_before_a_call_and_waited_for_after_it(monkeypatch):
    driver = Driver()
    monkeypatch.setattr(clock.ctypes, "CDLL", lambda name: driver)
    monkeypatch.setitem(sys.modules, "torch", None)
    timed = clock_for(GPU)
    assert isinstance(timed, SynchronizedClock)
    timed.take(lambda: driver.calls.append("call"), 2, lambda result: None)
    timed.finish()
    first, later = ["cuMemAlloc_v2", "cuMemsetD8_v2"], ["cuMemsetD8_v2"]
    rest = ["cuCtxSynchronize", "call", "cuCtxSynchronize"]
    assert driver.calls == [*first, *rest, *later, *rest, "cuCtxSynchronize", "cuMemFree_v2"]


def test_what_fails_on_the_device_is_raised_with_the_drivers_name(monkeypatch):
    monkeypatch.setattr(clock.ctypes, "CDLL", lambda name: Driver(status=700))
    with pytest.raises(RuntimeError, match="CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access"):
        CudaDriver(0).synchronize()


def test_a_thread_without_a_context_has_nothing_to_wait_for(monkeypatch):
    monkeypatch.setattr(clock.ctypes, "CDLL", lambda name: Driver(status=201))
    CudaDriver(0).synchronize()


def test_torch_is_used_only_where_it_uses_the_gpu(monkeypatch):
    monkeypatch.setattr(clock.ctypes, "CDLL", lambda name: Driver())
    monkeypatch.setitem(sys.modules, "torch", Stream())
    assert isinstance(clock_for(GPU), EventClock)
    assert isinstance(clock_for(cpu_device()), HostClock)
    idle = SimpleNamespace(cuda=SimpleNamespace(is_initialized=lambda: False))
    monkeypatch.setitem(sys.modules, "torch", idle)
    assert isinstance(clock_for(GPU), SynchronizedClock)
