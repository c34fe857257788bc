"""The local executor against workloads that do everything wrong: each fails as it should, and the next is well."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import CancelledError, wait
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.device import cpu_device
from autotune.device.lock import exclusive
from autotune.errors import DeviceError, ExecutorError, UserError, WorkloadChanged
from autotune.executor import ExecutorOptions, load_executor
from autotune.executors import local, proc
from autotune.executors.local import LocalExecutor
from autotune.measurement import Failure, FailureKind, Measurement
from autotune.round import Round
from autotune.testing import ExecutorContract
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import find, load
from tests.waiting import eventually, processes_of

WORKLOADS = Path(__file__).parents[1] / "workloads"
ROOT = Path(__file__).parents[2]
LIMIT_BYTES = 300 << 20
CPU = ExecutorOptions(device="cpu")


@pytest.fixture(scope="module")
def executor():
    with LocalExecutor(CPU, memory_limit_bytes=LIMIT_BYTES) as running:
        yield running


def trial(executor, file, workload=None, problem=None, timeout_s=None, **config):
    found = find(load(WORKLOADS / f"{file}.py"), workload or file)
    return Trial(
        workload=found.reference,
        problem=Problem(problem or found.problems[0]),
        config=Config(config),
        sku=executor.devices()[0].sku,
        timeout_s=timeout_s or found.timeout_s,
        effort=Effort.QUICK,
        environment=found.space.environment(config),
    )


def outcome(executor, *args, **config):
    return executor.submit(trial(executor, *args, **config)).result(timeout=60)


# file, mode, kind, what the message must say, what the details must say
BROKEN = [
    ("segfault", "broken", "runtime", ["SIGSEGV", "warming up", "segfault.py:12"], ["Segmentation fault"]),
    ("hang_python", "broken", "timeout", ["killed after 1 s", "hang_python.py", "(spin)", "timeout_s"], ["spin"]),
    ("hang_native", "broken", "timeout", ["killed after 1 s", "(wait_for_ever)"], ["wait_for_ever"]),
    ("os_exit", "broken", "runtime", ["exit code 3", "os._exit"], ["the last words"]),
    ("os_exit", "quiet", "runtime", ["exit code 0", "preparing"], []),
    ("os_exit", "sys_exit", "runtime", ["sys.exit('enough')", "os_exit.py:"], []),
    ("allocate", "broken", "out_of_memory", ["of host memory", "0.29 GiB", "space.where"], []),
    ("allocate", "child", "out_of_memory", ["of host memory", "preparing"], []),
    ("allocate", "refused", "out_of_memory", ["MemoryError", "allocate.py:"], []),
    ("chatty", "dies", "runtime", ["it printed too much"], []),
    ("protocol", "twice", "runtime", ["yielded twice", "yield one callable"], []),
    ("protocol", "never", "runtime", ["without a yield"], []),
    ("protocol", "number", "runtime", ["yielded a int", "lambda"], []),
    ("protocol", "raises", "runtime", ["ValueError: this cannot be prepared (protocol.py:"], ["in protocol"]),
    ("protocol", "raises_in_call", "runtime", ["KeyError: 'missing'"], []),
    ("protocol", "asserts_before", "runtime", ["AssertionError: the shapes differ"], []),
    ("protocol", "refuses_to_close", "runtime", ["ZeroDivisionError"], ["clean-up failed: OSError"]),
    ("wrong_result", "broken", "incorrect", ["wrong result: expected [1.0, 2.0], found [1.0, 2.5]"], []),
    ("wrong_result", "silent", "incorrect", ["wrong result: assert result == [1.0, 2.0] (wrong_result.py:"], []),
    ("wrong_result", "raises", "runtime", ["LookupError: no reference"], []),
    ("non_number", "text", "runtime", ["a str ('many') for 'tokens_per_s'", "finite number"], []),
    ("non_number", "nan", "runtime", ["nan", "'tokens_per_s'"], []),
    ("non_number", "boolean", "runtime", ["a bool (True) for 'tokens_per_s'"], []),
    ("non_number", "missing", "runtime", ["nothing for 'p99_ms'"], []),
    ("non_number", "no_mapping", "runtime", ["a float", "{'p99_ms': …, 'tokens_per_s': …}"], []),
    ("non_number", "nothing", "runtime", ["returned None"], []),
    ("non_number", "ours", "runtime", ["'latency_ms', which autotune measures itself"], []),
    ("leaves_running", "thread", "runtime", ["thread endless at leaves_running.py:", "finally"], []),
    ("leaves_running", "process", "runtime", ["sleep 100", "finally"], []),
    ("leaves_running", "thread_and_error", "runtime", ["the first thing that went wrong"], ["thread endless"]),
    ("careless", "closes_all", "runtime", ["closed descriptors that are not its own"], []),
    ("careless", "kills_itself", "lost", ["killed from outside", "preparing"], []),
    ("careless", "interrupts", "runtime", ["KeyboardInterrupt"], []),
    ("careless", "terminates", "runtime", ["SIGTERM"], []),
]


@pytest.mark.parametrize(("file", "mode", "kind", "said", "detailed"), BROKEN, ids=[f"{b[0]}-{b[1]}" for b in BROKEN])
def test_a_broken_configuration_fails_as_what_it_is_and_the_next_is_measured_as_before(
    executor, file, mode, kind, said, detailed
):
    broken = outcome(executor, file, mode=mode)
    assert isinstance(broken, Failure)
    assert broken.kind == FailureKind(kind), broken
    for words in said:
        assert words in broken.message
    for words in detailed:
        assert words in broken.details
    assert len(broken.message) < 800
    assert "autotune/bench/__init__.py" not in broken.details or "most recent call first" in broken.details
    good = outcome(executor, file, mode="good")
    assert isinstance(good, Measurement), good
    assert 2 <= good.medians["latency_ms"] < 20


HARMLESS = [
    ("chatty", "broken"),
    ("leaves_running", "ends_soon"),
    ("leaves_running", "idle_pool"),
    ("careless", "closes_descriptors"),
    ("careless", "closes_output"),
    ("careless", "changes_folder"),
    ("careless", "forks"),
]


@pytest.mark.parametrize(("file", "mode"), HARMLESS)
def test_what_harms_nobody_is_measured(executor, file, mode):
    measured = outcome(executor, file, mode=mode)
    assert isinstance(measured, Measurement), measured
    assert 2 <= measured.medians["latency_ms"] < 20
    assert isinstance(outcome(executor, "careless", "where", mode="good"), Measurement)


def test_a_file_that_cannot_be_loaded_in_the_worker_is_a_failure(executor):
    broken = outcome(executor, "import_error", broken="1")
    assert broken.kind == FailureKind.RUNTIME
    assert broken.phase == "load"
    assert "import_error.py:10" in broken.message
    assert "no such library on this host" in broken.message
    assert isinstance(outcome(executor, "import_error", broken=None), Measurement)


def test_the_phases_of_a_measurement_and_of_a_killed_trial_are_timed(executor):
    good = outcome(executor, "hang_python", mode="good")
    assert list(good.phase_s) == ["prepare", "warm_up", "measure", "verify"]
    killed = outcome(executor, "hang_python", mode="broken")
    assert list(killed.phase_s)[-1] == killed.phase == "warm_up"
    assert killed.phase_s["warm_up"] == pytest.approx(1, abs=0.5)


def a_round(trials, **asked):
    return Round(**{"trials": tuple(trials), "number": 1, "passes": 4} | asked)


def measured_round(executor, *trials, **asked):
    return executor.submit_round(a_round(trials, **asked)).result(60)


def test_a_round_is_measured_in_one_process_and_its_readings_pair(executor):
    slept = measured_round(executor, *(trial(executor, "good", "sleeping", ms=ms) for ms in (4, 1, 2)), passes=5)
    assert [round(one.medians["latency_ms"]) for one in slept] == pytest.approx([4, 1, 2], abs=1)
    assert {len(one.metrics["latency_ms"].values) for one in slept} == {5}
    assert all(set(one.phase_s) == {"prepare", "warm_up", "measure", "verify"} for one in slept)
    trials = [replace(trial(executor, "careless", "where", mode="good"), seed=seed) for seed in (0, 1)]
    pids = [one.medians["pid"] for one in measured_round(executor, *trials)]
    assert pids[0] == pids[1] == outcome(executor, "careless", "where", mode="good").medians["pid"]


@pytest.mark.parametrize(
    ("file", "kind", "said"),
    [
        ("segfault", "runtime", "SIGSEGV while warming up"),
        ("hang_python", "timeout", "killed after 1 s while warming up"),
        ("hang_native", "timeout", "killed after 1 s"),
        ("os_exit", "runtime", "exit code 3"),
        ("allocate", "out_of_memory", "of host memory"),
    ],
)
def test_what_ends_the_process_is_put_down_to_the_trial_whose_turn_it_was(executor, file, kind, said):
    first, broken, last = measured_round(
        executor, *(replace(trial(executor, file, mode=mode), timeout_s=1.0) for mode in ("good", "broken", "good"))
    )
    assert broken.kind == FailureKind(kind), broken
    assert said in broken.message
    assert {first.kind, last.kind} == {FailureKind.LOST}
    assert "mode=broken" in first.message
    assert said in first.message
    assert isinstance(outcome(executor, file, mode="good"), Measurement)


def test_a_round_may_take_longer_than_each_of_its_trials(executor):
    asked = [trial(executor, "good", "sleeping", timeout_s=0.6, ms=ms) for ms in (6, 8, 10)]
    rounds = measured_round(executor, *(replace(one, effort=Effort.FULL) for one in asked), passes=20)
    assert all(isinstance(one, Measurement) for one in rounds), rounds
    assert sum(one.elapsed_s for one in rounds) > 0.6


def test_trials_of_a_round_in_different_environments_are_measured_by_turns(executor, tmp_path):
    (tmp_path / "env.py").write_text(ENVIRONMENT)
    found = find(load(tmp_path / "env.py"), "reads")
    asked = [
        replace(trial(executor, "good", "sleeping", ms=1), workload=found.reference, config=Config(level=level))
        for level in ("1", "2")
    ]
    trials = [replace(one, environment={"LEVEL": one.config["level"]}) for one in asked]
    outcomes = measured_round(executor, *trials, passes=6)
    assert [one.medians["level"] for one in outcomes] == [1, 2]
    assert {len(one.metrics["latency_ms"].values) for one in outcomes} == {6}


ENVIRONMENT = """
import os, time
import autotune
from autotune import SearchSpace, choice, env

