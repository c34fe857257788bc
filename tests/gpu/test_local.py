"""The local executor on a real GPU: what breaks a CUDA context is told apart, and the next trial has a new one."""

from pathlib import Path

import pytest

from autotune.executor import ExecutorOptions
from autotune.executors.local import LocalExecutor
from autotune.measurement import Failure, FailureKind, Measurement
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


def outcome(executor, file, workload=None, **config):
    found = find(load(WORKLOADS / f"{file}.py"), workload or file)
    trial = Trial(
        workload=found.reference,
        problem=Problem(),
        config=Config(config),
        sku=executor.devices()[0].sku,
        gpus=1,
        timeout_s=found.timeout_s,
        effort=Effort.QUICK,
    )
    return executor.submit(trial).result(timeout=300)


BROKEN = [
    ("out_of_memory", "out_of_memory", ["out of memory", "GiB"]),
    ("illegal_access", "runtime", ["illegal memory access"]),
    ("device_assert", "runtime", ["device-side assert"]),
    ("shared_memory", "invalid", ["Required:", "Hardware limit:"]),
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
