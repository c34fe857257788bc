"""Two studies started at the same moment on one device, and what their calls say of who ran when."""

import contextlib
import fcntl
import itertools
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from autotune.device.lock import exclusive, folder

ROOT = Path(__file__).parents[1]
TRIALS = 4
PATIENCE_S = 120


@dataclass(frozen=True)
class Span:
    """A call, or a body from its preparation to its clean-up, in seconds on the host's monotonic clock."""

    what: str
    pid: int
    begin_s: float
    end_s: float


def run_two(workload, device, home, *options):
    """The spans of both, in the order of their beginnings; each measures every configuration of the workload."""
    log = home / "calls"
    with contextlib.ExitStack() as stack:
        with exclusive(device):
            both = [stack.enter_context(_study(workload, home / name, log, options)) for name in "ab"]
            for one in both:
                stack.callback(one.kill)
            _until_two_wait(both)
        for one in both:
            output, _ = one.communicate(timeout=PATIENCE_S)
            assert one.returncode == 0, output
    words = [line.split() for line in log.read_text().splitlines()]
    spans = [Span(what, int(pid), float(begin), float(end)) for what, pid, begin, end in words]
    return sorted(spans, key=lambda span: span.begin_s)


def overlaps(spans):
    """Pairs of spans of two processes that ran at the same moment."""
    found, last = [], {}
    for span in spans:
        found += [(other, span) for pid, other in last.items() if pid != span.pid and other.end_s > span.begin_s]
        if span.pid not in last or last[span.pid].end_s < span.end_s:
            last[span.pid] = span
    return found


def turns(spans):
    """The processes in the order in which they ran, one entry for each time that one takes over."""
    return [pid for pid, _ in itertools.groupby(span.pid for span in spans)]


def _study(workload, home, log, options):
    words = ["study", "tests/workloads/logged.py", "--workload", workload, "--trials", str(TRIALS), "--quick", *options]
    return subprocess.Popen(
        [sys.executable, "-m", "autotune", "--home", str(home), *words],
        cwd=ROOT,
        env={**os.environ, "CALL_LOG": str(log)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _until_two_wait(processes):
    """Until a worker of each waits for the device: one at the head of the queue, the other in it."""
    until_s = time.monotonic() + PATIENCE_S
    while not _two_wait():
        assert time.monotonic() < until_s, "they do not wait for the device"
        assert all(one.poll() is None for one in processes), "one has ended without the device"
        time.sleep(0.01)


def _two_wait():
    inodes = [f":{path.stat().st_ino} " for path in folder().iterdir()]
    try:
        waiting = [line for line in Path("/proc/locks").read_text().splitlines() if "->" in line]
    except OSError:  # a sandbox has no such table: then the head of the queue must do
        return _is_locked(next(folder().glob("*.queue")))
    return all(any(inode in line for line in waiting) for inode in inodes)


def _is_locked(path):
    with path.open("r+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
