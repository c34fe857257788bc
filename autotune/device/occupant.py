"""Occupant: a process that uses a device, as /proc shows it; which ones do is for `lock.py`, `tenants.py`."""

from __future__ import annotations

import os
from dataclasses import dataclass

from autotune.device.cpu import read

WORKER_MARK = "autotune.executors."
"""In the command line of every process that an executor starts, see `executors/process.py`."""
COMMAND_CHARACTERS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant:
    """A process, and whose it is."""

    pid: int
    user: str | None = None
    """None where the process cannot be seen from here, as in another container."""
    command: str = ""

    @property
    def text(self) -> str:
        """`pid 4242 of alice: python train.py`."""
        if self.user is None:
            return f"pid {self.pid}, which cannot be seen from here"
        return f"pid {self.pid} of {self.user}{f': {self.command}' if self.command else ''}"


def occupant(pid: int) -> Occupant:
    """What can be seen of the process."""
    return Occupant(pid=pid, user=_user(pid), command=printable(" ".join(_words(pid)), COMMAND_CHARACTERS))


def is_ours(pid: int) -> bool:
    """Whether it is this process, or a worker of this project, of whichever study, or was started by one."""
    return pid == os.getpid() or _is_worker(pid) or _is_worker(_session(pid))


def this_study() -> Occupant:
    """The process that a user knows: this one, or where this one is a worker the one that started it."""
    return occupant(os.getppid() if _is_worker(os.getpid()) else os.getpid())


def printable(text: str, most: int) -> str:
    """At most that many characters, none of which a terminal would obey."""
    shown = "".join(c if c.isprintable() else " " for c in text).strip()
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def _words(pid: int) -> list[str]:
    return read(f"/proc/{pid}/cmdline", at_most=4096).rstrip("\0").split("\0")


def _is_worker(pid: int) -> bool:
    return any(WORKER_MARK in word for word in _words(pid))


def _session(pid: int) -> int:
    """Its leader: each worker starts one."""
    try:
        return os.getsid(pid)
    except OSError:
        return pid


def _user(pid: int) -> str | None:
    try:
        uid = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
    try:
        from pwd import getpwuid

        return getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return f"user {uid}"
