"""Takes memory until there is none, in one configuration alone, in another in a process of its own."""

import subprocess
import sys
import time

import autotune
from autotune import SearchSpace, choice

GREEDY = "kept = []\nwhile True: kept.append(b'x' * (8 << 20))"


def take_everything():
    kept = []
    while True:
        kept.append(b"x" * (8 << 20))


@autotune.workload(space=SearchSpace(mode=choice("good", "broken", "child", "refused")), gpus=0, timeout_s=60)
def allocate(problem, config):
    if config.mode == "refused":
        bytearray(1 << 60)
    if config.mode == "child":
        subprocess.run([sys.executable, "-c", GREEDY], check=True)
    yield take_everything if config.mode == "broken" else lambda: time.sleep(0.002)
