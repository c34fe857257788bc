"""Timing of short calls on a real GPU: graphs against long loops between events, and what cannot be captured."""

import statistics
import sys
import time
from pathlib import Path

import pytest
import torch

import autotune
from autotune.bench import gpu_clock
from autotune.bench.clock_choice import clock_for
from autotune.bench.energy import energy_per_call
from autotune.device import energy_j, gpu_devices
from autotune.workload import load

WORKLOADS = Path(__file__).parents[1] / "workloads"

SMALL = 1 << 20
"""Floats; two buffers of them lie in the L2 many times over."""


@pytest.fixture(scope="module")
def device():
    torch.zeros(1, device="cuda")  # the clock for torch is taken where torch uses the GPU
    return gpu_devices()[0]


@pytest.fixture
def clocks(device):
    """Clocks by cache, finished at the end; CUDA must then be as healthy as it was."""
    made = []

    def make(cache="cold"):
        made.append(clock_for(device, cache=cache))
        return made[-1]

    yield make
    for clock in made:
        clock.finish()
    assert_healthy()


def assert_healthy():
    """What a capture that failed is known to break: the stream, allocations, random numbers, emptying the cache."""
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert not torch.cuda.is_current_stream_capturing()
    torch.manual_seed(0)
    x = torch.rand(1 << 16, device="cuda")
    assert 0.4 < x.mean().item() < 0.6
    torch.cuda.empty_cache()
    torch.cuda.synchronize()


def median_ms(clock, call, count=30, warm_ups=4):
    for _ in range(warm_ups):
        clock.warm_up(call)
    return statistics.median(reading.ms for reading in clock.take(call, count, lambda result: None))


