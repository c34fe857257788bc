"""The local executor with compilers ahead of its device, here the CPU: what reaches the device, what never does."""

import os
import signal
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.ahead import Compiled
from autotune.device import cpu_device
from autotune.errors import ExecutorError, WorkloadChanged
from autotune.executor import ExecutorOptions
from autotune.executors import local, pipeline, proc
from autotune.executors.local import LocalExecutor
from autotune.executors.pipeline import Pipeline
from autotune.measurement import Failure, FailureKind, Measurement, Samples
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import Binary, load
from tests.waiting import eventually

WORKLOADS = Path(__file__).parents[1] / "workloads"
DEVICE = replace(cpu_device(), shared_memory_per_block_bytes=1000)


@pytest.fixture
def executor(monkeypatch):
    monkeypatch.setattr(local, "devices", lambda: [DEVICE])
    with LocalExecutor(ExecutorOptions(), compile_workers=2) as running:
        yield running


@pytest.fixture
def trial(tmp_path):
    [workload] = load(WORKLOADS / "own_compiler.py")

    def asked(mode="good", n=0, *, seconds=0.0, **kwargs):
        return Trial(
            workload=workload.reference,
            problem=Problem(folder=str(tmp_path), seconds=seconds),
            config=Config(mode=mode, n=n),
            sku=DEVICE.sku,
            effort=Effort.QUICK,
            **{"timeout_s": 20.0, **kwargs},
        )

    return asked


def test_trials_are_compiled_in_other_processes_and_measured_in_one(executor, trial):
    measured = [future.result(30) for future in [executor.submit(trial(n=n)) for n in range(4)]]
    makers = {outcome.medians["maker"] for outcome in measured}
    [measurer] = {outcome.medians["pid"] for outcome in measured}
    assert len(makers) == 4
    assert measurer not in makers
    assert all(outcome.same_binary_as is None for outcome in measured)


def test_what_a_compiler_refuses_never_reaches_the_device(executor, trial, tmp_path):
    for mode, kind in (("refuses", FailureKind.COMPILE), ("large", FailureKind.INVALID)):
        outcome = executor.submit(trial(mode)).result(30)
        assert (outcome.kind, outcome.phase) == (kind, "compile")
    workers = [p for p in proc.members(os.getpid()) if p.parent == os.getpid() and p.session == p.pid]
    assert len(workers) == 2  # the server, and the device's process, which had nothing to do


def test_the_same_binary_is_measured_once_and_says_so(executor, trial):
    outcomes = [future.result(30) for future in [executor.submit(trial("same", n=n)) for n in range(3)]]
    [first] = [n for n, outcome in enumerate(outcomes) if outcome.same_binary_as is None]  # the compilers race
    for other in {0, 1, 2} - {first}:
        assert outcomes[other].same_binary_as == Config(mode="same", n=first)
        assert outcomes[other].metrics == outcomes[first].metrics
        assert outcomes[other].elapsed_s == 0
    later = executor.submit(trial("same", n=9)).result(30)
    assert later.metrics == outcomes[first].metrics
    again = executor.submit(trial("same", n=first)).result(30)
    assert again.same_binary_as is None
    other_inputs = executor.submit(trial("same", n=4, seed=7)).result(30)
    assert other_inputs.same_binary_as is None


def test_slots_grow_once_the_workload_is_known_to_compile_ahead(executor, trial):
    assert executor.slots(DEVICE.sku) == 2
    executor.submit(trial()).result(30)
    assert executor.slots(DEVICE.sku) == 1 + 2 + pipeline.SPARE
    assert executor.slots("none") == 0


def test_the_cpu_has_no_compilers_beside_it_unless_told_so(trial):
    with LocalExecutor(ExecutorOptions(device="cpu")) as executor:
        assert executor.slots(executor.devices()[0].sku) == 1
        outcome = executor.submit(replace(trial(), sku=executor.devices()[0].sku)).result(30)
        assert outcome.medians["maker"] == outcome.medians["pid"]
        assert list(outcome.phase_s) == ["compile", "prepare", "warm_up", "measure", "verify"]


