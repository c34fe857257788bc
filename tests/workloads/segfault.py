"""Reads address 0 in one configuration."""

import ctypes
import time

import autotune
from autotune import SearchSpace, choice


@autotune.workload(space=SearchSpace(mode=choice("good", "broken")), gpus=0)
def segfault(problem, config):
    yield lambda: ctypes.string_at(0) if config.mode == "broken" else time.sleep(0.002)
