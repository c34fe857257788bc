"""Starts processes, some of which leave the session, and hangs in some configurations."""

import ctypes
import subprocess
import sys
import time
from pathlib import Path

import autotune
from autotune import Problem, SearchSpace, choice

libc = ctypes.PyDLL(None)


@autotune.workload(
    space=SearchSpace(mode=choice("good", "broken", "escapes")), problems=[Problem(pids="")], gpus=0, timeout_s=1
)
def spawns_and_hangs(problem, config):
    if config.mode != "good":
        one = subprocess.Popen(["sleep", "1000"])
        two = subprocess.Popen([sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '1000'])"])
        three = subprocess.Popen(["sleep", "1000"], start_new_session=config.mode == "escapes")
        Path(problem.pids).write_text(f"{one.pid} {two.pid} {three.pid}\n")
        while True:
            libc.pause()
    yield lambda: time.sleep(0.002)