def test_without_compilers_too_large_a_binary_is_invalid(monkeypatch, trial):
    monkeypatch.setattr(local, "devices", lambda: [DEVICE])
    with LocalExecutor(ExecutorOptions()) as executor:
        outcome = executor.submit(trial("large")).result(30)
    assert outcome.kind is FailureKind.INVALID
    assert outcome.phase == "compile"
    assert "2000 bytes of shared memory" in outcome.message


def test_a_trial_with_its_own_environment_is_compiled_where_it_is_measured(executor, trial):
    outcome = executor.submit(trial(environment={"SOME": "thing"})).result(30)
    assert outcome.medians["maker"] == outcome.medians["pid"]


def test_a_hung_compiler_and_a_killed_server_stop_nobody(executor, trial):
    hung = executor.submit(trial("hangs", timeout_s=2.0))
    assert isinstance(executor.submit(trial(n=1)).result(30), Measurement)
    assert hung.result(5).kind is FailureKind.TIMEOUT
    running = executor.submit(trial(n=2, seconds=0.4))
    busy = [p for p in proc.members(os.getpid()) if p.parent == os.getpid() and p.session == p.pid]
    assert eventually(lambda: any(len(proc.members(p.pid)) > 1 for p in busy))
    [server] = [p.pid for p in busy if len(proc.members(p.pid)) > 1]
    os.kill(server, signal.SIGKILL)
    assert isinstance(running.result(10), Measurement)  # compiled on the device
    assert isinstance(executor.submit(trial(n=3)).result(10), Measurement)


def test_a_withdrawn_trial_is_neither_compiled_nor_measured(executor, trial, tmp_path):
    futures = [executor.submit(trial(n=n, seconds=20.0)) for n in range(4)]
    assert all(future.cancel() for future in futures)
    assert isinstance(executor.submit(trial(n=9)).result(10), Measurement)
    assert [path.name for path in tmp_path.glob("good-*")] == ["good-9"]


def test_closing_withdraws_what_is_compiled_and_leaves_nothing(monkeypatch, trial):
    monkeypatch.setattr(local, "devices", lambda: [DEVICE])
    executor = LocalExecutor(ExecutorOptions(), compile_workers=2)
    futures = [executor.submit(trial("hangs", n=n)) for n in range(4)]
    assert eventually(lambda: executor.slots(DEVICE.sku) > 2)
    started = time.monotonic()
    executor.close()
    assert time.monotonic() - started < 1.5
    assert all(future.cancelled() for future in futures)
    assert not [p for p in proc.members(os.getpid()) if p.parent == os.getpid() and p.session == p.pid]
    with pytest.raises(ExecutorError, match="closed"):
        executor.submit(trial())


def test_another_workload_gets_another_server(executor, trial, tmp_path):
    assert isinstance(executor.submit(trial()).result(30), Measurement)
    copy = tmp_path / "own_compiler.py"
    copy.write_text((WORKLOADS / "own_compiler.py").read_text())
    other = replace(trial(n=5), workload=load(copy)[0].reference)
    outcome = executor.submit(other).result(30)
    assert outcome.medians["maker"] != outcome.medians["pid"]


def test_a_changed_file_raises_from_the_future_as_ever(executor, trial):
    asked = trial()
    with pytest.raises(WorkloadChanged, match="changed while its study was running"):
        executor.submit(replace(asked, workload=replace(asked.workload, version="old"))).result(30)


@pytest.fixture
def instant_pool(monkeypatch):
    """Every configuration compiles at once, and to the same binary."""

    class Pool:
        serves = True

        def __init__(self, *args, **kwargs): ...

        def submit(self, trial, cancelled):
            done = Future()
            done.set_result(Compiled(binary=Binary(digest="the same")))
            return done

        def close(self): ...

    monkeypatch.setattr(pipeline, "CompilePool", Pool)


