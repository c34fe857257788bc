"""NVIDIA's libraries for a host of one's choice, compiled from tests/data/fake_nvidia: real calls and structures."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import autotune

SOURCES = Path(__file__).parents[2] / "data" / "fake_nvidia"
_built = TemporaryDirectory(prefix="fake-nvidia-")


@cache
def libraries(old):
    """The folder of the libraries, as of now or as of an older driver. Needs gcc."""
    folder = Path(_built.name) / ("old" if old else "new")
    folder.mkdir()
    for name in ("libnvidia-ml", "libcuda"):
        command = ["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", folder / f"{name}.so.1", SOURCES / f"{name}.c"]
        subprocess.run([*command, "-DOLD"] if old else command, check=True)
    return folder


def ask(host, expression, *, old=False, **environment):
    """The value of the expression about `device` in a fresh process on that host, through JSON.

    It remembers nothing unless it is given a cache: one test may ask of several hosts.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CUDA_")}
    loaded = {"LD_LIBRARY_PATH": str(libraries(old)), "FAKE_HOST": host, "XDG_CACHE_HOME": os.devnull}
    code = f"import json; from autotune import device; print(json.dumps({expression}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, **loaded, **environment},
        cwd=Path(autotune.__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
