"""The clock of a CPU, the one of a GPU without torch, and which of them is taken."""

import ctypes
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy
import pytest

import autotune
from autotune.bench import libcuda
from autotune.bench.clock_choice import clock_for
from autotune.bench.gpu_clock import SynchronizedClock, TorchClock
from autotune.bench.host_clock import HostClock
from autotune.bench.libcuda import CudaDriver
from autotune.device import cpu_device
from tests.unit.bench.fake_gpu import Gpu

GPU = replace(cpu_device(), kind="gpu", sku="h200", l2_bytes=50)


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
        clock.warm_up(lambda: time.sleep(0.00005))
    calls.clear()
    clock.take(lambda: calls.append(1), 2, lambda _: None)
    assert len(calls) == 2


def test_the_driver_is_flushed_and_waited_for_before_a_call_and_waited_for_after_it(monkeypatch):
    driver = Driver()
    monkeypatch.setattr(libcuda.ctypes, "CDLL", lambda name: driver)
    monkeypatch.setitem(sys.modules, "torch", None)
    timed = clock_for(GPU)
    assert isinstance(timed, SynchronizedClock)
    timed.take(lambda: driver.calls.append("call"), 2, lambda result: None)
    timed.finish()
    first, later = ["cuMemAlloc_v2", "cuMemsetD8_v2"], ["cuMemsetD8_v2"]
    rest = ["cuCtxSynchronize", "call", "cuCtxSynchronize"]
    assert driver.calls == [*first, *rest, *later, *rest, "cuCtxSynchronize", "cuMemFree_v2"]


def test_a_warm_cache_is_left_alone(monkeypatch):
    driver = Driver()
    monkeypatch.setattr(libcuda.ctypes, "CDLL", lambda name: driver)
    monkeypatch.setitem(sys.modules, "torch", None)
    timed = clock_for(GPU, cache="warm")
    timed.take(lambda: driver.calls.append("call"), 1, lambda result: None)
    timed.finish()
    assert driver.calls == ["cuCtxSynchronize", "call", "cuCtxSynchronize", "cuCtxSynchronize"]


def test_untimed_runs_are_waited_for_once(monkeypatch):
    driver = Driver()
    monkeypatch.setattr(libcuda.ctypes, "CDLL", lambda name: driver)
    monkeypatch.setitem(sys.modules, "torch", None)
    timed = clock_for(GPU)
    timed.run(lambda: driver.calls.append("call"), 3)
    timed.run(None, 2)
    assert driver.calls.count("call") == 3
    assert driver.calls.count("cuMemsetD8_v2") == 5
    assert driver.calls.count("cuCtxSynchronize") == 2


def test_what_works_in_place_starts_every_timed_call_from_the_initial_contents():
    x = numpy.zeros(4)
    seen = []

    def count_up():
        seen.append(x[0])
        x[:] += 1

    call = autotune.restoring(count_up, x)
    clock = HostClock()
    for _ in range(3):
        clock.warm_up(call)
    clock.take(call, 5, lambda result: None)
    clock.run(call, 2)
    assert seen == [0] * 10
    clock.run(None, 1)
    assert x[0] == 0


def test_the_time_to_restore_is_not_timed():
    slow = type("Slow", (), {"copy": lambda _: 0, "dtype": None, "__setitem__": lambda *_: time.sleep(0.005)})()
    call = autotune.restoring(lambda: None, slow)
    clock = HostClock()
    clock.warm_up(call)
    assert all(reading.ms < 1 for reading in clock.take(call, 3, lambda result: None))


def test_what_fails_on_the_device_is_raised_with_the_drivers_name(monkeypatch):
    monkeypatch.setattr(libcuda.ctypes, "CDLL", lambda name: Driver(status=700))
    with pytest.raises(RuntimeError, match="CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access"):
        CudaDriver().synchronize()


def test_a_thread_without_a_context_has_nothing_to_wait_for(monkeypatch):
    monkeypatch.setattr(libcuda.ctypes, "CDLL", lambda name: Driver(status=201))
    CudaDriver().synchronize()


def test_torch_is_used_only_where_it_uses_the_gpu(monkeypatch):
    monkeypatch.setattr(libcuda.ctypes, "CDLL", lambda name: Driver())
    monkeypatch.setitem(sys.modules, "torch", Gpu())
    assert isinstance(clock_for(GPU), TorchClock)
    assert isinstance(clock_for(cpu_device()), HostClock)
    idle = SimpleNamespace(cuda=SimpleNamespace(is_initialized=lambda: False))
    monkeypatch.setitem(sys.modules, "torch", idle)
    assert isinstance(clock_for(GPU), SynchronizedClock)
