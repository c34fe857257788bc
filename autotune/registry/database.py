"""Database: one engine, its transactions and its schema; what is asked of it is in `registry`."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, IntegrityError
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

import autotune
from autotune.errors import RegistryError
from autotune.registry import faults
from autotune.registry.patience import PATIENCE_S, Patience
from autotune.registry.session import Session
from autotune.registry.tables import HEAD, metadata, tuned_configs

BUSY_TIMEOUT_S = 30

_EXPECTED = "expected sqlite:////absolute/path.db or postgresql://user@host/name"
_MIGRATION = 0x6175746F74756E65  # "autotune": the advisory lock under which a PostgreSQL database is migrated
_SECRET = ("password", "sslpassword")
_WRITES = "autotune_writes"
# A host that vanished sends no goodbye: the driver is told to notice within a minute, not after hours.
_POSTGRESQL = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}

T = TypeVar("T")


class Database:
    """A SQLite file, SQLite in memory, or PostgreSQL; opened with the current schema.

    patience_s: how long what is asked of it waits where it goes away after that.
    """

    def __init__(self, url: str, patience_s: float = PATIENCE_S) -> None:
        self._url = _parsed(url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self.path = _path(self._url) if self.is_sqlite else None
        shown = self._url.set(drivername=self._url.get_backend_name()).difference_update_query(_SECRET)
        self.where = str(self.path or shown.render_as_string(hide_password=True))
        self.patience = Patience(self.where, patience_s)
        if self.path is not None:
            faults.make_folder(self.path.parent)
        self._turn = threading.RLock()
        with faults.translated(self.where):
            self.engine = self._create_engine()
            self._session = None if self.is_sqlite else Session(self.engine)
            try:
                self._prepare()
            except BaseException:
                self.close()
                raise

    def read(self, step: Callable[[Connection], T]) -> T:
        """What the step gives, in a transaction; a database that went away is waited for."""

        def attempt(_: bool) -> T:
            with self.reading() as connection:
                return step(connection)

        return self.patience.attempt(attempt)

    def write(self, step: Callable[[Connection], T], landed: Callable[[Connection], T | None] = lambda _: None) -> T:
        """What the step gives, in a transaction that is committed; a database that went away is waited for.

        landed: asked before a repetition for what the step would give, where the first one did land and only the
        answer was lost; None where it did not, or where the step may be repeated as it is.
        """

        def attempt(again: bool) -> T:
            with self.writing() as connection:
                there = landed(connection) if again else None
                return step(connection) if there is None else there

        return self.patience.attempt(attempt)

    def write_where_free(
        self, step: Callable[[Connection], T], landed: Callable[[Connection], T | None] = lambda _: None
    ) -> T:
        """As `write`, and once more where another process was first to write the same row; the step sees that row."""
        try:
            return self.write(step, landed)
        except IntegrityError:
            try:
                return self.write(step, landed)
            except IntegrityError as error:
                raise RegistryError(f"{self.where} refuses the entry: {error.orig}.") from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection in a transaction: all that it reads is of one moment. Nothing is waited for."""
        with faults.translated(self.where), self._turn, self.engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a transaction, committed at the end; an exception rolls it back. Nothing is waited for."""
        with faults.translated(self.where), self._turn:
            if self._session is None:
                with self._writer.begin() as connection:
                    yield connection
            else:
                connection = self._session.connection()
                with connection.begin():
                    yield connection

    def hold(self, key: int, title: str) -> None:
        """Claim the key on PostgreSQL, see `Session`; a database that went away is waited for."""

        def attempt(_: bool) -> None:
            with faults.translated(self.where), self._turn:
                if self._session is not None:
                    self._session.hold(key, title)

        self.patience.attempt(attempt)

    def release(self, key: int) -> None:
        """The end of what `hold` began."""
        with self._turn:
            if self._session is not None:
                self._session.release(key)

    def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            self._session.close()
        self.engine.dispose()

    @property
    def _writer(self) -> Engine:
        return self.engine.execution_options(**{_WRITES: True})

    def _create_engine(self) -> Engine:
        if not self.is_sqlite:
            arguments = {"application_name": f"autotune, process {os.getpid()},", **_POSTGRESQL}
            return create_engine(self._url, pool_pre_ping=True, connect_args=arguments)
        if self.path is None:  # a second connection would be a second database
            engine = create_engine(self._url, poolclass=StaticPool, connect_args={"check_same_thread": False})
        else:
            engine = create_engine(self._url.set(database=str(self.path)), connect_args={"timeout": BUSY_TIMEOUT_S})
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _prepare(self) -> None:
        """Make the schema current; alembic is imported only where it is not."""
        with self.engine.begin() as connection:
            if _revision(connection) == HEAD:
                return
            self._check_ours(connection)
        with self._alone(), self._writer.connect() as connection:
            self._pragma(connection, "journal_mode=WAL")
            self._pragma(connection, "foreign_keys=OFF")  # altering a table drops and renames it
            try:
                with connection.begin():
                    self._migrate(connection)
            finally:
                self._pragma(connection, "foreign_keys=ON")

    def _check_ours(self, connection: Connection) -> None:
        from autotune.registry import migrations

        revision, tables = _revision(connection), set(inspect(connection).get_table_names())
        strange = revision is not None and revision not in migrations.known_revisions()
        if strange and tuned_configs.name in tables:
            raise RegistryError(
                f"{self.where} is from a newer version: its schema is {revision}, and autotune {autotune.__version__} "
                f"knows up to {HEAD}; upgrade with `pip install -U gpu-autotune`."
            )
        if strange or (revision is None and tables & metadata.tables.keys()):
            raise RegistryError(f"{self.where} holds another program's tables; {faults.ELSEWHERE}.")

    def _migrate(self, connection: Connection) -> None:
        from autotune.registry import migrations

        if not self.is_sqlite:  # SQLite has one writer at a time anyway
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION})
        self._check_ours(connection)  # again: another process may have been quicker
        migrations.upgrade(connection)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Of several processes that open a new file at once, one makes it: the switch to WAL waits for no lock."""
        if self.path is None:
            yield
            return
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with suppress(OSError):  # not every network file system locks a folder
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _pragma(self, connection: Connection, pragma: str) -> None:
        """Outside of any transaction, where alone these two have an effect."""
        raw = connection.connection.driver_connection
        if isinstance(raw, sqlite3.Connection):
            raw.execute(f"PRAGMA {pragma}")


def _revision(connection: Connection) -> str | None:
    """Of the schema that is there; None where there is none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _parsed(url: str) -> URL:
    """The URL with the driver that we install; nothing of it is repeated in an error, it may hold a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise RegistryError(f"the database is not given by a URL; {_EXPECTED}.") from None
    if parsed.drivername in ("postgres", "postgresql"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise RegistryError(f"autotune cannot use a database of {parsed.drivername}://…; {_EXPECTED}.")
    return parsed


def _path(url: URL) -> Path | None:
    """Of a SQLite file; None in memory."""
    return None if url.database in (None, "", ":memory:") else Path(str(url.database)).expanduser().absolute()


def _configure_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we begin our transactions: by itself the driver begins too late for a reader
    connection.execute("PRAGMA synchronous=NORMAL")  # with WAL: safe against a kill; a power cut costs the last ones
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    # One that began as a reader cannot wait for another writer: SQLite fails it at once.
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
