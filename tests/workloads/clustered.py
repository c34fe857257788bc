"""Where and by whom it is run, and what goes wrong in a cluster; nothing of it uses the GPU that it asks for."""

import ctypes
import os
import signal
import time
from pathlib import Path

import clustered_neighbour

import autotune
from autotune import Problem, SearchSpace, choice

MODES = ("where", "slow", "hangs", "hangs_natively", "dies", "dies_once", "long")
libc = ctypes.PyDLL(None)  # PyDLL keeps the interpreter's lock


def wait_for_ever():
    while True:
        libc.pause()


def note(problem):
    with open(problem.notes, "a") as notes:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "unset")
        print(os.getpid(), visible, os.environ.get("AUTOTUNE_TEST_HOST"), __file__, file=notes)


@autotune.workload(
    space=SearchSpace(mode=choice(*MODES), n=choice(*range(100))),
    problems=[Problem(notes="/dev/null", study=0)],
    timeout_s=60,
)
def clustered(problem, config):
    note(problem)
    if config.mode == "dies" or (config.mode == "dies_once" and _first(problem)):
        os.kill(os.getpid(), signal.SIGKILL)
    if config.mode == "hangs_natively":
        wait_for_ever()
    time.sleep({"hangs": 600, "long": 4, "slow": 0.3}.get(config.mode, 0))
    yield lambda: {"pid": os.getpid(), "neighbour": clustered_neighbour.NUMBER, "at": time.sleep(0.001)}


def _first(problem):
    mark = Path(problem.notes + ".mark")
    if mark.exists():
        return False
    mark.touch()
    return True
