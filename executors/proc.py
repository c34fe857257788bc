"""What /proc tells of a worker's processes and of the host's memory; killing and deciding are done elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autotune.device.cpu import control_groups

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Process:
    """One line of the table of processes."""

    pid: int
    parent: int
    session: int
    resident_bytes: int


def members(leader: int) -> list[Process]:
    """The living processes of the leader's session and all their descendants: those that left the session, too."""
    living = {process.pid: process for process in _table()}
    found = {pid for pid, process in living.items() if process.session == leader or pid == leader}
    while more := {pid for pid, process in living.items() if process.parent in found} - found:
        found |= more
    return [living[pid] for pid in found]


def threads() -> int:
    """Of this process, without the CUDA driver's own, which idles where it was shown no device."""
    names = (_read(f"/proc/self/task/{number}/comm") for number in os.listdir("/proc/self/task"))
    return sum(not name.startswith("cuda") for name in names)


def resident_bytes(pid: int) -> int:
    """Of one process; 0 where it is gone."""
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * PAGE_BYTES if fields else 0


def available_bytes() -> int:
    """What this process and its children could still take: of the host's memory, and of its control groups' limits."""
    host = _number(r"MemAvailable:\s+(\d+) kB", _read("/proc/meminfo"))
    return min([(host or 0) * 1024, *filter(None, map(_rest_of, control_groups("memory")))])


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory, on the host and in the control groups."""
    files = [
        "/proc/vmstat",
        *(f"{one}/{name}" for one in control_groups("memory") for name in ("memory.events", "memory.oom_control")),
    ]
    return sum(_number(r"(?m)^oom_kill (\d+)", _read(file)) or 0 for file in files)


def _table() -> Iterator[Process]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            # The second field, the command, may hold spaces and parentheses; proc(5) numbers the fields from 1.
            fields = _read(f"/proc/{name}/stat").rpartition(")")[2].split()
            if fields and fields[0] not in "ZX":
                yield Process(int(name), int(fields[1]), int(fields[3]), int(fields[21]) * PAGE_BYTES)


def _rest_of(folder: str) -> int | None:
    """What a group may still take; None without a limit. Cached files count as used there but can be dropped."""
    for limit_file, usage_file, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit = _read(f"{folder}/{limit_file}").strip()
        if limit.isdigit():
            used = int(_read(f"{folder}/{usage_file}") or 0)
            dropped = _number(rf"(?m)^{cache} (\d+)", _read(f"{folder}/memory.stat")) or 0
            return max(1, int(limit) - used + dropped)
    return None


def _number(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text)
    return int(found[1]) if found else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
