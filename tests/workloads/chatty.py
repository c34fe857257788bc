"""Prints 50 MB to both outputs in one configuration."""

import sys
import time

import autotune
from autotune import SearchSpace, choice

LINE = "x" * 1023


def talk():
    for _ in range(25 * 1024):
        print(LINE)
        print(LINE, file=sys.stderr)
    print("end of the flood")


@autotune.workload(space=SearchSpace(mode=choice("good", "broken", "dies")), gpus=0, timeout_s=60)
def chatty(problem, config):
    if config.mode != "good":
        talk()
    assert config.mode != "dies", "it printed too much"
    yield lambda: time.sleep(0.002)
