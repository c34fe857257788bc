"""Compiling ahead of a real GPU: its process finds everything in Triton's cache, and is never kept waiting by it."""

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from autotune.executor import ExecutorOptions
from autotune.executors.local import LocalExecutor
from autotune.measurement import FailureKind, Measurement
from autotune.occupancy import MeteredExecutor
from autotune.trial import Effort, Trial
from autotune.values import Config
from autotune.workload import find, load

WORKLOADS = Path(__file__).parents[1] / "workloads"
SHIPPED = Path(__file__).parents[2] / "workloads"
CONFIGS = 30


@pytest.fixture
def executor(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    monkeypatch.setenv("AUTOTUNE_TEST_LOG", str(tmp_path / "log"))
    with LocalExecutor(ExecutorOptions(device="gpu:0")) as running:
        yield MeteredExecutor(running)


def trials(workload, executor, configs):
    device = executor.devices()[0]
    return [
        Trial(
            workload=workload.reference,
            problem=workload.problems[0],
            config=config,
            sku=device.sku,
            gpus=1,
            timeout_s=workload.timeout_s,
            effort=Effort.QUICK,
        )
        for config in configs
    ]


def sampled(workload, executor):
    valid, rng = workload.space.bind(workload.problems[0], executor.devices()[0]), random.Random(0)
    found = {valid.default}
    while len(found) < min(CONFIGS, valid.size):
        found.add(valid.sample(rng))
    return sorted(found, key=lambda config: config.text)


def test_the_measuring_process_finds_every_kernel_that_was_compiled_ahead(executor, tmp_path):
    workload = find(load(WORKLOADS / "logged_matmul.py"), "logged_matmul")
    futures = [executor.submit(trial) for trial in trials(workload, executor, sampled(workload, executor))]
    outcomes = [future.result(300) for future in futures]
    measured = [outcome for outcome in outcomes if isinstance(outcome, Measurement)]
    assert len(measured) >= CONFIGS * 0.8, outcomes
    pids = {int(outcome.medians["pid"]) for outcome in measured}
    log = Counter(tuple(line.split()) for line in (tmp_path / "log").read_text().splitlines())
    own = {what: sum(log[str(pid), what] for pid in pids) for what in ("found", "compiled")}
    assert own["compiled"] == 0, log
    assert own["found"] >= len([outcome for outcome in measured if outcome.same_binary_as is None])
    assert sum(count for (_, what), count in log.items() if what == "compiled") >= len(measured) / 2


def test_it_knows_after_the_first_that_more_can_be_held_and_the_device_is_kept_busy(executor):
    [workload] = load(SHIPPED / "triton_matmul.py")
    [device] = executor.devices()
    asked = trials(workload, executor, sampled(workload, executor))
    assert executor.slots(device.sku) == 2
    waiting, futures, started = list(asked), set(), time.monotonic()
    while waiting or futures:
        while waiting and len(futures) < executor.slots(device.sku):
            futures.add(executor.submit(waiting.pop()))
        futures = {future for future in futures if not future.done()}
        time.sleep(0.001)
        assert time.monotonic() - started < 300
    if (os.cpu_count() or 1) >= 4:
        assert executor.slots(device.sku) > 3
    found = executor.occupancy(device.sku)
    print(found.text)
    assert found.idle_share < 0.5


@pytest.mark.parametrize(("mode", "kind"), [("does_not_compile", "compile"), ("shared_memory", "invalid")])
def test_what_the_compiler_refuses_costs_the_device_nothing(executor, mode, kind):
    workload = find(load(WORKLOADS / "gpu_broken.py"), "gpu_broken")
    [asked] = trials(workload, executor, [Config(mode=mode)])
    outcome = executor.submit(asked).result(120)
    assert outcome.kind == FailureKind(kind)
    assert outcome.phase == "compile"
    assert list(outcome.phase_s) == ["compile"]


def test_what_is_compiled_ahead_is_right_and_measured(executor):
    [workload] = load(SHIPPED / "cuda_stencil.py")
    valid = workload.space.bind(workload.problems[0], executor.devices()[0])
    [asked] = trials(workload, executor, [valid.default])
    outcome = executor.submit(asked).result(120)
    assert isinstance(outcome, Measurement), outcome
    assert outcome.phase_s["compile"] < 1.0  # found in cuda-core's cache
