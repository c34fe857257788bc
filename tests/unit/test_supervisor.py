"""What a fault costs a GPU's supervisor: its next process waits already, with the workload's file loaded."""

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.device import cpu_device
from autotune.errors import ExecutorError
from autotune.executors import proc
from autotune.executors.supervisor import Supervisor
from autotune.measurement import FailureKind
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import find, load

WORKLOADS = Path(__file__).parents[1] / "workloads"
GPU = replace(cpu_device(), kind="gpu", uuid="GPU-made-up")  # enough for trials that end before they are timed


@pytest.fixture
def supervise():
    started = []

    def supervisor(device):
        started.append(Supervisor(device, threading.Event(), show_output=False, memory_limit_bytes=None))
        return started[-1]

    yield supervisor
    for one in started:
        one.close()


def trial(mode):
    found = find(load(WORKLOADS / "os_exit.py"), "os_exit")
    return Trial(
        workload=found.reference, problem=Problem(), config=Config(mode=mode), sku=GPU.sku, effort=Effort.QUICK
    )


def pid(supervisor):
    return supervisor._worker.pid


def test_after_a_fault_the_next_process_is_there_before_the_next_trial(supervise):
    gpu = supervise(GPU)
    assert gpu.run(trial("quiet")).kind is FailureKind.RUNTIME
    second = pid(gpu)
    assert gpu._spare is None  # where nothing fails, no second process is kept
    assert "sys.exit" in gpu.run(trial("sys_exit")).message
    assert pid(gpu) == second


def test_after_the_first_fault_a_spare_process_stands_by(supervise):
    gpu = supervise(GPU)
    gpu.run(trial("quiet"))
    gpu.run(trial("sys_exit"))
    spare = gpu._spare[1].pid
    gpu.run(trial("quiet"))
    assert pid(gpu) == spare
    assert "sys.exit" in gpu.run(trial("sys_exit")).message
    assert pid(gpu) == spare != gpu._spare[1].pid
    pids = [pid(gpu), gpu._spare[1].pid]
    gpu.close()
    assert not any(map(proc.resident_bytes, pids))


def test_a_spare_process_that_cannot_serve_is_replaced_unseen(supervise):
    gpu = supervise(GPU)
    gpu.run(trial("quiet"))
    gpu.run(trial("sys_exit"))
    spare = gpu._spare[1]
    elsewhere = replace(trial("sys_exit"), environment={"ALGO": "ring"})
    assert "sys.exit" in gpu.run(elsewhere).message
    assert not proc.resident_bytes(spare.pid)
    os.kill(gpu._spare[1].pid, signal.SIGKILL)
    gpu.run(replace(trial("quiet"), environment={"ALGO": "ring"}))
    assert "sys.exit" in gpu.run(elsewhere).message


def test_on_the_cpu_nothing_is_started_that_could_disturb_a_measurement(supervise):
    cpu = supervise(cpu_device())
    cpu.run(trial("quiet"))
    assert cpu._worker is None
    cpu.run(trial("sys_exit"))
    assert cpu._spare is None


def test_a_process_that_cannot_be_started_ahead_costs_no_outcome(supervise, monkeypatch):
    gpu = supervise(GPU)

    def refuse(trial):
        raise ExecutorError("no process can be started")

    gpu.run(trial("sys_exit"))
    monkeypatch.setattr(gpu, "_started", refuse)
    assert gpu.run(trial("quiet")).kind is FailureKind.RUNTIME
    with pytest.raises(ExecutorError, match="no process"):
        gpu.run(trial("quiet"))