level = int(os.environ.get("LEVEL", "0"))

@autotune.workload(space=SearchSpace(level=env("LEVEL", choice("1", "2"))), gpus=0)
def reads(problem, config):
    yield lambda: time.sleep(0.001) or {"level": level}
"""


def test_a_round_that_raised_an_interrupt_blames_its_trial(executor):
    good, interrupting = measured_round(
        executor, *(trial(executor, "careless", mode=mode) for mode in ("good", "interrupts"))
    )
    assert interrupting.kind == FailureKind.RUNTIME
    assert "KeyboardInterrupt" in interrupting.message
    assert good.kind == FailureKind.LOST


def test_a_file_that_cannot_be_loaded_fails_the_whole_round(executor):
    asked = trial(executor, "import_error", broken="1")
    outcomes = measured_round(executor, asked, replace(asked, seed=1))
    assert [(one.kind, one.phase) for one in outcomes] == [(FailureKind.RUNTIME, "load")] * 2


def test_waiting_for_the_device_does_not_count_against_the_limit():
    held, release = threading.Event(), threading.Event()

    def hold():
        with exclusive(cpu_device()):
            held.set()
            release.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    try:
        with LocalExecutor(CPU) as executor:
            outcome_of = executor.submit(trial(executor, "good", "sleeping", timeout_s=0.5, ms=1))
            with pytest.raises(TimeoutError):
                outcome_of.result(1.5)
            release.set()
            measured = outcome_of.result(30)
    finally:
        release.set()
        holder.join()
    assert isinstance(measured, Measurement), measured
    assert "wait" not in measured.phase_s


def test_a_device_that_cannot_be_locked_is_for_the_user_to_mend(monkeypatch):
    monkeypatch.setenv("AUTOTUNE_LOCK_FOLDER", "/proc/no-such-folder")
    with LocalExecutor(CPU) as executor, pytest.raises(DeviceError, match="--lock-folder"):
        executor.submit(trial(executor, "good", "sleeping", ms=1)).result(30)


def test_the_clock_of_the_limit_starts_with_execution_and_not_with_submission(executor):
    futures = [executor.submit(trial(executor, "good", "sleeping", timeout_s=1.0, ms=8)) for _ in range(12)]
    assert all(isinstance(future.result(60), Measurement) for future in futures)


def test_metrics_of_the_workload_are_kept_beside_the_latency(executor):
    measured = outcome(executor, "good", "serving", batch=4)
    assert measured.medians["items_per_s"] == 2000
    assert measured.medians["p99_ms"] == 4
    assert set(measured.metrics) == {"latency_ms", "items_per_s", "p99_ms"}
    assert len(measured.metrics["p99_ms"].values) == len(measured.metrics["latency_ms"].values)


def test_latency_depends_on_the_configuration(executor):
    slept = {ms: outcome(executor, "good", "sleeping", ms=ms).medians["latency_ms"] for ms in (1, 4)}
    assert 1 <= slept[1] < slept[4]
    assert slept[4] >= 4


def test_one_worker_serves_many_trials_and_another_environment_gets_another(executor):
    def pid():
        return outcome(executor, "careless", "where", mode="good").medians["pid"]

    first = pid()
    assert pid() == first
    outcome(executor, "import_error", broken=None)
    assert pid() != first  # another file, too: modules beside two files may have equal names


def test_the_worker_imports_nothing_but_the_standard_library(executor):
    measured = outcome(executor, "careless", "where", mode="good")
    assert isinstance(measured, Measurement), measured  # it asserts so itself
    assert measured.medians["cpu_only"] == 1


def test_a_changed_file_raises_from_the_future(executor, tmp_path):
    copy = tmp_path / "changing.py"
    copy.write_text((WORKLOADS / "good.py").read_text())
    found = find(load(copy), "sleeping")
    old = trial(executor, "good", "sleeping", ms=1)
    copy.write_text(copy.read_text() + "\n# edited\n")
    asked = replace(old, workload=found.reference)
    with pytest.raises(WorkloadChanged, match="changed while its study was running"):
        executor.submit(asked).result(30)
    again = replace(old, workload=find(load(copy), "sleeping").reference)
    assert isinstance(executor.submit(again).result(30), Measurement)


def test_what_cannot_run_here_is_refused_at_submit(executor):
    good = trial(executor, "good", "sleeping", ms=1)
    with pytest.raises(DeviceError, match="no device 'h200'"):
        executor.submit(replace(good, sku="h200"))
    with pytest.raises(UserError, match="runs trials of one GPU"):
        executor.submit(replace(good, gpus=4))
    with pytest.raises(DeviceError, match="no device 'h200'"):
        executor.submit_round(a_round([replace(good, sku="h200")]))


def test_show_output_passes_the_output_on(capfd):
    with LocalExecutor(ExecutorOptions(device="cpu", show_output=True)) as executor:
        outcome(executor, "os_exit", mode="broken")
    said = capfd.readouterr()
    assert "the last words" in said.err
    assert said.out == ""


def test_without_show_output_nothing_reaches_the_terminal(executor, capfd):
    outcome(executor, "chatty", mode="broken")
    assert capfd.readouterr() == ("", "")


def test_a_worker_that_dies_between_two_trials_is_replaced_unseen(executor):
    pid = int(outcome(executor, "careless", "where", mode="good").medians["pid"])
    os.kill(pid, signal.SIGKILL)
    assert isinstance(outcome(executor, "careless", "where", mode="good"), Measurement)


def test_a_worker_killed_from_outside_loses_the_trial(executor):
    future = executor.submit(trial(executor, "hang_python", timeout_s=30, mode="broken"))
    assert eventually(lambda: len(proc.members(os.getpid())) > 0, 3)
    time.sleep(0.5)
    workers = [p.pid for p in proc.members(os.getpid()) if p.parent == os.getpid() and p.session == p.pid]
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    lost = future.result(10)
    assert lost.kind == FailureKind.LOST


@pytest.mark.parametrize("mode", ["broken", "escapes"])
def test_processes_that_a_hanging_workload_started_die_with_it(executor, tmp_path, mode):
    pids = tmp_path / "pids"
    killed = outcome(executor, "spawns_and_hangs", problem={"pids": str(pids)}, mode=mode)
    assert killed.kind == FailureKind.TIMEOUT
    assert eventually(lambda: not any(map(is_running, map(int, pids.read_text().split()))), 3)
    assert isinstance(outcome(executor, "spawns_and_hangs", mode="good"), Measurement)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_close_kills_what_runs_within_a_second_and_withdraws_what_waits():
    executor = LocalExecutor(CPU)
    running, *waiting = [executor.submit(trial(executor, "hang_native", timeout_s=60, mode="broken")) for _ in range(3)]
    assert eventually(running.running, 3)
    time.sleep(0.4)
    started = time.monotonic()
    executor.close()
    assert time.monotonic() - started < 1.0
    assert running.result(0).kind == FailureKind.LOST
    assert all(future.cancelled() for future in waiting)
    assert not wait(waiting, timeout=0).not_done
    with pytest.raises(CancelledError):
        waiting[0].result(0)
    with pytest.raises(ExecutorError, match="closed"):
        executor.submit(trial(executor, "good", "sleeping", ms=1))
    with pytest.raises(ExecutorError, match="closed"):
        executor.submit_round(a_round([trial(executor, "good", "sleeping", ms=1)]))
    executor.close()


def test_thirty_crashes_leave_no_descriptor_no_thread_and_no_process():
    def present():
        stats = [path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat")]
        children = sum(int(fields[1]) == os.getpid() for fields in stats)  # zombies as well
        return len(os.listdir("/proc/self/fd")), threading.active_count(), children

    before = present()
    with LocalExecutor(CPU, memory_limit_bytes=LIMIT_BYTES) as executor:
        cases = [("segfault", "broken"), ("os_exit", "broken"), ("careless", "terminates")]
        futures = [executor.submit(trial(executor, cases[i % 3][0], mode=cases[i % 3][1])) for i in range(30)]
        assert {future.result(60).kind for future in futures} == {FailureKind.RUNTIME}
    assert present() == before


def test_a_worker_that_cannot_start_breaks_the_executor(monkeypatch):
    with LocalExecutor(CPU) as executor:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        asked = trial(executor, "good", "sleeping", ms=1)
        with pytest.raises(ExecutorError, match="cannot start"):
            executor.submit(asked).result(10)
        with pytest.raises(ExecutorError, match="cannot start"):
            executor.submit(asked).result(10)


def test_an_environment_that_keeps_the_interpreter_from_starting_is_the_trials_failure(executor):
    asked = replace(trial(executor, "good", "sleeping", ms=1), environment={"PYTHONHOME": "/nowhere"})
    broken = executor.submit(asked).result(30)
    assert broken.kind == FailureKind.RUNTIME
    assert "starting its process" in broken.message


PARENT = """
import sys, time
from pathlib import Path
from autotune.executor import ExecutorOptions
from autotune.executors.local import LocalExecutor
from autotune.trial import Trial
import json
executor = LocalExecutor(ExecutorOptions(device="cpu"))
for asked in json.loads(sys.argv[1]):
    executor.submit(Trial.from_json(asked))
