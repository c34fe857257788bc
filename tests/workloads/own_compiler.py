"""A compiler of its own, called by the hook: what it makes is a file; each way to fail is a configuration."""

import ctypes
import os
import signal
import time
from pathlib import Path

import autotune
from autotune import Problem, SearchSpace, choice
from autotune.workload import Binary

MODES = ("good", "same", "large", "nothing", "refuses", "bug", "hangs", "crashes", "killed", "exits", "gone")


class CompileException(Exception):
    pass


def product(problem, config):
    return Path(problem.folder) / f"{config.mode}-{config.n}"


def build(problem, config, device):
    made = product(problem, config)
    if not made.exists():
        time.sleep(problem.seconds)
        fail(config.mode)
        made.write_text(str(os.getpid()))
    if config.mode == "nothing":
        return None
    digest = "the same" if config.mode == "same" else made.name
    return Binary(digest=digest, shared_memory_bytes=2000 if config.mode == "large" else 10)


def fail(mode):
    if mode == "refuses":
        raise CompileException("no such instruction")
    if mode == "bug":
        raise ZeroDivisionError("in the hook")
    if mode == "hangs":
        time.sleep(1000)
    if mode == "crashes":
        ctypes.string_at(0)
    if mode == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "exits":
        os._exit(3)


@autotune.workload(
    space=SearchSpace(mode=choice(*MODES), n=choice(*range(50))),
    problems=[Problem(folder="/nowhere", seconds=0.0)],
    gpus=0,
    timeout_s=20,
    compile=build,
)
def own_compiler(problem, config):
    """What was compiled elsewhere is found: the process that made it is not this one."""
    maker = int(product(problem, config).read_text()) if config.mode != "nothing" else 0
    yield lambda: {"maker": maker, "pid": os.getpid(), "at": time.sleep(0.001)}
    if config.mode == "gone":
        os._exit(4)
