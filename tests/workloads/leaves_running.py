"""Leaves threads and processes behind in some configurations."""

import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import autotune
from autotune import SearchSpace, choice

MODES = ("good", "thread", "process", "thread_and_error", "ends_soon", "idle_pool")
children = []


def work_on():
    while True:
        time.sleep(0.01)


@autotune.workload(space=SearchSpace(mode=choice(*MODES)), gpus=0)
def leaves_running(problem, config):
    if config.mode in ("thread", "thread_and_error"):
        threading.Thread(target=work_on, name="endless", daemon=True).start()
    if config.mode == "ends_soon":
        threading.Thread(target=time.sleep, args=(0.3,), name="brief").start()
    if config.mode == "idle_pool":
        children.append(ThreadPoolExecutor(2))
        list(children[-1].map(len, ["a", "b"]))
    if config.mode == "process":
        children.append(subprocess.Popen(["sleep", "100"]))
    yield lambda: time.sleep(0.002)
    if config.mode == "thread_and_error":
        raise ValueError("the first thing that went wrong")