class TestTheSameBinaryWhereTheDeviceStops:
    """One trial keeps the device busy, one is queued, and one waits for what comes of that."""

    @pytest.fixture
    def fault(self):
        return threading.Event()

    @pytest.fixture
    def executor(self, monkeypatch, instant_pool, fault):
        class Supervisor:
            def __init__(self, device, stopping, **_):
                self._stopping = stopping

            def expect(self, *_): ...

            def run(self, trial):
                while not self._stopping.is_set() and not fault.wait(0.01):
                    pass
                raise ExecutorError("broken")

            def close(self): ...

        monkeypatch.setattr(local, "devices", lambda: [DEVICE])
        monkeypatch.setattr(local, "Supervisor", Supervisor)
        return LocalExecutor(ExecutorOptions(), compile_workers=1)

    @pytest.fixture
    def futures(self, executor, trial):
        return [executor.submit(asked) for asked in (trial(seed=7), trial(n=1), trial(n=2))]

    def test_closing_withdraws_both(self, executor, futures):
        assert eventually(futures[0].running)
        closing = threading.Thread(target=executor.close, daemon=True)
        closing.start()
        closing.join(5)
        assert not closing.is_alive()
        assert [future.cancelled() for future in futures] == [False, True, True]

    def test_a_broken_device_fails_both(self, executor, futures, fault):
        assert eventually(futures[0].running)
        fault.set()
        assert all(isinstance(future.exception(5), ExecutorError) for future in futures)
        executor.close()


class TestTheSameBinaryWithoutProcesses:
    """The pipeline alone: its pool answers at once, and its device is this list."""

    @pytest.fixture
    def device(self):
        return []

    @pytest.fixture
    def submit(self, device, trial, instant_pool):
        line = Pipeline(DEVICE, 1, lambda *task: device.append(task), lambda: len(device))

        def submitted(n):
            future = Future()
            line.submit(trial(n=n), future)
            return future

        return submitted

    def test_a_failure_is_copied(self, submit, device):
        first, second = submit(1), submit(2)
        first.set_result(Failure(kind=FailureKind.INCORRECT, message="wrong", phase_s={"verify": 1.0}))
        assert second.result(0) == Failure(kind=FailureKind.INCORRECT, message="wrong")
        assert len(device) == 1

    @pytest.mark.parametrize("kind", [FailureKind.LOST, FailureKind.TIMEOUT])
    def test_what_may_be_the_moments_doing_has_one_other_measured_for_the_rest(self, submit, device, kind):
        first, second, third = submit(1), submit(2), submit(3)
        first.set_result(Failure(kind=kind, message=""))
        assert [trial.config.n for trial, _ in device] == [1, 2]
        second.set_result(Measurement(metrics={"latency_ms": Samples((1.0,))}))
        assert third.result(0).same_binary_as == Config(mode="good", n=2)
        assert len(device) == 2

    def test_a_cancelled_and_a_raising_one_have_the_next_measured(self, submit, device):
        first, second, third = submit(1), submit(2), submit(3)
        assert first.cancel()
        second.set_exception(ExecutorError("broken"))
        assert [trial.config.n for trial, _ in device] == [1, 2, 3]
        assert not third.done()

    def test_a_withdrawn_second_stays_withdrawn(self, submit):
        first, second = submit(1), submit(2)
        assert second.cancel()
        first.set_result(Measurement(metrics={"latency_ms": Samples((1.0,))}))
        assert second.cancelled()

    def test_what_goes_wrong_on_the_way_is_told_to_who_waits(self, trial, instant_pool):
        def broken(*_):
            raise ExecutorError("no device takes it")

        future = Future()
        Pipeline(DEVICE, 1, broken, lambda: 0).submit(trial(n=1), future)
        assert str(future.exception(0)) == "no device takes it"
