"""Workloads that write down when each call and each whole body ran, in the file that the variable CALL_LOG names."""

import contextlib
import os
import time

import autotune
from autotune import SearchSpace, choice


@contextlib.contextmanager
def logged(what):
    """A line `what pid begin end` on the clock that all processes of the host share."""
    begin = time.monotonic()
    try:
        yield
    finally:
        with open(os.environ["CALL_LOG"], "a") as log:
            log.write(f"{what} {os.getpid()} {begin!r} {time.monotonic()!r}\n")


@autotune.workload(space=SearchSpace(ms=choice(1, 2, 3, 4, default=4)), gpus=0)
def on_cpu(problem, config):
    """Sleeps as long as the configuration says."""

    def call():
        with logged("call"):
            time.sleep(config.ms / 1e3)

    with logged("body"):
        yield call


@autotune.workload(space=SearchSpace(size=choice(512, 1024, 2048, 4096, default=4096)), gpus=1)
def on_gpu(problem, config):
    """Multiplies matrices; what is logged lasts until the GPU is done."""
    import torch

    def call():
        with logged("call"):
            left @ left
            torch.cuda.synchronize()

    with logged("body"):
        left = torch.randn(config.size, config.size, device="cuda")
        yield call
        torch.cuda.synchronize()
