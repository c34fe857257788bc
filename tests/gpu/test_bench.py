"""Timing on a real GPU, held against what is known of the device and of torch's own events."""

import statistics
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autotune.bench import perform, perform_round
from autotune.device import gpu_devices
from autotune.measurement import Measurement, paired_ratio
from autotune.objective import ENERGY_J, minimize
from autotune.round import Round
from autotune.space import SearchSpace, choice
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import Workload, find, load

WORKLOADS = Path(__file__).parents[1] / "workloads"


@pytest.fixture(scope="module")
def device():
    return gpu_devices()[0]


def asked(workload, device, effort=Effort.FULL, **config):
    return Trial(
        workload=workload.reference, problem=Problem(), config=Config(config), sku=device.sku, gpus=1, effort=effort
    )


def run(workload, device, effort=Effort.FULL, rival=None, **config):
    trial = replace(asked(workload, device, effort, **config), rival=rival)
    return perform(workload, trial, device, lambda _: None)


def run_round(workload, device, *configs, passes=20):
    trials = tuple(asked(workload, device, **config) for config in configs)
    return perform_round(workload, Round(trials=trials, number=1, passes=passes), device, lambda _: None)


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


def test_a_trial_of_a_short_kernel_takes_little_longer_than_its_preparation(device):
    run(MATMUL, device, x=1)
    times = [run(MATMUL, device, x=1).phase_s for _ in range(5)]
    assert statistics.median(phase_s["warm_up"] + phase_s["measure"] for phase_s in times) < 0.06


def test_what_is_certainly_worse_than_the_rival_is_measured_no_further(device):
    best = run(MATMUL, device, x=1).medians["latency_ms"]
    assert len(run(MATMUL, device, rival=best / 2, x=1).metrics["latency_ms"].values) <= 3


def test_equal_configurations_are_equal_in_pairs_also_while_clocks_fall(device):
    first, second = run_round(MATMUL, device, {"x": 1}, {"x": 2})
    ratio = paired_ratio(first.metrics["latency_ms"].values, second.metrics["latency_ms"].values)
    assert ratio.median == pytest.approx(1.0, abs=0.01)
    assert len(ratio.values) >= 3


def test_bodies_that_do_not_fit_together_are_measured_by_turns(device):
    def large(problem, config):
        held = torch.empty(int(0.6 * device.memory_bytes), dtype=torch.int8, device="cuda")
        x = torch.ones(1 << 22, device="cuda")
        yield lambda: x.add_(0)
        assert held.numel()

    outcomes = run_round(replace(MATMUL, name="large", body=large), device, {"x": 1}, {"x": 2}, passes=6)
    assert all(isinstance(one, Measurement) for one in outcomes), outcomes
    assert {len(one.metrics["latency_ms"].values) for one in outcomes} == {6}


def test_energy_is_an_objective_of_trials_and_of_rounds(device):
    frugal = replace(MATMUL, objective=minimize(ENERGY_J))
    alone = run(frugal, device, x=1)
    assert isinstance(alone, Measurement), alone
    assert 0.001 < alone.medians[ENERGY_J] < 1.0  # some 700 W for 0.2 ms
    together = run_round(frugal, device, {"x": 1}, {"x": 2}, passes=3)
    for one in together:
        assert len(one.metrics[ENERGY_J].values) == 3
        assert one.medians[ENERGY_J] == pytest.approx(alone.medians[ENERGY_J], rel=0.3)
