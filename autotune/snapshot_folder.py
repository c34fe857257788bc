"""A folder of snapshots that is replaced as a whole: readers see the old one or the new one; each file is `snapshot`'s.

`snapshots` becomes a link to a folder beside it, `snapshots.generations/7-5f2c9a10`, and the link is what is replaced.
The last few stay, for who has just followed the link and not opened a file yet.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from autotune import snapshot
from autotune.errors import SnapshotError
from autotune.portfolio.portfolio import Portfolio
from autotune.tuned_config import TunedConfig

KEPT = 3
"""Folders of earlier generations."""

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_LINKS_FOLLOWED = 8
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other writers of the folder away, as far as the file system can: whole ones and of single files."""
    lock = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder.parent, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        with suppress(OSError):  # not every network file system locks a folder
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def generation_of(folder: Path) -> int | None:
    """The number under which it was written as a whole; None where it never was."""
    found = re.match(r"(\d+)-", Path(_target(_own(folder))).name)
    return int(found[1]) if found else None


def replace(
    folder: Path, configs: Sequence[TunedConfig], generation: int, portfolios: Sequence[Portfolio] = ()
) -> None:
    """Let it hold these and nothing else; SnapshotError where that cannot be, and then it is as it was.

    Where there are no symbolic links the files are replaced one by one, and a reader may see some of them only.
    """
    folder = _own(folder)
    new = _beside(folder) / f"{generation}-{secrets.token_hex(4)}"
    try:
        new.mkdir(parents=True)
        snapshot.write(new, configs, portfolios, merge=False)
        _flush(new)
        if not _swap(folder, new):
            _one_by_one(folder, new)
        _clear(_beside(folder), Path(_target(folder)).name)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _own(folder: Path) -> Path:
    """The place that is ours to link from: where a user's own link leads, which stays."""
    for _ in range(_LINKS_FOLLOWED):
        if not folder.is_symlink() or _target(folder):
            break
        folder = folder.parent / os.readlink(folder)
    return folder


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.generations")


def _target(folder: Path) -> str:
    """Where its link leads, if that is one of ours; empty otherwise."""
    target = os.readlink(folder) if folder.is_symlink() else ""
    return target if Path(target).parent.name == _beside(folder).name else ""


def _swap(folder: Path, new: Path) -> bool:
    """Let the folder be a link to the new one; False where this file system has no links."""
    link = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        os.symlink(f"{new.parent.name}/{new.name}", link)  # relative: the data directory may be moved
    except OSError as error:
        if error.errno in _NO_LINKS:
            return False
        raise
    try:
        if folder.is_dir() and not folder.is_symlink():
            _exchange(folder, link, new.with_name(f"0-{secrets.token_hex(4)}"))
        else:
            os.replace(link, folder)
    except OSError:
        if link.is_symlink():
            link.unlink()
        raise
    return True


def _exchange(folder: Path, link: Path, old: Path) -> None:
    """A plain folder for the link, once: at no moment is there neither, where the kernel and the file system can."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = _AT_FDCWD, os.fsencode(folder), _AT_FDCWD, os.fsencode(link)
    if hasattr(libc, "renameat2") and libc.renameat2(*names, _RENAME_EXCHANGE) == 0:
        os.rename(link, old)
        return
    os.rename(folder, old)
    os.replace(link, folder)


def _one_by_one(folder: Path, new: Path) -> None:
    written = {path.relative_to(new) for path in new.glob("*/*.json")}
    for path in written:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(new / path, folder / path)
    for path in folder.glob("*/*.json"):
        if path.relative_to(folder) not in written:
            path.unlink()
    shutil.rmtree(new)


def _flush(new: Path) -> None:
    """The names too are on the disk before the link leads to them."""
    for folder in [*(path for path in new.iterdir() if path.is_dir()), new, new.parent]:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with suppress(OSError):  # not every file system flushes a folder
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _clear(beside: Path, shown: str) -> None:
    """Remove what is neither shown nor among the last; what cannot be removed costs nothing but space."""
    folders = sorted(beside.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in [one for one in folders if one.name != shown][KEPT:]:
        shutil.rmtree(path, ignore_errors=True)


def _unwritable(folder: Path, error: OSError) -> SnapshotError:
    return SnapshotError(f"the snapshots {folder} cannot be written, and were not changed: {snapshot.why(error)}.")