print("submitted", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("file", ["hang_python", "hang_native", "spawns_and_hangs"])
@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.6])
def test_a_killed_parent_leaves_no_worker_and_no_grandchild(executor, tmp_path, file, after_s):
    tag = f"AUTOTUNE_TEST_TAG={uuid.uuid4()}"
    problem = {"pids": str(tmp_path / "pids")} if file == "spawns_and_hangs" else None
    asked = [trial(executor, file, problem=problem, timeout_s=60, mode="broken").to_json()]
    name, _, value = tag.partition("=")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, json.dumps(asked)],
        env={**os.environ, name: value},
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    with parent:
        assert parent.stdout.readline() == b"submitted\n"
        if after_s > 0.5:
            least = 6 if file == "spawns_and_hangs" else 2
            assert eventually(lambda: len(processes_of(tag)) >= least, 3)
        time.sleep(after_s)
        parent.kill()
    assert eventually(lambda: not processes_of(tag), 3), processes_of(tag)


def test_a_parent_that_ends_without_closing_leaves_nothing_either(executor):
    tag = f"AUTOTUNE_TEST_TAG={uuid.uuid4()}"
    asked = [trial(executor, "hang_native", timeout_s=60, mode="broken").to_json()]
    script = PARENT.replace("time.sleep(60)", "time.sleep(0.4)")
    name, _, value = tag.partition("=")
    subprocess.run(
        [sys.executable, "-c", script, json.dumps(asked)], env={**os.environ, name: value}, cwd=ROOT, check=True
    )
    assert eventually(lambda: not processes_of(tag), 3)


