"""Leftovers: the threads and processes that a trial's body started and did not end; ending them is its own duty."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from autotune.bench.diagnosis import LEFT_RUNNING
from autotune.bench.phases import VERIFY
from autotune.measurement import Failure, FailureKind, Outcome
from autotune.workload import source_files

GRACE_S = 1.0
"""What was told to end gets this long."""
LOOK_S = 0.01

_LIBRARY_SERVANTS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver", "_inductor/compile_worker")
"""Processes that a library starts once and keeps: they idle until they are asked for something."""


@dataclass(frozen=True, slots=True)
class Present:
    """What ran before a trial."""

    threads: frozenset[int]
    processes: frozenset[int]

    @classmethod
    def now(cls) -> Present:
        """What runs now."""
        return cls(frozenset(sys._current_frames()), frozenset(_children()))

    def left_over(self, path: Path) -> list[str]:
        """What was started since and still runs after a grace, one clause each.

        Of the threads only those count that execute the user's own files: a library's pool idles and disturbs nobody.
        """
        deadline = time.monotonic() + GRACE_S
        sources: frozenset[str] | None = None
        while True:
            started = sys._current_frames().keys() - self.threads
            if started and sources is None:
                sources = frozenset(map(str, source_files(path)))
            threads = _threads(started, sources or frozenset())
            processes = [_command(pid) for pid in _children() - self.processes if not _is_servant(pid)]
            if not (threads or processes) or time.monotonic() > deadline:
                return threads + processes
            time.sleep(LOOK_S)


def charged(outcome: Outcome, left: list[str]) -> Outcome:
    """What was left running is a failure of its own, or a line in the details of the one that is there."""
    if not left:
        return outcome
    found = f"{LEFT_RUNNING}{'; '.join(left[:5])}"
    if isinstance(outcome, Failure):
        return replace(outcome, details=f"{outcome.details}\n{found}")
    message = f"{found}; end what it starts in a finally block after the yield."
    return Failure(kind=FailureKind.RUNTIME, message=message, phase=VERIFY, phase_s=outcome.phase_s)


def _threads(started: set[int], sources: frozenset[str]) -> list[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = [(ident, frame) for ident, frame in sys._current_frames().items() if ident in started]
    places = [(ident, next(_places(frame, sources), None)) for ident, frame in frames]
    return [f"thread {names.get(ident, ident)} at {place}" for ident, place in places if place]


def _places(frame: FrameType | None, sources: frozenset[str]) -> Iterator[str]:
    """`file:line` of the frames that belong to the user's files, the innermost first."""
    while frame is not None:
        if frame.f_code.co_filename in sources:
            yield f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        frame = frame.f_back


def _children() -> set[int]:
    """The living children of this process; the table of processes is read only where there is one at all."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return set()
    own = os.getpid()
    return {int(name) for name in os.listdir("/proc") if name.isdigit() and _is_living_child(int(name), own)}


def _is_living_child(pid: int, parent: int) -> bool:
    state, _, rest = _read(f"/proc/{pid}/stat").rpartition(")")[2].strip().partition(" ")
    return state not in ("", "Z", "X") and int(rest.split(" ", 1)[0]) == parent


def _is_servant(pid: int) -> bool:
    command = _command(pid)
    return any(servant in command for servant in _LIBRARY_SERVANTS)


def _command(pid: int) -> str:
    return f"process {pid} ({_read(f'/proc/{pid}/cmdline').replace(chr(0), ' ').strip()[:200]})"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
