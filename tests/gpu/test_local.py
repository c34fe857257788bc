"""The local executor on a real GPU: what breaks a CUDA context is told apart, and the next trial has a new one."""

import time
from pathlib import Path

import pytest

from autotune.executor import ExecutorOptions
from autotune.executors.local import LocalExecutor
from autotune.measurement import Failure, FailureKind, Measurement
from autotune.round import Round
from autotune.testing import ExecutorContract
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import find, load

WORKLOADS = Path(__file__).parents[1] / "workloads"
GPU = ExecutorOptions(device="gpu:0")


@pytest.fixture(scope="module")
def executor():
    with LocalExecutor(GPU) as running:
        yield running


def asked(executor, file, workload=None, **config):
    found = find(load(WORKLOADS / f"{file}.py"), workload or file)
    return Trial(
        workload=found.reference,
        problem=Problem(),
        config=Config(config),
        sku=executor.devices()[0].sku,
        gpus=1,
        timeout_s=found.timeout_s,
        effort=Effort.QUICK,
    )


def outcome(executor, file, workload=None, **config):
    return executor.submit(asked(executor, file, workload, **config)).result(timeout=300)


BROKEN = [
    ("out_of_memory", "out_of_memory", ["out of memory", "GiB"]),
    ("illegal_access", "runtime", ["illegal memory access"]),
    ("device_assert", "runtime", ["device-side assert"]),
    ("shared_memory", "invalid", ["bytes of shared memory"]),
    ("does_not_compile", "compile", ["no_such_operation"]),
    ("hangs", "timeout", ["killed after 8 s", "warming up"]),
    ("wrong", "incorrect", ["wrong result: Tensor-likes are not close! Mismatched elements"]),
    ("late_error", "runtime", ["device-side assert"]),
]


@pytest.mark.parametrize(("mode", "kind", "said"), BROKEN, ids=[mode for mode, *_ in BROKEN])
def test_a_broken_configuration_fails_as_what_it_is_and_the_next_is_measured(executor, mode, kind, said):
    broken = outcome(executor, "gpu_broken", mode=mode)
    assert isinstance(broken, Failure)
    assert broken.kind == FailureKind(kind), broken
    for words in said:
        assert words in broken.message
    assert isinstance(outcome(executor, "gpu_broken", mode="good"), Measurement)


@pytest.mark.parametrize(("mode", "kind"), [("illegal_access", "runtime"), ("device_assert", "runtime")])
def test_a_trial_that_breaks_the_context_takes_its_round_with_it_and_is_the_one_to_blame(executor, mode, kind):
    trials = tuple(asked(executor, "gpu_broken", mode=each) for each in ("good", mode, "good"))
    outcomes = executor.submit_round(Round(trials=trials, number=1)).result(300)
    assert [one.kind.value for one in outcomes] == ["lost", kind, "lost"]
    again = executor.submit_round(Round(trials=(trials[0], trials[2]), number=1)).result(300)
    assert all(isinstance(one, Measurement) for one in again)


def test_a_fault_costs_less_than_five_seconds(executor):
    outcome(executor, "gpu_broken", mode="good")
    for _ in range(3):
        started_s = time.monotonic()
        outcome(executor, "gpu_broken", mode="illegal_access")
        outcome(executor, "gpu_broken", mode="good")
        assert time.monotonic() - started_s < 5


@pytest.mark.parametrize(
    ("mode", "kind", "said"),
    [
        ("threads", "invalid", "1024 threads"),
        ("address", "runtime", "CUDA_ERROR_ILLEGAL_ADDRESS"),
        ("syntax", "compile", "nothing"),
    ],
)
def test_a_workload_without_torch_fails_as_what_it_is_and_is_measured(executor, mode, kind, said):
    broken = outcome(executor, "gpu_driver", mode=mode)
    assert isinstance(broken, Failure)
    assert broken.kind == FailureKind(kind), broken
    assert said in broken.message + broken.details
    good = outcome(executor, "gpu_driver", mode="good")
    assert isinstance(good, Measurement), good
    assert good.medians["latency_ms"] == pytest.approx(2.0, rel=0.1)


def test_the_cpu_is_a_device_of_its_own_that_sees_no_gpu():
    with LocalExecutor(ExecutorOptions(device="cpu")) as executor:
        measured = outcome(executor, "careless", "where", mode="good")
    assert measured.medians["cpu_only"] == 1


class TestLocalExecutorKeepsTheContractOnAGpu(ExecutorContract):
    @pytest.fixture
    def executor(self):
        with LocalExecutor(GPU) as running:
            yield running
