"""The SKU of a GPU host kept on disk, so that not every process waits for NVML; how it is found out lives elsewhere.

NVML alone takes longer to start than a lookup may take. A file is named after the digest of all that is cheap to read
and tells that the answer may be another one. What that leaves unseen (a power limit that was set, a GPU that fell off
the bus, a MIG slice that another one replaced under its number) is noticed once the file is ten minutes old.
Only a lookup at run time asks here; what lists or measures devices asks NVML.
"""

from __future__ import annotations

import hashlib  # a lookup has it already: values.py needs it
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import suppress

import autotune
from autotune.device.cpu import ROOT, read

LIFETIME_S = 600.0

_CONTENT = re.compile(rb"([a-z0-9][a-z0-9.-]{0,99})\n")
"""The end of the line tells that the file was written to its end."""
_DRIVER = "/proc/driver/nvidia"
_VARIABLES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")


def place(root: str = ROOT) -> str | None:
    """The file for this process as the host is now; None where the driver does not list GPUs, or nothing may be kept.

    root: where proc and dev are found.
    """
    gpus = {gpu: read(f"{root}{_DRIVER}/gpus/{gpu}/information") for gpu in _names(f"{root}{_DRIVER}/gpus")}
    if not gpus or not all(gpus.values()):
        return None
    boot, folder = read(f"{root}/proc/sys/kernel/random/boot_id"), _folder()
    if not boot or folder is None:
        return None
    facts = (
        autotune.__version__,
        boot,
        read(f"{root}{_DRIVER}/version"),
        gpus,
        list(_instances(f"{root}{_DRIVER}/capabilities")),
        list(_usable_nodes(f"{root}/dev")),
        [os.environ.get(name) for name in _VARIABLES],
    )
    return f"{folder}/{hashlib.sha256(ascii(facts).encode()).hexdigest()}"


def recall(path: str) -> str | None:
    """What the file says; None where it is not there, too old, damaged, or in another user's hands."""
    try:
        if not _is_ours(os.path.dirname(path)):
            return None
        # Whoever planted a pipe here would have us wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
            content = _CONTENT.fullmatch(os.read(descriptor, 128)) if ours and not _expired(status) else None
        finally:
            os.close(descriptor)
    except OSError:
        return None
    return content[1].decode() if content else None


def remember(path: str, sku: str) -> None:
    """Does nothing where nothing can be written."""
    folder = os.path.dirname(path)
    with suppress(OSError):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if not _is_ours(folder):
            return
        _sweep(folder)
        unfinished, now_s = f"{path}.{os.getpid()}", time.time()
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, f"{sku}\n".encode())
            os.utime(descriptor, (now_s, now_s))  # a file server's clock may differ from ours
        finally:
            os.close(descriptor)
        os.replace(unfinished, path)


def _folder() -> str | None:
    """By the XDG base directory specification, which ignores relative paths."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.cache")
    return f"{base}/autotune/sku" if os.path.isabs(base) else None


def _names(folder: str) -> list[str]:
    """Sorted; none where the folder cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _instances(capabilities: str) -> Iterator[str]:
    """`gpu0/gi1/ci0` for every compute instance of every GPU in MIG mode, `gpu0/gi1` for its GPU instance."""
    for gpu in _names(capabilities):
        for instance in _names(f"{capabilities}/{gpu}/mig"):
            yield f"{gpu}/{instance}"
            yield from (f"{gpu}/{instance}/{part}" for part in _names(f"{capabilities}/{gpu}/mig/{instance}"))


def _usable_nodes(dev: str) -> Iterator[str]:
    """The GPUs and MIG slices that this process may open.

    A batch system shows every job all of them, denies it most through its control group, and numbers those that are
    left from 0 in CUDA_VISIBLE_DEVICES: two jobs on one host then differ in nothing else.
    """
    nodes = [f"{dev}/{name}" for name in _names(dev) if name.startswith("nvidia") and name[6:].isdigit()]
    slices = [f"{dev}/nvidia-caps/{name}" for name in _names(f"{dev}/nvidia-caps")]
    yield from (node for node in nodes if os.access(node, os.R_OK | os.W_OK))
    yield from (node for node in slices if os.access(node, os.R_OK))


def _is_ours(folder: str) -> bool:
    """Whether nobody else can put files there."""
    status = os.stat(folder, follow_symlinks=False)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _expired(status: os.stat_result) -> bool:
    return not 0 <= time.time() - status.st_mtime < LIFETIME_S


def _sweep(folder: str) -> None:
    """Remove what is of no use any more: every start of the host and every choice of devices leaves a file."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if _expired(entry.stat(follow_symlinks=False)):
                    os.unlink(entry.path)
