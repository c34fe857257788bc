"""The versions of what a measurement depends on, found without importing it; what they mean is in `device.py`."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

_STATED = re.compile(r"""^__version__\s*(?::[^=\n]+)?=\s*['"]([^'"]+)['"]""", re.MULTILINE)


def torch() -> str | None:
    """PyTorch's own version with the build that it names, `2.11.0+cu130`: its metadata on PyPI leaves the build out."""
    return _stated("torch", "version.py")


def triton() -> str | None:
    """Triton's own version; it is distributed under several names."""
    return _stated("triton", "__init__.py")


def nccl() -> str | None:
    """NCCL as a Python package; one that is built into torch or lies in the system is not seen."""
    names = ("nvidia-nccl-cu13", "nvidia-nccl-cu12", "nvidia-nccl-cu11")
    return next((version for name in names if (version := _installed(name))), None)


def python() -> str:
    """`3.11`."""
    return "{}.{}".format(*sys.version_info)


def autotune() -> str:
    """Our own."""
    import autotune as package

    return package.__version__


def _stated(package: str, file: str) -> str | None:
    """`__version__` as the package has it, or would have it: processes that have imported it and others must agree."""
    if (loaded := sys.modules.get(package)) is not None:
        return str(loaded.__version__)
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    try:
        text = (Path(spec.origin).parent / file).read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = _STATED.search(text)
    return found[1] if found else _installed(package)


def _installed(distribution: str) -> str | None:
    from importlib import metadata  # slow to import, and most often not needed

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
