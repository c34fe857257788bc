"""What the local executor starts before the first trial of a file is there, and what becomes of it."""

import os
from dataclasses import replace

import pytest

from autotune.device import cpu_device
from autotune.errors import DeviceError
from autotune.executor import ExecutorOptions
from autotune.executors import admission, local, proc
from autotune.executors.local import LocalExecutor
from autotune.measurement import Measurement
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import find, load
from tests.waiting import eventually

CPU = replace(cpu_device(), shared_memory_per_block_bytes=1000)
SOURCE = """
import os
from pathlib import Path
import autotune
from autotune import SearchSpace, choice
from autotune.workload import Binary

Path(__file__).with_name(f"loaded-{os.getpid()}").touch()
SPACE = SearchSpace(n=choice(*range(9)))

def compiled(problem, config, device):
    return Binary(digest=f"{os.getppid()}-{config.n}")

@autotune.workload(space=SPACE, gpus=0, compile=compiled)
def first(problem, config):
    yield lambda: {"pid": os.getpid(), "text": 1}

@autotune.workload(space=SPACE, gpus=0, version="mine")
def second(problem, config):
    yield lambda: {"pid": os.getpid()}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "expected.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture
def make(monkeypatch):
    made = []

    def executor(*devices, compile_workers=None, **options):
        monkeypatch.setattr(local, "devices", lambda: list(devices or [CPU]))
        made.append(LocalExecutor(ExecutorOptions(**options), compile_workers=compile_workers))
        return made[-1]

    yield executor
    for one in made:
        one.close()
    assert not processes()


def processes():
    return {p.pid for p in proc.members(os.getpid()) if p.parent == os.getpid() and p.session == p.pid}


def loaders(file):
    """The processes that have loaded it, this one left out."""
    return {int(path.name.partition("-")[2]) for path in file.parent.glob("loaded-*")} - {os.getpid()}


def asked(file, name="first", n=0, sku=CPU.sku):
    reference = find(load(file), name).reference
    return Trial(
        workload=reference, problem=Problem(), config=Config(n=n), sku=sku, effort=Effort.QUICK, timeout_s=20.0
    )


def measurer(executor, *args, **kwargs):
    outcome = executor.submit(asked(*args, **kwargs)).result(30)
    assert isinstance(outcome, Measurement), outcome
    return outcome.medians["pid"]


def test_the_process_that_measures_has_loaded_the_file_before_there_is_a_trial(make, file):
    executor = make()
    executor.expect(file)
    assert eventually(lambda: loaders(file))
    assert {measurer(executor, file)} == loaders(file) == processes()


def test_all_that_a_file_declares_is_measured_there_also_where_it_names_its_version(make, file):
    executor = make()
    executor.expect(file)
    assert eventually(lambda: loaders(file))
    for name in ("second", "second"):
        assert {measurer(executor, file, name)} == loaders(file) == processes()
    other = make()
    other.expect(file)
    assert measurer(other, file, "first") == measurer(other, file, "second")


def test_the_compile_server_is_there_before_the_first_trial_and_compiles_it(make, file):
    executor = make(compile_workers=1)
    executor.expect(file)
    assert eventually(lambda: len(processes()) == 2)
    started = processes()
    assert measurer(executor, file) in started
    assert executor.slots(CPU.sku) > 2  # it is known to compile ahead
    assert processes() == started == loaders(file)


def test_another_file_gets_processes_of_its_own(make, file, tmp_path):
    executor = make(compile_workers=1)
    executor.expect(file)
    assert eventually(lambda: len(processes()) == 2)
    expected, other = processes(), tmp_path / "other.py"
    other.write_text(SOURCE)
    assert measurer(executor, other) not in expected
    assert eventually(lambda: len(processes() - expected) == 2 == len(processes()))


def test_a_file_that_is_edited_meanwhile_is_measured_as_it_is_now(make, file):
    executor = make(compile_workers=1)
    executor.expect(file)
    assert eventually(lambda: loaders(file))
    file.write_text(SOURCE.replace('"text": 1', '"text": 2'))
    assert executor.submit(asked(file)).result(30).medians["text"] == 2
    assert eventually(lambda: len(processes()) == 2)


@pytest.mark.parametrize(
    "broken", ["def f(:", "raise LookupError('no')", "raise SystemExit(3)", "raise KeyboardInterrupt", "x = 1\0"]
)
def test_a_broken_file_costs_the_next_one_nothing(make, file, tmp_path, broken):
    executor, other = make(compile_workers=1), tmp_path / "broken.py"
    other.write_text(broken)
    executor.expect(other)
    assert measurer(executor, file)


def test_a_file_that_ends_its_process_fails_as_it_does_unexpected(make, file):
    executor, trial = make(compile_workers=1), asked(file)
    mine = f"if os.getpid() != {os.getpid()}: os._exit(3)\n"
    file.write_text(SOURCE.replace("SPACE =", f"{mine}SPACE ="))
    executor.expect(file)
    assert eventually(lambda: loaders(file))
    failure = executor.submit(replace(trial, workload=find(load(file), "first").reference)).result(30)
    assert failure.phase == "load"
    assert "exit code 3" in failure.message


@pytest.mark.parametrize("name", ["nowhere.py", ".", "nowhere/expected.py"])
def test_what_is_no_file_starts_nothing(make, file, name):
    executor = make(compile_workers=1)
    executor.expect(file.parent / name)
    assert not processes()
    assert measurer(executor, file)


def test_a_file_that_cannot_be_read_is_the_loaders_to_tell(make, file, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    executor = make()
    monkeypatch.setattr(local, "source_version", refused)
    executor.expect(file)
    assert not processes()


def test_what_comes_to_nothing_leaves_no_process_no_thread_and_no_descriptor(make, file):
    before = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    executor = make(compile_workers=1)
    for _ in range(3):
        executor.expect(file)
    assert eventually(lambda: len(processes()) == 2)
    executor.close()
    assert not processes()
    assert eventually(lambda: (len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))) == before)


def test_a_closed_executor_starts_nothing(make, file):
    executor = make(compile_workers=1)
    executor.close()
    executor.expect(file)
    assert not processes()


def test_where_trials_would_be_refused_nothing_is_started_and_submit_says_why(make, file, monkeypatch):
    executor = make(compile_workers=1)
    with monkeypatch.context() as patched:
        patched.setenv("AUTOTUNE_LOCK_FOLDER", "/proc/no-such-folder")
        executor.expect(file)
        assert not processes()
        with pytest.raises(DeviceError, match="--lock-folder"):
            executor.submit(asked(file))
    assert measurer(executor, file)


class TestOnAHostWithGpus:
    """Pretended ones, of two SKUs."""

    @pytest.fixture
    def gpus(self, monkeypatch):
        gpus = [replace(CPU, kind="gpu", index=i, uuid=f"GPU-{i}", sku=sku) for i, sku in enumerate(("a", "a", "b"))]
        monkeypatch.setattr(admission, "gpu_devices", lambda: gpus)
        return gpus

    def test_every_gpu_has_a_process_and_the_cpu_none(self, make, file, gpus, monkeypatch):
        monkeypatch.setattr(admission, "tenants", lambda device: [])
        executor = make(*gpus, CPU, compile_workers=0)
        executor.expect(file)
        assert eventually(lambda: len(loaders(file)) == 3)
        assert loaders(file) == processes()
        assert measurer(executor, file) not in loaders(file) or len(processes()) == 4

    def test_who_else_is_on_a_gpu_is_asked_before_anything_of_ours_is(self, make, file, gpus, monkeypatch):
        present = []
        monkeypatch.setattr(admission, "tenants", lambda device: present.append(processes()) or [])
        executor = make(gpus[2], compile_workers=1)
        executor.expect(file)
        assert eventually(lambda: len(processes()) == 2)
        executor.submit(asked(file, sku="b")).cancel()
        assert present
        assert not set().union(*present)
