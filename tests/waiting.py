"""Waiting for what another process or thread is about to do, and seeing which processes are there."""

import time
from pathlib import Path

POLL_S = 0.02


def eventually(condition, seconds=10.0):
    """Whether the condition comes true within that time.

    Looks are counted, not time alone: where the whole machine stood still for seconds, as a virtual one may, nothing
    that is waited for could have happened meanwhile.
    """
    until, looks = time.monotonic() + seconds, int(seconds / POLL_S)
    while not condition():
        looks -= 1
        if looks < 0 and time.monotonic() > until:
            return condition()
        time.sleep(POLL_S)
    return True


def processes_of(tag):
    """The commands of the processes that carry the tag in their environment, zombies left out, by number."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            running = (folder / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
            if running and tag.encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found
