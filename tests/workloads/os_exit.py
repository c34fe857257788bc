"""Ends the process in some configurations: at once, politely, and from the body."""

import os
import sys
import time

import autotune
from autotune import SearchSpace, choice


def leave():
    print("the last words")
    os._exit(3)


@autotune.workload(space=SearchSpace(mode=choice("good", "broken", "quiet", "sys_exit")), gpus=0)
def os_exit(problem, config):
    if config.mode == "sys_exit":
        sys.exit("enough")
    if config.mode == "quiet":
        os._exit(0)
    yield leave if config.mode == "broken" else lambda: time.sleep(0.002)
