"""The table of processes and the guard of host memory, on real processes and in a real control group."""

import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from autotune.executors import proc
from autotune.executors.memory_guard import MemoryGuard

ROOT = Path(__file__).parents[2]
GREEDY = "import sys, time; kept = b'x' * (64 << 20); print('ready', flush=True); time.sleep(60)"


@pytest.fixture
def leader():
    """A process in a session of its own, which holds memory in a child that has left the session."""
    script = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True,"
        " stdout=subprocess.PIPE); print(child.stdout.readline(), child.pid, flush=True); child.wait()"
    )
    command = [sys.executable, "-c", script, GREEDY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        child = int(process.stdout.readline().split()[-1])
        yield process.pid, child
        os.kill(child, 9)
        process.kill()


def test_members_are_the_session_and_all_descendants(leader):
    pid, child = leader
    found = {process.pid: process for process in proc.members(pid)}
    assert set(found) == {pid, child}
    assert found[child].resident_bytes > 64 << 20
    assert proc.resident_bytes(pid) == pytest.approx(found[pid].resident_bytes, rel=0.1)
    assert proc.resident_bytes(2**22 + 1) == 0


def test_what_is_available_is_less_than_what_is_there():
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0 < proc.available_bytes() < total
    assert proc.oom_kills() >= 0


def test_the_guard_counts_what_children_hold_and_tells_the_numbers(leader):
    pid, _ = leader
    assert MemoryGuard(pid, None).objection() is None
    assert MemoryGuard(pid, 200 << 20).objection() is None
    objection = MemoryGuard(pid, 60 << 20).objection()
    assert "0.06 GiB is all that it may take" in objection


def test_the_guard_looks_no_more_often_than_it_should(leader):
    guard = MemoryGuard(leader[0], 60 << 20)
    assert guard.objection()
    assert guard.objection() is None
    time.sleep(0.06)
    assert guard.objection()


@pytest.fixture
def control_group():
    """A control group of 400 MiB, where this user may make one."""
    version_1, version_2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    mount, limit = (version_1, "memory.limit_in_bytes") if version_1.is_dir() else (version_2, "memory.max")
    group = mount / f"autotune-test-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
        (group / limit).write_text(str(400 << 20))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield group
    for _ in range(50):
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.1)


IN_GROUP = """
import os, sys, json
from pathlib import Path
(Path(sys.argv[1]) / "cgroup.procs").write_text(str(os.getpid()))
from autotune.executor import ExecutorOptions
from autotune.executors import memory_guard, supervisor
from autotune.executors.local import LocalExecutor
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import load
if sys.argv[3] == "blind":
    memory_guard.MemoryGuard.objection = lambda self: None
memory_guard.LOOK_S = supervisor.LOOK_S = 0.005  # the group is so small that it is filled between two usual looks
workload = load(Path(sys.argv[2]))[0]
with LocalExecutor(ExecutorOptions(device="cpu")) as executor:
    for mode in ("broken", "good"):
        asked = dict(workload=workload.reference, problem=Problem(), config=Config(mode=mode), effort=Effort.QUICK)
        trial = Trial(sku=executor.devices()[0].sku, **asked)
        print(json.dumps(executor.submit(trial).result(60).to_json()))
"""


@pytest.mark.parametrize(
    ("guard", "said"), [("watching", "is all that it may take"), ("blind", "the kernel killed it")]
)
def test_a_real_limit_is_kept_by_the_guard_and_a_kill_by_the_kernel_is_understood(control_group, guard, said):
    workload = ROOT / "tests/workloads/allocate.py"
    command = [sys.executable, "-c", IN_GROUP, str(control_group), str(workload), guard]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    broken, good = map(json.loads, done.stdout.splitlines())
    assert broken["failure"] == "out_of_memory"
    assert said in broken["message"]
    assert "metrics" in good
