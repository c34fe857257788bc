"""exclusive: hold a device alone among all that this project runs on the host; other programs are in `tenants.py`.

Two files a device in a folder that all users share. POSIX record locks are taken on them, not flock: they belong to the
process, end with it however it dies, and are not handed down to what a workload forks and forgets to end. They also end
when the process closes any descriptor of the file, which nothing but this module has a reason to open.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from autotune.device import Device
from autotune.device.occupant import printable, this_study
from autotune.errors import DeviceError
from autotune.settings import Settings

SHARED_FOLDER = Path("/tmp")
"""The same for every user, unlike $TMPDIR: whoever looks elsewhere is not seen."""
MODE = 0o666
"""Whoever measures next may be another user, and writes down who it is."""
OUT_OF_REACH = 900
"""Descriptors are moved up here: a workload that closes "all descriptors" usually stops at 256 or so."""
HOLDER_CHARACTERS = 200
MAKING_S = 1.0
"""How long another process may take between making a file and opening it to everyone."""

OnWait = Callable[[str], None]

_threads: dict[str, threading.RLock] = {}
_held: set[str] = set()


@contextmanager
def exclusive(device: Device, on_wait: OnWait = lambda _: None) -> Iterator[None]:
    """Hold the device alone among all processes and users of this project on the host; waits for whoever holds it.

    on_wait: called once, with who holds it, before it waits; signals are heeded meanwhile. A thread that holds it may
    enter again. Whoever lets go and asks again queues behind those who wait. A process that holds several devices
    takes them in the order of their UUIDs.
    Raises DeviceError where the files cannot be made or opened.
    """
    name = _name(device)
    ours = _threads.setdefault(name, threading.RLock())
    if not ours.acquire(blocking=False):
        on_wait("another thread of this process")
        ours.acquire()
    try:
        if name in _held:
            yield
            return
        with _held_by_us(f"{folder()}/autotune-{name}", on_wait):
            _held.add(name)
            try:
                yield
            finally:
                _held.discard(name)
    finally:
        ours.release()


def folder() -> Path:
    """Where the locks of all users are; a container that is to share a device shares it through --lock-folder."""
    return Settings.from_environment().lock_folder or SHARED_FOLDER


def check(device: Device) -> None:
    """Raises DeviceError where `exclusive` would: cheaper to hear before a study starts than from its worker."""
    ours = _threads.setdefault(_name(device), threading.RLock())
    if not ours.acquire(blocking=False):  # another thread waits, or measures: the files are all right
        return
    try:
        if _name(device) not in _held:  # closing any descriptor of a file ends the process's lock on it
            for path in _paths(f"{folder()}/autotune-{_name(device)}"):
                os.close(_open(path))
    finally:
        ours.release()


def _name(device: Device) -> str:
    """The processor is one device, by whatever name its host goes in a container."""
    return "cpu" if device.kind == "cpu" else re.sub(r"[^\w.-]", "_", device.uuid)


def _paths(stem: str) -> tuple[str, str]:
    return f"{stem}.queue", f"{stem}.lock"


@contextmanager
def _held_by_us(stem: str, on_wait: OnWait) -> Iterator[None]:
    """Only the first of the queue waits for the lock itself: who lets go of it cannot overtake the one that waits."""
    queue, lock = _paths(stem)
    notice = _Notice(lock, on_wait)
    first = _take(queue, notice)
    try:
        held = _take(lock, notice)
    finally:
        os.close(first)
    status = os.fstat(held)
    try:
        with suppress(OSError):  # a full disk keeps no one from measuring
            os.ftruncate(held, 0)
            os.pwrite(held, this_study().text.encode(errors="replace"), 0)
        yield
    finally:
        with suppress(OSError):  # the workload closed it; its number may stand for another file by now
            if os.path.samestat(os.fstat(held), status):
                os.ftruncate(held, 0)
                os.close(held)


class _Notice:
    """Tells once who is waited for."""

    def __init__(self, lock: str, on_wait: OnWait) -> None:
        self._lock, self._on_wait = lock, on_wait
        self._told = False

    def __call__(self) -> None:
        if not self._told:
            self._told = True
            self._on_wait(_holder(self._lock))


def _holder(lock: str) -> str:
    """As the holder wrote it down; anyone may write there, so that it is shown and nothing more."""
    with suppress(OSError):
        descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            text = os.read(descriptor, HOLDER_CHARACTERS * 4).decode(errors="replace")
        finally:
            os.close(descriptor)
        if text.strip():
            return printable(text, HOLDER_CHARACTERS)
    return "another process"


def _take(path: str, notice: Callable[[], None]) -> int:
    """A descriptor of the file, locked; again where what was locked has been cleared away meanwhile."""
    while True:
        descriptor = _open(path)
        try:
            if not _locked_at_once(descriptor):
                notice()
                fcntl.lockf(descriptor, fcntl.LOCK_EX)
            if _is_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _locked_at_once(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # POSIX lets a system choose between the two
        return False
    return True


def _is_at(path: str, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    return False


def _open(path: str) -> int:
    """The file open for a lock, made where it is not there; out of a workload's reach."""
    until_s = time.monotonic() + MAKING_S
    while True:
        try:
            return _checked(_out_of_reach(_opened(path)))
        except FileExistsError:  # another process was quicker
            continue
        except OSError as error:
            in_the_making = isinstance(error, PermissionError) and os.path.lexists(path)
            if not in_the_making or time.monotonic() > until_s:
                raise _unusable(path, error.strerror) from None
        time.sleep(0.01)


def _opened(path: str) -> int:
    # Without O_CREAT at first: the kernel refuses that in a sticky folder where the file is another user's.
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, MODE)


def _checked(descriptor: int) -> int:
    """The descriptor, if it is of a file of ours: we write to it, so nobody may put another one in its place."""
    status = os.fstat(descriptor)
    plain = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    if plain and status.st_uid == os.geteuid() and status.st_size == 0:
        os.fchmod(descriptor, MODE)  # the umask was in the way when we, or an earlier process of ours, made it
    elif not plain or stat.S_IMODE(status.st_mode) != MODE:
        os.close(descriptor)
        raise PermissionError(errno.EPERM, "it is not a lock file that autotune made")
    return descriptor


def _out_of_reach(descriptor: int) -> int:
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, min(OUT_OF_REACH, os.sysconf("SC_OPEN_MAX") - 8))
    finally:
        os.close(descriptor)


def _unusable(path: str, reason: str | None) -> DeviceError:
    return DeviceError(
        f"{path} cannot be used to keep other studies off the device: {reason or 'it cannot be opened'}. "
        f"Remove it, or name a folder that all who measure here can write to: autotune --lock-folder DIR …"
    )


def _forget() -> None:
    """In a process forked from here, which holds nothing."""
    _threads.clear()
    _held.clear()


os.register_at_fork(after_in_child=_forget)
