"""Raises while it is loaded where a variable says so, as a file that needs a GPU does on a host without one."""

import os
import time

import autotune
from autotune import SearchSpace, choice, env

if os.environ.get("BROKEN_IMPORT") == "1":
    raise RuntimeError("no such library on this host")


@autotune.workload(space=SearchSpace(broken=env("BROKEN_IMPORT", choice(None, "1"))), gpus=0)
def import_error(problem, config):
    yield lambda: time.sleep(0.002)
