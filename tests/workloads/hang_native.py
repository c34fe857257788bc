"""Never comes back in one configuration, in native code that keeps the interpreter's lock."""

import ctypes
import time

import autotune
from autotune import SearchSpace, choice

libc = ctypes.PyDLL(None)  # PyDLL keeps the lock, CDLL would release it


def wait_for_ever():
    while True:
        libc.pause()


@autotune.workload(space=SearchSpace(mode=choice("good", "broken")), gpus=0, timeout_s=1)
def hang_native(problem, config):
    yield wait_for_ever if config.mode == "broken" else lambda: time.sleep(0.002)
