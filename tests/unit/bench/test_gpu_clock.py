"""Clocks of a GPU against one that is made up: what is timed, from which state, and which way of timing is taken."""

import gc
from itertools import pairwise

import pytest

from autotune.bench import gpu_clock, libcuda
from autotune.bench.gpu_clock import TorchClock
from autotune.bench.graph_clock import GraphClock
from tests.unit.bench.fake_gpu import Gpu, Libcuda


@pytest.fixture
def made(monkeypatch):
    """A GPU with its clock, and no time lost on its rising clocks."""

    def make(flush_bytes=100, **properties):
        gpu = Gpu(**properties)
        monkeypatch.setattr(libcuda.ctypes, "CDLL", lambda name: Libcuda(gpu))
        monkeypatch.setattr(gpu_clock, "RAMP_S", 0.0)
        return gpu, TorchClock(gpu, flush_bytes)

    return make


def measured(clock, call, count=5):
    for _ in range(3):
        clock.warm_up(call)
    return [reading.ms for reading in clock.take(call, count, lambda result: None)]


def test_events_time_the_device_from_a_cold_cache(made):
    gpu, clock = made()
    calls = []
    assert measured(clock, lambda: calls.append(gpu.work(0.25))) == pytest.approx([0.25] * 5)
    assert clock.method == "events"
    assert gpu.flushes == len(calls)


def test_a_warm_cache_is_not_flushed_and_an_untimed_call_goes_first(made):
    gpu, clock = made(flush_bytes=0)
    calls = []
    call = lambda: calls.append(gpu.work(0.25))  # noqa: E731
    measured(clock, call)
    calls.clear()
    readings = clock.take(call, 5, lambda result: None)
    assert [reading.ms for reading in readings] == pytest.approx([0.25] * 5)
    assert (gpu.flushes, len(calls)) == (0, 1 + 5)


@pytest.mark.parametrize("flush_bytes", [0, 100])
def test_a_short_call_is_timed_in_a_graph_without_the_cost_of_the_flush_or_of_the_graph(made, flush_bytes):
    gpu, clock = made(flush_bytes)
    assert measured(clock, lambda: gpu.work(0.005)) == pytest.approx([0.005] * 5)
    assert clock.method == "graph"


@pytest.mark.parametrize("flush_bytes", [0, 100])
def test_a_steady_drift_of_the_device_cancels_within_a_reading(made, flush_bytes):
    gpu, clock = made(flush_bytes, drift=1e-4)
    call = lambda: gpu.work(0.005)  # noqa: E731
    for _ in range(3):
        clock.warm_up(call)
    [reading] = clock.take(call, 1, lambda result: None)
    by_now = 0.005 * (1 + 1e-4 * gpu.now_ms)
    assert reading.ms == pytest.approx(by_now, rel=0.003)


def test_the_warm_up_of_a_short_call_ends_with_its_capture_and_plans_with_whole_readings(made):
    gpu, clock = made()
    call = lambda: gpu.work(0.005)  # noqa: E731
    clock.warm_up(call)
    assert gpu.executables == {}
    clock.warm_up(call)
    assert len(gpu.executables) == 2
    launches = gpu.log.count("launch")
    clock.warm_up(call)
    assert gpu.log.count("launch") - launches == 4


def test_a_reading_among_others_costs_a_few_milliseconds_and_captures_nothing_again(made):
    gpu, clock = made()
    call = lambda: gpu.work(0.005)  # noqa: E731
    measured(clock, call)
    before_ms, launches, graphs = gpu.now_ms, gpu.log.count("launch"), dict(gpu.executables)
    clock.take(call, 1, lambda result: None)
    assert gpu.now_ms - before_ms < 10
    assert gpu.log.count("launch") - launches == 4
    assert gpu.executables == graphs
    assert gpu.graphs == {}


@pytest.mark.parametrize("flush_bytes", [0, 100])
def test_exactly_so_many_calls_are_run_untimed(made, flush_bytes):
    gpu, clock = made(flush_bytes, flush_ms=0.0, start_ms=0.0)
    call = lambda: gpu.work(0.005)  # noqa: E731
    measured(clock, call)
    for count in (1, 57, 1000):
        before_ms = gpu.now_ms
        clock.run(call, count)
        assert gpu.now_ms - before_ms == pytest.approx(0.005 * count)


def test_what_surrounds_the_calls_is_run_alone(made):
    gpu, clock = made(start_ms=0.0)
    measured(clock, lambda: gpu.work(0.005))
    before_ms = gpu.now_ms
    clock.run(None, 100)
    assert gpu.now_ms - before_ms == pytest.approx(100 * gpu.flush_ms)
    gpu, warm = made(flush_bytes=0)
    measured(warm, lambda: gpu.work(0.005))
    before_ms = gpu.now_ms
    warm.run(None, 100)
    assert gpu.now_ms == before_ms


@pytest.mark.parametrize("trouble", ["synchronizes", "raises"])
def test_a_call_that_cannot_be_captured_is_timed_by_events_and_the_device_is_as_it_was(made, trouble):
    gpu, clock = made()

    def call():
        gpu.work(0.005)
        if trouble == "synchronizes":
            gpu.cuda.synchronize()
        elif gpu.captured is not None:
            raise RuntimeError("not in capture mode")

    assert measured(clock, call) == pytest.approx([0.005] * 5)
    assert clock.method == "events"
    assert gpu.captured is None
    assert (gpu.graphs, gpu.executables, gpu.pools, gpu.current) == ({}, {}, [], 0)
    assert gpu.log == ["zeros"]  # which takes away an error that the next launch would report


