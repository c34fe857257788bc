"""Timing on a real GPU, held against what is known of the device and of torch's own events."""

import statistics
from pathlib import Path

import pytest
import torch

from autotune.bench import perform
from autotune.device import gpu_devices
from autotune.measurement import Measurement
from autotune.space import SearchSpace, choice
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import Workload, find, load

WORKLOADS = Path(__file__).parents[1] / "workloads"


@pytest.fixture(scope="module")
def device():
    return gpu_devices()[0]


def run(workload, device, effort=Effort.FULL, **config):
    trial = Trial(
        workload=workload.reference, problem=Problem(), config=Config(config), sku=device.sku, gpus=1, effort=effort
    )
    return perform(workload, trial, device, lambda _: None)


def declared(name):
    return find(load(WORKLOADS / "gpu_broken.py"), name)


def matmul(problem, config):
    a = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    b = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    yield lambda: torch.mm(a, b)


MATMUL = Workload(
    name="matmul",
    body=matmul,
    space=SearchSpace(x=choice(1, 2)),
    problems=(Problem(),),
    path=Path(__file__),
    version="1",
)


def test_a_matrix_product_takes_what_events_over_many_say(device):
    measured = run(MATMUL, device, x=1)
    assert isinstance(measured, Measurement), measured
    a, b = (torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    readings = []
    for _ in range(20):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(20):
            torch.mm(a, b)
        end.record()
        end.synchronize()
        readings.append(begin.elapsed_time(end) / 20)
    assert measured.medians["latency_ms"] == pytest.approx(statistics.median(readings), rel=0.2)


def test_conditions_are_read_while_the_device_is_warm(device):
    measured = run(MATMUL, device, x=1)
    assert measured.conditions.sm_clock_mhz > 500
    assert measured.conditions.power_w > 0


def test_work_on_a_stream_that_nothing_waits_for_is_timed_all_the_same(device):
    spinning = declared("spinning")
    here = {ms: run(spinning, device, ms=ms, where="current").medians["latency_ms"] for ms in (1, 5)}
    aside = {ms: run(spinning, device, ms=ms, where="side").medians["latency_ms"] for ms in (1, 5)}
    assert here[5] == pytest.approx(5 * here[1], rel=0.1)
    for ms in (1, 5):
        assert aside[ms] == pytest.approx(here[ms], rel=0.1)


def test_a_tiny_kernel_takes_microseconds_and_not_the_time_to_launch_it(device):
    latency = run(declared("adding"), device, n=1).metrics["latency_ms"]
    assert 0.001 < latency.median < 0.02


def test_each_call_finds_a_cold_cache(device):
    cold = run(declared("adding"), device, n=1 << 22).medians["latency_ms"]
    x = torch.ones(1 << 22, device="cuda")
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for event in (start, end):  # the 400 calls between them find x in the L2, which holds it twice over
        event.record()
        for _ in range(400):
            x.add_(0)
    end.synchronize()
    assert cold > 1.2 * start.elapsed_time(end) / 400


def test_scalars_on_the_device_are_read_as_metrics(device):
    measured = run(declared("adding"), device, effort=Effort.QUICK, n=1)
    assert measured.medians["first"] == 1
    assert "host" in measured.metrics


def test_a_trial_gives_its_memory_back(device):
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    run(MATMUL, device, effort=Effort.QUICK, x=1)
    after = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    assert after[0] - before[0] < 64 << 20  # cuBLAS keeps a workspace
    assert after[1] - before[1] < 128 << 20
