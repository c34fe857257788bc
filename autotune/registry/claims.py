"""Claims: a study is driven by one process at a time, and the claim of one that was killed ends with it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from autotune.errors import RegistryError
from autotune.registry import faults
from autotune.registry.database import Database
from autotune.registry.session import held


def claim(database: Database, digest: str, title: str) -> AbstractContextManager[None]:
    """Hold the study of that digest; RegistryError that names its title and its holder where another holds it."""
    if not database.is_sqlite:
        return _advisory_lock(database, digest, title)
    if database.path is None:  # in memory: nobody else sees it
        return nullcontext()
    return _file_lock(database.path.with_name(f"{database.path.name}-{digest}.lock"), title)


@contextmanager
def _file_lock(path: Path, title: str) -> Iterator[None]:
    """A lock of the kernel's on a file beside the database; it ends with the process, whatever ends that."""
    file = _lock(path, title)
    try:
        with suppress(OSError):  # a full disk: only the message of the next one is poorer
            os.ftruncate(file, 0)
            os.pwrite(file, str(os.getpid()).encode(), 0)
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # before the lock ends, so that it is still ours
        os.close(file)


def _lock(path: Path, title: str) -> int:
    """The locked file. Its descriptor is not inherited: no worker that outlives its study keeps the claim."""
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise RegistryError(f"{path} cannot be written ({error.strerror}); {faults.ELSEWHERE}.") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 20, 0).decode()
            os.close(file)
            raise held(title, f"process {holder}" if holder else "another process") from None
        if _is_still(path, file):
            return file
        os.close(file)  # its holder removed it after we had opened it


def _is_still(path: Path, file: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), path.stat())
    return False


@contextmanager
def _advisory_lock(database: Database, digest: str, title: str) -> Iterator[None]:
    """A lock of PostgreSQL's; it ends with the session that all is written over, see `session`."""
    key = int(digest, 16) - 2**63  # a signed 64-bit number
    database.hold(key, title)
    try:
        yield
    finally:
        database.release(key)
