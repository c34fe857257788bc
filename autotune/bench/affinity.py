"""Pinning: keeps the calling thread on one core while it is timed, where that is proved to hinder nothing."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

OTHERS_NS, OTHERS_SHARE = 10_000, 0.02
"""CPU time beside the calling thread's own that is put down to reading the clocks: the larger of the two."""
BUSY_SHARE = 0.5
"""A thread that computes for less of the time than this waits for something, perhaps for other processes."""


@dataclass(frozen=True, slots=True)
class _Use:
    """What this thread, its process and its children have used by now."""

    threads: frozenset[str]
    children: tuple[float, int]
    thread_ns: int
    process_ns: int
    wall_ns: int


class Pinning:
    """For one call: `watch` it in its warm-up, `hold` the thread while it is timed.

    A thread or process that is started by a pinned thread inherits its core and would crowd it. So a call is pinned
    only if none of the calls watched started a thread or process or left work to one, and at least one of them was
    seen to compute.
    """

    def __init__(self) -> None:
        self._proved = False
        self._refuted = False

    @property
    def safe(self) -> bool:
        """Whether the calls that were watched use the calling thread alone."""
        return self._proved and not self._refuted

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Look at what is called inside."""
        before = _use_before()
        yield
        after = _use_after()
        own_ns = after.thread_ns - before.thread_ns
        others_ns = after.process_ns - before.process_ns - own_ns
        started = after.threads != before.threads or after.children != before.children
        self._refuted |= started or others_ns > max(OTHERS_NS, OTHERS_SHARE * own_ns)
        self._proved |= own_ns >= BUSY_SHARE * (after.wall_ns - before.wall_ns)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Stay on the present core; the former affinity is given back, also to threads that were started inside."""
        allowed = _affinity() if self.safe else None
        if allowed is None or len(allowed) < 2:
            yield
            return
        threads, core = _threads(), _present_core()
        pinned = {core if core in allowed else min(allowed)}
        with suppress(OSError):
            os.sched_setaffinity(0, pinned)
        try:
            yield
        finally:
            for thread in (0, *map(int, _threads() - threads)):
                with suppress(OSError):
                    if os.sched_getaffinity(thread) == pinned:  # unless the call has chosen another
                        os.sched_setaffinity(thread, allowed)


def _use_before() -> _Use:
    """The thread's own time is read last, and first in `_use_after`: reading is then nobody else's."""
    threads, children = _threads(), _children()
    process_ns = time.process_time_ns()
    return _Use(threads, children, time.thread_time_ns(), process_ns, time.perf_counter_ns())


def _use_after() -> _Use:
    wall_ns, thread_ns = time.perf_counter_ns(), time.thread_time_ns()
    process_ns = time.process_time_ns()
    return _Use(_threads(), _children(), thread_ns, process_ns, wall_ns)


def _threads() -> frozenset[str]:
    try:
        return frozenset(os.listdir("/proc/self/task"))
    except OSError:
        return frozenset()


def _children() -> tuple[float, int]:
    """CPU seconds and page faults of children that have ended and were waited for: a process cannot start without."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime, used.ru_minflt


def _affinity() -> set[int] | None:
    """The cores of the calling thread; None where they cannot be set."""
    try:
        return os.sched_getaffinity(0)
    except (AttributeError, OSError):
        return None


def _present_core() -> int:
    """Field 39 of the thread's stat, see proc(5); -1 where it is not told."""
    try:
        with open("/proc/thread-self/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[36])
    except (OSError, IndexError, ValueError):
        return -1
