import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import autotune
from autotune.device import Device, cpu_device, lock
from autotune.device.lock import check, exclusive
from autotune.device.occupant import occupant
from autotune.errors import DeviceError
from tests.unit.disks import NOBODY, as_another_user, shared_folder

PATIENCE_S = 30

HOLD = """
with exclusive(cpu_device(), lambda who: say("waits for " + who)):
    say("holds")
    input()
say("let go")
"""
FORK_AND_HOLD = """
with exclusive(cpu_device()):
    child = os.fork()
if child == 0:  # it has left the block, as a workload's child does that was never meant to
    os.setsid()
    say(f"child {os.getpid()}")
    while True:
        signal.pause()
"""
TAKE_TURNS = """
import fcntl
log = os.open(sys.argv[2], os.O_RDWR | os.O_APPEND)
queue = os.open(sys.argv[3], os.O_RDWR)

def the_other_waits():
    try:
        fcntl.lockf(queue, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    fcntl.lockf(queue, fcntl.LOCK_UN)
    return False

for turn in range(10):
    with exclusive(cpu_device()):
        os.write(log, sys.argv[1].encode())
        while not the_other_waits() and b"." not in os.pread(log, 1000, 0):
            time.sleep(0.001)
os.write(log, b".")
"""


class Started:
    """A process that talks by lines."""

    def __init__(self, code, *arguments):
        say = "import os, signal, sys, time\nfrom autotune.device import cpu_device\n"
        say += "from autotune.device.lock import exclusive\ndef say(what): print(what, flush=True)\n"
        self.process = subprocess.Popen(
            [sys.executable, "-c", say + code, *map(str, arguments)],
            cwd=Path(autotune.__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self.pid = self.process.pid

    def says(self):
        assert select.select([self.process.stdout], [], [], PATIENCE_S)[0], "it says nothing"
        return self.process.stdout.readline().decode().strip()

    def end(self):
        """Let it go on, and wait for its end."""
        self.process.stdin.write(b"\n")
        assert self.says() == "let go"
        return self.process.wait(PATIENCE_S)

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def start():
    with contextlib.ExitStack() as stack:

        def started(code, *arguments):
            one = Started(code, *arguments)
            stack.enter_context(one.process)
            stack.callback(one.process.kill)
            return one

        yield started


@pytest.fixture
def lock_file(tmp_path):
    return tmp_path / "locks" / "autotune-cpu.lock"


def gpu(uuid):
    return Device(kind="gpu", index=0, sku="x", name="x", uuid=uuid, arch="sm_90", memory_bytes=1, multiprocessors=1)


def test_the_second_waits_for_the_first_and_is_told_who_that_is(start, lock_file):
    first = start(HOLD)
    assert first.says() == "holds"
    second = start(HOLD)
    holder = occupant(first.pid)
    assert second.says() == f"waits for pid {first.pid} of {holder.user}: {holder.command}"
    assert first.end() == 0
    assert second.says() == "holds"
    assert lock_file.read_text() == occupant(second.pid).text
    assert second.end() == 0
    assert lock_file.read_text() == ""


def test_two_devices_are_held_by_two(start):
    waited = []
    with exclusive(gpu("GPU-1"), waited.append), exclusive(gpu("MIG-GPU-1/3/0"), waited.append):
        free = start(HOLD)
        assert free.says() == "holds"
    assert waited == []


def test_a_killed_holder_lets_go(start):
    first = start(HOLD)
    assert first.says() == "holds"
    second = start(HOLD)
    assert second.says().startswith("waits")
    first.kill()
    assert second.says() == "holds"


def test_what_a_holder_forked_neither_lets_go_for_it_nor_holds_on_after_it(start):
    first = start(FORK_AND_HOLD.replace("    child = os.fork()", "    child = os.fork()\n    child and input()"))
    child = int(first.says().removeprefix("child "))
    try:
        second = start(HOLD)
        assert second.says().startswith("waits")
        first.kill()
        assert second.says() == "holds"
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)


def test_programs_that_a_holder_starts_do_not_get_its_descriptors(lock_file):
    with exclusive(cpu_device()):
        listing = subprocess.run(["ls", "-l", "/proc/self/fd"], close_fds=False, capture_output=True, check=True)
    assert lock_file.name.encode() not in listing.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_who_stops_waiting_is_in_nobodys_way(start, number):
    first = start(HOLD)
    assert first.says() == "holds"
    impatient = start(HOLD)
    assert impatient.says().startswith("waits")
    assert impatient.kill(number) == -number
    third = start(HOLD)
    assert third.says().startswith("waits")
    assert first.end() == 0
    assert third.says() == "holds"


def test_two_that_ask_again_at_once_take_turns(start, tmp_path, lock_file):
    check(cpu_device())
    log = tmp_path / "log"
    log.touch()
    both = [start(TAKE_TURNS, name, log, lock_file.with_suffix(".queue")) for name in "ab"]
    assert [one.process.wait(PATIENCE_S) for one in both] == [0, 0]
    order = log.read_text().replace(".", "")
    assert order in ("ab" * 10, "ba" * 10)


def test_a_thread_enters_again_and_another_one_waits():
    events = []

    def enter():
        with exclusive(cpu_device(), events.append):
            events.append("second thread")

    with exclusive(cpu_device(), events.append):
        with exclusive(cpu_device(), events.append):
            events.append("again")
        thread = threading.Thread(target=enter)
        thread.start()
        while len(events) < 2:
            thread.join(0.001)
        events.append("let go")
    thread.join()
    assert events == ["again", "another thread of this process", "let go", "second thread"]


def test_a_failure_inside_lets_go(start):
    with pytest.raises(ZeroDivisionError), exclusive(cpu_device()):
        raise ZeroDivisionError
    assert start(HOLD).says() == "holds"


def test_a_workload_that_closes_all_descriptors_keeps_the_lock(start):
    first = start(HOLD.replace("    input()", "    os.closerange(3, 256)\n    input()"))
    assert first.says() == "holds"
    second = start(HOLD)
    assert second.says().startswith("waits")
    assert first.end() == 0
    assert second.says() == "holds"


def test_a_file_that_was_cleared_away_is_made_anew_by_who_waited_for_it(start, lock_file):
    first = start(HOLD)
    assert first.says() == "holds"
    second = start(HOLD)
    assert second.says().startswith("waits")
    lock_file.unlink()
    assert first.end() == 0
    assert second.says() == "holds"
    third = start(HOLD)
    assert third.says().startswith(f"waits for pid {second.pid} ")


def test_what_a_holder_wrote_down_cannot_steer_the_terminal(start, lock_file):
    assert start(HOLD).says() == "holds"
    lock_file.write_text("\x1b[31mred\n" + "x" * 1000)
    told = start(HOLD).says()
    assert told.startswith("waits for [31mred xxx")
    assert len(told) < 250


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act for two users")
@pytest.mark.parametrize("nobody_first", [True, False])
def test_two_users_lock_one_device_whoever_made_the_files(start, monkeypatch, nobody_first):
    def use():
        os.umask(0o077)
        with exclusive(cpu_device()):
            pass

    with shared_folder() as folder:
        folder.chmod(0o1777)
        monkeypatch.setenv("AUTOTUNE_LOCK_FOLDER", str(folder))
        if nobody_first:
            assert as_another_user(use) == "nothing was raised"
        own = start(HOLD)
        assert own.says() == "holds"
        holder = occupant(own.pid).text  # now: it ends once it has let go

        def wait():
            def told(who):
                os.write(own.process.stdin.fileno(), b"\n")
                raise RuntimeError(who)

            with exclusive(cpu_device(), told):
                pass

        assert as_another_user(wait) == f"RuntimeError: {holder}"
        assert own.says() == "let go"
        assert as_another_user(use) == "nothing was raised"
        assert {path.stat().st_uid for path in folder.iterdir()} == {NOBODY if nobody_first else 0}


@pytest.mark.parametrize("trap", ["symlink", "dangling", "hard link", "folder", "pipe", "closed"])
def test_a_file_that_somebody_planted_is_refused_and_left_alone(tmp_path, lock_file, monkeypatch, trap):
    monkeypatch.setattr(lock, "MAKING_S", 0.0)
    treasure = tmp_path / "treasure"
    treasure.write_text("mine")
    treasure.chmod(0o666)
    plant = {
        "symlink": lambda: lock_file.symlink_to(treasure),
        "dangling": lambda: lock_file.symlink_to(tmp_path / "nowhere"),
        "hard link": lambda: lock_file.hardlink_to(treasure),
        "folder": lock_file.mkdir,
        "pipe": lambda: os.mkfifo(lock_file),
        "closed": lambda: (lock_file.write_text("private"), lock_file.chmod(0o600)),
    }
    plant[trap]()
    with (
        pytest.raises(DeviceError, match=r"autotune-cpu\.lock cannot be used .* --lock-folder DIR"),
        exclusive(cpu_device()),
    ):
        pass
    with pytest.raises(DeviceError):
        check(cpu_device())
    assert treasure.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_a_workload_that_closed_the_lock_keeps_the_file_that_it_opened_in_its_place(tmp_path):
    path = tmp_path / "results"
    with exclusive(cpu_device()):
        held = next(fd for fd in range(900, 1000) if os.path.lexists(f"/proc/self/fd/{fd}"))
        opened = os.open(path, os.O_RDWR | os.O_CREAT)
        os.write(opened, b"results")
        os.dup2(opened, held)
    assert path.read_text() == "results"
    os.close(held)
    os.close(opened)


def test_without_its_folder_it_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOTUNE_LOCK_FOLDER", str(tmp_path / "nowhere"))
    with pytest.raises(DeviceError, match=r"No such file or directory\. Remove it, or name a folder"):
        check(cpu_device())


def test_a_check_takes_no_lock_away(start):
    check(cpu_device())
    with exclusive(cpu_device()):
        check(cpu_device())
        assert start(HOLD).says().startswith("waits")