def test_a_call_that_is_interrupted_while_it_is_captured_leaves_nothing_behind(made):
    gpu, clock = made()

    def call():
        if gpu.captured is not None:
            raise KeyboardInterrupt
        gpu.work(0.005)

    with pytest.raises(KeyboardInterrupt):
        measured(clock, call)
    assert gpu.captured is None
    assert (gpu.graphs, gpu.executables, gpu.pools, gpu.current) == ({}, {}, [], 0)


def test_a_call_of_which_nothing_is_captured_is_timed_from_idle_to_idle(made):
    gpu, clock = made()
    measured(clock, lambda: gpu.aside(0.005))
    assert clock.method == "idle"
    assert gpu.executables == {}


def test_work_that_outlasts_the_events_is_timed_from_an_idle_to_an_idle_device(made):
    gpu, clock = made(overhang_s=0.002)
    assert all(ms >= 2 for ms in measured(clock, lambda: gpu.work(0.25), 3))
    assert clock.method == "idle"


def test_one_hiccup_is_no_work_on_another_stream(made):
    gpu, clock = made(flush_bytes=0, overhang_s=0.002)
    call = lambda: gpu.work(0.25)  # noqa: E731
    clock.warm_up(call)
    clock.warm_up(call)
    gpu.overhang_s = 0
    clock.warm_up(call)
    assert [reading.ms for reading in clock.take(call, 2, lambda result: None)] == pytest.approx([0.25] * 2)


def test_a_call_with_metrics_of_its_own_is_timed_by_events_and_its_metrics_are_kept(made):
    gpu, clock = made()

    def call():
        gpu.work(0.005)
        return {"tokens": 3}

    for _ in range(3):
        clock.warm_up(call)
    readings = clock.take(call, 2, lambda result: result["tokens"])
    assert [reading.kept for reading in readings] == [3, 3]
    assert clock.method == "events"


def test_the_last_call_of_all_is_an_ordinary_one(made):
    gpu, clock = made()
    ways = []
    measured(clock, lambda: ways.append(gpu.captured is None) or gpu.work(0.005))
    assert not all(ways)
    assert ways[-1]


class Restored:
    """As much of a tensor on the GPU as restoring asks for; to restore it takes a while of device time."""

    is_cuda = True

    def __init__(self, gpu, log):
        self.gpu, self.log = gpu, log

    def detach(self):
        return self

    def clone(self):
        return self

    def copy_(self, other):
        self.log.append("restore")
        self.gpu.work(0.002)


@pytest.mark.parametrize("flush_bytes", [0, 100])
@pytest.mark.parametrize("call_ms", [0.005, 0.25])
def test_restoring_is_not_timed_and_comes_before_every_call(made, flush_bytes, call_ms):
    from autotune import restoring

    gpu, clock = made(flush_bytes)
    log = []
    call = restoring(lambda: log.append("call") or gpu.work(call_ms), Restored(gpu, log))
    assert measured(clock, call) == pytest.approx([call_ms] * 5)
    assert clock.method == ("graph" if call_ms < 0.064 else "events")
    calls = [before for before, now in pairwise(log) if now == "call"]
    assert set(calls) == {"restore"}


def test_what_is_restored_on_the_host_is_never_captured(made):
    from autotune import restoring

    gpu, clock = made()
    tensor = Restored(gpu, [])
    tensor.is_cuda = False
    measured(clock, restoring(lambda: gpu.work(0.005), tensor))
    assert clock.method == "events"


def test_clocks_share_one_flush_buffer_which_goes_with_the_last_of_them(made):
    gpu, first = made()
    second = TorchClock(gpu, 100)
    for clock in (first, second):
        measured(clock, lambda: gpu.work(0.25))
    assert gpu.buffers == [100]
    first.finish()
    measured(second, lambda: gpu.work(0.25))
    assert gpu.buffers == [100]
    second.finish()
    gc.collect()
    measured(TorchClock(gpu, 100), lambda: gpu.work(0.25))
    assert gpu.buffers == [100, 100]


def test_what_was_captured_is_given_back_at_the_end_once(made):
    gpu, clock = made()
    measured(clock, lambda: gpu.work(0.005))
    assert len(gpu.executables) == 2
    clock.finish()
    clock.finish()
    assert gpu.executables == {}


def test_another_call_than_the_captured_one_is_timed_all_the_same(made):
    gpu, clock = made()
    measured(clock, lambda: gpu.work(0.005))
    assert [reading.ms for reading in clock.take(lambda: gpu.work(0.04), 2, lambda result: None)] == pytest.approx(
        [0.04, 0.04]
    )


def test_the_number_of_calls_in_a_graph_is_bounded(made):
    gpu, _ = made()
    for about_ms, calls in ((1e-6, 128), (0.1, 20), (50, 8)):
        from autotune.bench.flush import Flush

        GraphClock(gpu, lambda: gpu.work(0.005), Flush(gpu, 100), about_ms)
        assert max(map(len, gpu.executables.values())) == 2 * calls
        gpu.executables.clear()


def test_an_idle_device_is_loaded_before_its_first_reading_and_not_before_the_next(made, monkeypatch):
    gpu, clock = made()
    monkeypatch.setattr(gpu_clock, "RAMP_S", 0.02)
    monkeypatch.setattr(gpu_clock, "_load", gpu_clock._Load())
    calls = []
    measured(clock, lambda: calls.append(gpu.work(0.25)))
    assert len(calls) > 40
    calls.clear()
    measured(TorchClock(gpu, 100), lambda: calls.append(gpu.work(0.25)))
    assert len(calls) < 20


def test_a_device_that_stood_idle_meanwhile_is_loaded_again(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(gpu_clock.time, "monotonic", lambda: now[0])
    load = gpu_clock._Load()
    load.add(gpu_clock.RAMP_S)
    assert load.up
    now[0] += 2 * gpu_clock.IDLE_S
    assert not load.up
    load.add(0.01)
    assert not load.up
