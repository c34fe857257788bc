"""The shipped matmul, with a line in a log for each kernel that Triton compiles or finds, and by which process."""

import os
import sys
from pathlib import Path

from triton import knobs

import autotune
from autotune import Problem

sys.path.insert(0, str(Path(__file__).parents[2] / "workloads"))
import triton_matmul as shipped

before = knobs.compilation.listener


def log(**compilation):
    if path := os.environ.get("AUTOTUNE_TEST_LOG"):  # what loads this file goes on to other tests
        with open(path, "a") as lines:
            lines.write(f"{os.getpid()} {'found' if compilation['cache_hit'] else 'compiled'}\n")
    if before is not None:
        before(**compilation)


knobs.compilation.listener = log


@autotune.workload(
    space=shipped.triton_matmul.space,
    problems=[Problem(m=512, n=1024, k=512, dtype="bfloat16")],
    gpus=1,
    timeout_s=60,
)
def logged_matmul(problem, config):
    body = shipped.triton_matmul(problem, config)
    run = next(body)

    def call():
        run()
        return {"pid": os.getpid()}

    yield call
    next(body, None)
