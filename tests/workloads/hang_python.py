"""Never comes back in one configuration, in Python code that no exception can leave."""

import time

import autotune
from autotune import SearchSpace, choice


def spin():
    while True:
        try:
            sum(range(1000))
        except BaseException:
            continue


@autotune.workload(space=SearchSpace(mode=choice("good", "broken")), gpus=0, timeout_s=1)
def hang_python(problem, config):
    yield spin if config.mode == "broken" else lambda: time.sleep(0.002)
