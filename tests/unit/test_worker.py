"""Workers end with their parent also where the kernel refuses to see to it; test_local.py has the rest."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.waiting import eventually, processes_of

ROOT = Path(__file__).parents[2]

# Has the kernel answer fcntl(F_SETSIG) or fcntl(F_SETOWN) with an error for this process and all that it starts; error
# 0 is a call that does nothing and says that it did. The filter is one of seccomp(2), in the layout of bpf.h.
REFUSE = """
import ctypes, errno, fcntl, os, struct, sys
NUMBER = {"x86_64": 72, "aarch64": 25}[os.uname().machine]
LOAD, JUMP_EQUAL, RETURN, ALLOW, ERRNO = 0x20, 0x15, 0x06, 0x7FFF0000, 0x50000
def refuse(command, error):
    code = [(LOAD, 0, 0, 0), (JUMP_EQUAL, 0, 3, NUMBER), (LOAD, 0, 0, 24), (JUMP_EQUAL, 0, 1, command),
            (RETURN, 0, 0, ERRNO | error), (RETURN, 0, 0, ALLOW)]
    filter = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(filter)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program):
        sys.exit(77)
refuse(getattr(fcntl, sys.argv[1]), int(sys.argv[2]))
"""
NO_FILTER = 77

PARENT = (
    REFUSE
    + """
import time
from pathlib import Path
from autotune.device import cpu_device
from autotune.executor import ExecutorOptions
from autotune.executors.local import LocalExecutor
from autotune.measurement import Measurement
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import find, load
found = find(load(Path(sys.argv[3])), "starts_and")
executor = LocalExecutor(ExecutorOptions(device="cpu"))
def run(mode):
    return executor.submit(Trial(
        workload=found.reference, problem=Problem(), config=Config(mode=mode), sku=cpu_device().sku, timeout_s=60,
        effort=Effort.QUICK, environment={},
    ))
if sys.argv[4] == "idles":
    for _ in range(3):
        outcome = run("idles").result(30)
        assert isinstance(outcome, Measurement), outcome
    print("ready", flush=True)
elif sys.argv[4] == "closes":
    run("idles").result(30)
    executor.close()
    print("ready", flush=True)
else:
    run(sys.argv[4])  # the workload says when it is ready
time.sleep(60)
"""
)

WORKLOAD = """
import ctypes, os, subprocess, time
from pathlib import Path
import autotune
from autotune import SearchSpace, choice

libc = ctypes.PyDLL(None)  # it keeps the interpreter's lock
space = SearchSpace(mode=choice("idles", "computes", "hangs"))

@autotune.workload(space=space, gpus=0)
def starts_and(problem, config):
    subprocess.run(["sh", "-c", "sleep 1000 & sleep 1000 &"])
    if config.mode != "idles":
        Path(os.environ["READY"]).touch()
    while config.mode == "computes":
        try:
            sum(range(1000))
        except BaseException:
            continue
    while config.mode == "hangs":
        libc.pause()
    yield lambda: time.sleep(0.002)
"""

REFUSALS = [("F_SETSIG", 22), ("F_SETSIG", 38), ("F_SETOWN", 1), ("F_SETSIG", 0)]  # EINVAL, ENOSYS, EPERM; nothing done


@pytest.fixture
def refused(tmp_path):
    """Starts a study's process for which the kernel refuses a command, and waits until its worker is in that mode."""
    tag, ready, started = f"AUTOTUNE_TEST_TAG={uuid.uuid4()}", tmp_path / "ready", []
    (tmp_path / "starts.py").write_text(WORKLOAD)

    def start(mode, command, error):
        name, _, value = tag.partition("=")
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, command, str(error), str(tmp_path / "starts.py"), mode],
            env={**os.environ, name: value, "READY": str(ready)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        started.append(parent)
        if mode in ("idles", "closes"):
            assert parent.stdout.readline() == b"ready\n" or parent.wait() == NO_FILTER
        else:
            assert eventually(lambda: ready.exists() or parent.poll() == NO_FILTER)
        if parent.poll() == NO_FILTER:
            pytest.skip("no seccomp filter can be set here")
        return parent, lambda: processes_of(tag)

    yield start
    for parent in started:
        with parent:
            parent.kill()
    for pid in processes_of(tag):
        os.kill(pid, signal.SIGKILL)


def guards(commands):
    return [command for command in commands.values() if "killpg" in command]


@pytest.mark.parametrize("mode", ["idles", "computes", "hangs"])
@pytest.mark.parametrize(("command", "error"), REFUSALS)
def test_where_the_kernel_refuses_to_signal_a_killed_parent_leaves_nothing(refused, mode, command, error):
    parent, running = refused(mode, command, error)
    assert len(guards(running())) == 1
    assert eventually(lambda: sum("sleep 1000" in command for command in running().values()) >= 2)
    parent.kill()
    assert eventually(lambda: not running(), 3), running()


def test_a_guard_ends_with_its_worker(refused):
    parent, running = refused("closes", "F_SETSIG", 22)
    assert eventually(lambda: list(running()) == [parent.pid], 3), running()


def test_a_guard_outlives_what_a_workload_may_send_to_its_group(refused):
    parent, running = refused("hangs", "F_SETSIG", 22)
    (guard,) = (pid for pid, command in running().items() if "killpg" in command)
    for sent in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(guard, sent)
    parent.kill()
    assert eventually(lambda: not running(), 3), running()


def test_no_guard_is_started_where_the_kernel_signals(refused):
    parent, running = refused("hangs", "F_GETOWN", 22)  # a command that nobody gives
    assert not guards(running())
    parent.kill()
    assert eventually(lambda: not running(), 3), running()
