"""Harms the process that it runs in: descriptors, folder, output, forks, signals."""

import os
import signal
import sys
import time

import autotune
from autotune import SearchSpace, choice

MODES = (
    "good",
    "closes_descriptors",
    "closes_all",
    "closes_output",
    "changes_folder",
    "forks",
    "kills_itself",
    "interrupts",
    "terminates",
)


@autotune.workload(space=SearchSpace(mode=choice(*MODES)), gpus=0, timeout_s=20)
def careless(problem, config):
    if config.mode == "closes_descriptors":
        os.closerange(3, 256)
    if config.mode == "closes_all":
        os.closerange(3, 4096)
    if config.mode == "closes_output":
        os.close(1)
        sys.stdout = None
    if config.mode == "changes_folder":
        os.chdir("/")
    if config.mode == "forks" and os.fork() == 0:
        raise ValueError("the child forgets to end")
    if config.mode == "kills_itself":
        os.kill(os.getpid(), signal.SIGKILL)
    if config.mode == "interrupts":
        raise KeyboardInterrupt
    if config.mode == "terminates":
        os.kill(os.getpid(), signal.SIGTERM)
    yield lambda: time.sleep(0.002)
    assert sys.stdin.read() == ""


@autotune.workload(space=SearchSpace(mode=choice("good", "broken")), gpus=0)
def where(problem, config):
    """What the process was given; metrics are numbers, so folders and modules are compared here."""
    loaded = [
        name for name in ("optuna", "sqlalchemy", "typer", "rich", "numpy", "torch", "pytest") if name in sys.modules
    ]
    yield lambda: {
        "cpu_only": float(os.environ["CUDA_VISIBLE_DEVICES"] == ""),
        "pid": os.getpid(),
        "niceness": os.nice(0),
    }
    assert not loaded, loaded
    assert os.getcwd() != "/"
    assert os.getpgrp() == os.getsid(0) == os.getpid()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