def test_options_that_it_cannot_heed_are_refused():
    with pytest.raises(UserError, match="--executor inline"):
        LocalExecutor(ExecutorOptions(device="cpu", post_mortem=True))
    with pytest.raises(UserError, match="nothing after a colon"):
        load_executor("local:8", CPU)


def test_equal_devices_share_a_queue_and_run_side_by_side(monkeypatch):
    one = cpu_device()
    present = [one, replace(one, index=1), replace(one, index=2, sku="another")]
    monkeypatch.setattr(local, "devices", lambda: present)
    with LocalExecutor() as executor:
        assert list(executor.devices()) == present
        assert [executor.slots(sku) for sku in (one.sku, "another", "none")] == [2, 1, 0]
        futures = [executor.submit(trial(executor, "hang_python", timeout_s=1.5, mode="broken")) for _ in range(2)]
        assert eventually(lambda: all(future.running() for future in futures), 3)
        assert [future.result(10).kind for future in futures] == [FailureKind.TIMEOUT] * 2
        elsewhere = replace(trial(executor, "good", "sleeping", ms=1), sku="another")
        assert isinstance(executor.submit(elsewhere).result(10), Measurement)


def test_it_is_found_by_name():
    with load_executor("local", CPU) as found:
        assert isinstance(found, LocalExecutor)


class TestLocalExecutorKeepsTheContract(ExecutorContract):
    @pytest.fixture
    def executor(self):
        with LocalExecutor(CPU) as running:
            yield running