def loop_ms(call, calls=400, repeats=20):
    """One call among many in a stream that is kept full: by a graph of torch's own, its launch is hidden."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            call()
    readings = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        graph.replay()
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        readings.append(begin.elapsed_time(end) / calls)
    return statistics.median(readings)


def adding(n=SMALL):
    x = torch.zeros(n, device="cuda")
    y = torch.empty_like(x)
    return lambda: torch.add(x, 1.0, out=y)


def test_a_short_kernel_is_timed_in_a_graph_and_a_cold_cache_makes_it_slower(clocks):
    call, cold, warm = adding(), clocks("cold"), clocks("warm")
    cold_ms, warm_ms = median_ms(cold, call), median_ms(warm, call)
    assert (cold.method, warm.method) == ("graph", "graph")
    assert 0.001 < warm_ms < cold_ms < 0.03
    assert cold_ms < 5 * warm_ms


def test_a_warm_short_kernel_takes_what_it_takes_in_a_long_graph(clocks):
    call = adding()
    assert median_ms(clocks("warm"), call) == pytest.approx(loop_ms(call), rel=0.05)


def test_a_kernel_longer_than_a_graph_is_for_takes_the_same_by_events(clocks):
    call, clock = adding(1 << 26), clocks("warm")
    measured = median_ms(clock, call)
    assert clock.method == "events"
    assert measured == pytest.approx(loop_ms(call, calls=20), rel=0.05)


def test_graphs_and_events_agree_where_one_takes_over_from_the_other(clocks, monkeypatch):
    call, by_graph, by_events = adding(1 << 22), clocks("cold"), clocks("cold")
    graph_ms = median_ms(by_graph, call)
    monkeypatch.setattr(gpu_clock, "SHORT_KERNEL_MS", 0.0)
    events_ms = median_ms(by_events, call)
    assert (by_graph.method, by_events.method) == ("graph", "events")
    assert graph_ms < events_ms + 0.001
    # Events also count their own steps, the gap before a kernel, and what it takes to write the flushed lines back.
    assert events_ms - graph_ms < 0.012
    assert graph_ms > 0.4 * events_ms


@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_readings_taken_in_turn_are_as_those_taken_at_once(clocks, cache):
    first, second = adding(), adding(2 * SMALL)
    clock, other = clocks(cache), clocks(cache)
    at_once = median_ms(clock, first)
    median_ms(other, second)
    in_turn = []
    for _ in range(20):
        other.take(second, 1, lambda result: None)
        in_turn.append(clock.take(first, 1, lambda result: None)[0].ms)
    assert statistics.median(in_turn) == pytest.approx(at_once, rel=0.05)


@pytest.mark.parametrize("cache", ["cold", "warm"])
@pytest.mark.parametrize("n", [SMALL, 1 << 26])
def test_a_kernel_that_works_in_place_ends_with_the_effect_of_one_call(clocks, cache, n):
    x = torch.arange(n, device="cuda", dtype=torch.float32).remainder(1000)
    expected = x + 1
    call, clock = autotune.restoring(lambda: x.add_(1), x), clocks(cache)
    measured = median_ms(clock, call)
    assert clock.method == ("graph" if n == SMALL else "events")
    call.restore()
    call()
    assert torch.equal(x, expected)
    y = x.clone()
    assert measured == pytest.approx(median_ms(clocks(cache), lambda: y.add_(1)), rel=0.3)


@pytest.mark.parametrize("trouble", ["synchronize", "item", "random"])
def test_a_call_that_cannot_be_captured_is_timed_and_cuda_is_as_healthy_as_before(clocks, trouble):
    x, add = torch.zeros(1, device="cuda"), adding()
    does = {
        "synchronize": torch.cuda.synchronize,
        "item": lambda: x.item(),
        "random": lambda: x.normal_(),
    }[trouble]

    def call():
        add()
        does()

    clock = clocks()
    assert 0.001 < median_ms(clock, call) < 1
    assert clock.method == "events"
    assert_healthy()


def test_short_work_on_another_stream_is_timed_from_idle_to_idle(clocks):
    side, add = torch.cuda.Stream(), adding()

    def call():
        with torch.cuda.stream(side):
            add()

    clock = clocks()
    assert median_ms(clock, call) > 0.001
    assert clock.method == "idle"


def test_a_call_that_returns_metrics_is_timed_by_events_and_they_are_kept(clocks):
    add, clock = adding(), clocks()
    call = lambda: add() is not None and {"tokens": 3}  # noqa: E731
    for _ in range(3):
        clock.warm_up(call)
    readings = clock.take(call, 3, lambda result: result["tokens"])
    assert [reading.kept for reading in readings] == [3] * 3
    assert clock.method == "events"


def test_what_a_captured_call_allocates_is_right_and_given_back(clocks):
    a = torch.randn(256, 256, device="cuda")
    results = []

    def call():
        results[:] = [torch.relu(a) + 1]

    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    clock = clocks("warm")
    median_ms(clock, call)
    assert clock.method == "graph"
    assert torch.equal(results[0], torch.relu(a) + 1)
    results.clear()
    clock.finish()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() - before <= 8 << 20


def test_a_captured_library_call_and_a_backward_pass_are_right(clocks):
    a = torch.randn(128, 128, device="cuda", requires_grad=True)
    out = (a * a).sum()

    def call():
        a.grad = None
        out.backward(retain_graph=True)

    clock = clocks("warm")
    median_ms(clock, call)
    torch.testing.assert_close(a.grad, 2 * a.detach())
    b = torch.randn(128, 128, device="cuda")
    clock = clocks("warm")
    median_ms(clock, lambda: torch.mm(b, b))
    assert clock.method == "graph"


def test_a_triton_kernel_is_captured(clocks):
    module = sys.modules[load(WORKLOADS / "gpu_broken.py")[0].body.__module__]
    x = torch.randn(SMALL, device="cuda")
    y = torch.zeros_like(x)
    clock = clocks()
    assert 0.001 < median_ms(clock, lambda: module.copy[(SMALL // 1024,)](x, y, SMALL, BLOCK=1024)) < 0.03
    assert clock.method == "graph"
    assert torch.equal(x, y)


def test_exactly_so_many_calls_are_run_untimed(clocks):
    count = torch.zeros((), device="cuda", dtype=torch.int64)
    call, clock = lambda: count.add_(1), clocks("warm")
    median_ms(clock, call, count=3)
    assert clock.method == "graph"
    count.zero_()
    clock.run(call, 1000)
    assert count.item() == 1000


def test_energy_of_a_call_is_a_share_of_what_the_board_may_draw(clocks, device):
    if energy_j(device) is None:
        pytest.skip("the device does not tell its energy")
    a = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    call, clock = lambda: torch.mm(a, a), clocks("warm")
    median_ms(clock, call)
    joules = energy_per_call(call, clock, device, cap_s=1.0).median
    started, calls = time.perf_counter(), 2000
    clock.run(call, calls)  # as under the load that the energy was measured with, which lowers the clocks
    each_s = (time.perf_counter() - started) / calls
    assert 50 < joules / each_s < 2 * (device.power_limit_w or 1000)  # it may be exceeded for a second
