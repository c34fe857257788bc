"""Computes something wrong in some configurations."""

import time

import autotune
from autotune import SearchSpace, choice


@autotune.workload(space=SearchSpace(mode=choice("good", "broken", "silent", "raises")), gpus=0)
def wrong_result(problem, config):
    result = [1.0, 2.0] if config.mode == "good" else [1.0, 2.5]
    yield lambda: time.sleep(0.002)
    if config.mode == "silent":
        assert result == [1.0, 2.0]
    if config.mode == "raises":
        raise LookupError("no reference for this shape")
    assert result == [1.0, 2.0], f"expected [1.0, 2.0], found {result}"
