"""Session: the one connection that a registry writes to PostgreSQL over, and the claims that it holds there.

A claim is an advisory lock, and ends with the session that took it. What is written goes over that same session, so it
cannot land after the claim has ended, whatever became of the server in between: a new session first has the claims of
the old one again, and no other way to write is left.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from autotune.errors import RegistryError

_ME = text("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")
# Whatever the old session had under way has an end before anything is looked up or claimed anew.
_END = text(
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid = :pid AND backend_start = :backend_start"
)
_LOCK = text("SELECT pg_try_advisory_lock(:key)")
_UNLOCK = text("SELECT pg_advisory_unlock(:key)")
_HOLDER = text(
    "SELECT application_name, client_addr FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE locktype = 'advisory' AND granted AND objsubid = 1"
    " AND (classid::bigint << 32) | objid::bigint = :key"
)


def held(title: str, holder: str) -> RegistryError:
    """What one who comes too late is told."""
    return RegistryError(f"{title} is being run by {holder}; wait for it, or stop it first.")


class Session:
    """Used by one thread at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._backend: dict[str, Any] | None = None
        self._held: dict[int, str] = {}

    def connection(self) -> Connection:
        """One that holds every claim; RegistryError where another process has taken one of them meanwhile."""
        if self._connection is None or not self._answers(self._connection):
            self.close()
            self._connection = self._open()
        return self._connection

    def hold(self, key: int, title: str) -> None:
        """Claim the key until it is released; RegistryError that names its title and who holds it."""
        connection = self.connection()
        with connection.begin():
            if key in self._held or not connection.scalar(_LOCK, {"key": key}):
                raise held(title, _holder(connection, key))
        self._held[key] = title

    def release(self, key: int) -> None:
        """End the claim; nothing is raised where the server is away, which has ended it already."""
        self._held.pop(key, None)
        if self._connection is None:
            return
        if self._connection.invalidated:  # it would connect anew by itself, without the other claims
            self.close()
            return
        try:
            with self._connection.begin():
                self._connection.execute(_UNLOCK, {"key": key})
        except SQLAlchemyError:
            self.close()

    def close(self) -> None:
        """End the session, and with it on the server every lock."""
        if self._connection is not None:
            with suppress(SQLAlchemyError):
                self._connection.invalidate()  # closed, not returned to the pool with its locks
                self._connection.close()
            self._connection = None

    def _answers(self, connection: Connection) -> bool:
        """Whether it is the connection that it was; asked before each transaction, as a pool does."""
        raw = None if connection.invalidated else connection.connection.dbapi_connection
        try:
            return raw is not None and self._engine.dialect.do_ping(raw)
        except Exception:  # whatever the driver raises: another connection will tell
            return False

    def _open(self) -> Connection:
        connection = self._engine.connect()
        try:
            with connection.begin():
                _notice_lost_hosts(connection)
                if self._backend:
                    connection.execute(_END, self._backend)
                for key, title in self._held.items():
                    self._regain(connection, key, title)
                self._backend = dict(connection.execute(_ME).mappings().one())
        except BaseException:
            connection.invalidate()
            connection.close()
            raise
        return connection

    def _regain(self, connection: Connection, key: int, title: str) -> None:
        if not connection.scalar(_LOCK, {"key": key}):
            raise RegistryError(
                f"{title} was taken over by {_holder(connection, key)} while the database was away; what was recorded "
                f"until then is kept, and nothing more is written by this process."
            )


def _notice_lost_hosts(connection: Connection) -> None:
    """Let the server end the claim of a host that lost power or its network after a minute, not after two hours."""
    for setting, value in (("idle", 30), ("interval", 10), ("count", 3)):
        connection.execute(text(f"SELECT set_config('tcp_keepalives_{setting}', '{value}', false)"))


def _holder(connection: Connection, key: int) -> str:
    """The process by the name that `database` gives its connections, and its host."""
    row = connection.execute(_HOLDER, {"key": key}).first()
    if row is None:
        return "another process"
    return f"{row.application_name or 'a process'} on {row.client_addr or 'the same host'}"
