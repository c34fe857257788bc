"""A canary for made-up GPUs, which nothing can be run on: it fails on those that the file at its side names."""

import os
import time
from pathlib import Path

import autotune
from autotune import SearchSpace, choice

BAD = Path(os.environ.get("AUTOTUNE_LOCK_FOLDER", "/nowhere")) / "bad"


@autotune.workload(space=SearchSpace(on=choice("cpu", "gpu")))
def canary(problem, config):
    yield lambda: time.sleep(0.001)
    bad = BAD.read_text().split() if BAD.exists() else []
    assert os.environ.get("CUDA_VISIBLE_DEVICES") not in bad, "two and two is five"
