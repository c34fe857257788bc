"""Claims: a study is driven by one process at a time, and the claim of one that was killed ends with it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from sqlalchemy import Connection, text

from autotune.errors import RegistryError
from autotune.registry import faults
from autotune.registry.database import Database


def claim(database: Database, digest: str, title: str) -> AbstractContextManager[None]:
    """Hold the study of that digest; RegistryError that names its title and its holder where another holds it."""
    if not database.is_sqlite:
        return _advisory_lock(database, digest, title)
    if database.path is None:  # in memory: nobody else sees it
        return nullcontext()
    return _file_lock(database.path.with_name(f"{database.path.name}-{digest}.lock"), title)


def _held(title: str, holder: str) -> RegistryError:
    return RegistryError(f"{title} is being run by {holder}; wait for it, or stop it first.")


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
            raise _held(title, f"process {holder}" if holder else "another process") from None
        if _is_still(path, file):
            return file
        os.close(file)  # its holder removed it after we had opened it


def _is_still(path: Path, file: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), path.stat())
    return False


@contextmanager
def _advisory_lock(database: Database, digest: str, title: str) -> Iterator[None]:
    """A lock of PostgreSQL's on a connection of its own; it ends with the connection."""
    key = int(digest, 16) - 2**63  # a signed 64-bit number
    with faults.translated(database.where):
        connection = database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        with faults.translated(database.where):
            _notice_lost_hosts(connection)
            if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}):
                raise _held(title, _holder(connection, key))
        yield
    finally:
        connection.invalidate()  # closed, not returned to the pool with its lock
        connection.close()


def _notice_lost_hosts(connection: Connection) -> None:
    """Let the server end the claim of a host that lost power or its network after a minute, not after two hours."""
    for setting, value in (("idle", 30), ("interval", 10), ("count", 3)):
        connection.execute(text(f"SELECT set_config('tcp_keepalives_{setting}', '{value}', false)"))


def _holder(connection: Connection, key: int) -> str:
    """The process by the name that `database` gives its connections, and its host."""
    row = connection.execute(
        text(
            "SELECT application_name, client_addr FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE locktype = 'advisory' AND granted AND objsubid = 1"
            " AND (classid::bigint << 32) | objid::bigint = :key"
        ),
        {"key": key},
    ).first()
    if row is None:
        return "another process"
    return f"{row.application_name or 'a process'} on {row.client_addr or 'the same host'}"
