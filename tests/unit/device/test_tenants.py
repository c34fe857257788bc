"""Who else is on a GPU, on hosts with a library built for the purpose, and real processes to be found in /proc."""

import os
import subprocess
import sys

import pytest

from autotune.device import tenants as module
from autotune.device.occupant import occupant, printable
from autotune.device.tenants import Tenant
from autotune.executors.process import WorkerProcess

from .fake_nvidia import ask

FIRST, SECOND = "GPU-aaaaaaaa-0000-0000-0000-000000000000", "GPU-aaaabbbb-0000-0000-0000-000000000001"
SLICE = "MIG-22222222-0000-0000-0000-000000000000"
MODULE = "__import__('autotune.device.tenants', fromlist=['*'])"
GONE = 4194303
"""Above any pid that is given."""


def texts(*, host="h200", look="tenants", gpu=0, **environment):
    """What `tenants` or `newcomers` tell of a GPU in a process on that host."""
    return ask(host, f"[one.text for one in {MODULE}.{look}(device.gpu_devices()[{gpu}])]", **environment)


@pytest.fixture
def stranger():
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process.pid
        process.kill()


@pytest.fixture
def worker():
    process = WorkerProcess({}, show_output=False)
    yield process.pid
    process.kill()


def test_a_stranger_is_named_with_its_user_and_command(stranger):
    [found] = texts(FAKE_PROCESSES=f"{FIRST} {stranger} 1536;")
    assert found == f"pid {stranger} of {occupant(os.getpid()).user}: sleep 600, with 1.5 GiB"
    assert texts(gpu=1, FAKE_PROCESSES=f"{FIRST} {stranger} 1536;") == []


def test_a_process_of_another_container_is_named_by_its_number():
    [found] = texts(FAKE_PROCESSES=f"{FIRST} {GONE} -1;")
    assert found == f"pid {GONE}, which cannot be seen from here"


def test_workers_of_any_study_are_no_tenants(worker):
    assert texts(FAKE_PROCESSES=f"{FIRST} {worker} 700;") == []


def test_a_process_that_a_worker_started_is_no_tenant():
    code = "import subprocess, sys; subprocess.run(sys.argv[2:])"
    # In place of a worker: its mark in the command line, and a session of its own.
    command = [sys.executable, "-c", f"{code} # autotune.executors.worker", "x", "sh", "-c", "echo $$; sleep 600"]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True) as process:
        child = int(process.stdout.readline())
        assert texts(FAKE_PROCESSES=f"{FIRST} {child} 700;") == []
        os.killpg(process.pid, 9)


def test_this_very_process_is_no_tenant():
    mine = f"__import__('os').environ.update(FAKE_PROCESSES=f'{FIRST} {{__import__(\"os\").getpid()}} 5;')"
    assert ask("h200", f"[{mine}, len({MODULE}.tenants(device.gpu_devices()[0]))]") == [None, 0]


def test_a_slice_has_tenants_of_its_own(stranger):
    environment = {"FAKE_PROCESSES": f"{SLICE} {stranger} 5;"}
    uuids = ask("mig", "[one.uuid for one in device.gpu_devices()]")
    other = next(index for index, uuid in enumerate(uuids) if uuid.startswith("MIG-1"))
    assert len(texts(host="mig", gpu=uuids.index(SLICE), **environment)) == 1
    assert texts(host="mig", gpu=other, **environment) == []


def test_memory_that_nobody_seems_to_use_is_used_by_somebody_out_of_sight():
    [found] = texts(FAKE_USED_MIB="7372")
    assert found == "a program that cannot be seen from here, as in another container, with 7.2 GiB"
    assert texts(FAKE_USED_MIB="4") == []
    assert texts(FAKE_USED_MIB="7372", FAKE_DESKTOP=f"{FIRST} {GONE} 300;") == []


def test_beside_a_worker_of_ours_whoever_else_is_there_has_come(worker, stranger):
    both = f"{FIRST} {worker} 700;{FIRST} {GONE} 5;{FIRST} {stranger} 5;"
    assert len(texts(look="newcomers", FAKE_PROCESSES=both)) == 2
    assert texts(look="newcomers", FAKE_PROCESSES=f"{FIRST} {worker} 700;") == []


def test_where_our_own_worker_bears_another_number_nobody_is_held_for_a_newcomer():
    assert texts(look="newcomers", FAKE_PROCESSES=f"{FIRST} {GONE} 700;") == []


def test_an_old_driver_tells_who_computes_as_well(stranger):
    assert len(texts(old=True, FAKE_PROCESSES=f"{FIRST} {stranger} 5;")) == 1


def test_who_is_just_leaving_is_waited_for(monkeypatch):
    found = [[Tenant(who=occupant(1), memory_bytes=None)], [], ["too late"]]
    monkeypatch.setattr(module, "LOOK_S", 0.0)
    assert module.staying(lambda device: found.pop(0), None) == []
    monkeypatch.setattr(module, "GONE_S", 0.0)
    assert module.staying(lambda device: ["still there"], None) == ["still there"]


def test_a_command_line_cannot_steer_the_terminal():
    assert printable("\x1b[2Jpython\0-x\n", 80) == "[2Jpython -x"
    assert printable("a" * 100, 10) == "a" * 9 + "…"
