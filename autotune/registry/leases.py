"""Leases: what one coordinator of a fleet does at a time; who drives one study is in `claims`.

A lease is a row with an end. Its holder moves the end while it lives; whoever comes after the end takes the row over.
The clock of the database's server says what time it is, so that hosts need not agree on it.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, text, update

from autotune.errors import RegistryError
from autotune.event import Event, EventKind
from autotune.registry.database import Database
from autotune.registry.tables import leases

RENEWALS = 3
"""As often a lease is renewed in its time: two may fail."""

_SQLITE_NOW = "SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who has, or had, a lease; times are UTC, ISO 8601, by the clock of the database's server."""

    host: str
    pid: int
    taken_at: str
    expires_at: str


class Lease:
    """One that is held; `lost` says whether it still is."""

    def __init__(self, database: Database, name: str, seconds: float) -> None:
        self._database, self._name, self._seconds = database, name, seconds
        self._token = secrets.token_hex(8)
        self._until_s, self._lost = 0.0, False
        self.previous: Holder | None = None
        """Whose it was, where that one ended without giving it back."""

    @property
    def lost(self) -> bool:
        """Whether another one may have it now; asked of the database, and waited for, where that is not certain."""
        if not self._lost and _now_s() >= self._until_s:
            self._extend(self._database.write(self._renewed_at))
        return self._lost

    @property
    def resumed(self) -> Event | None:
        """What a report says where it was another's, who did not finish; None where it was free."""
        if self.previous is None:
            return None
        return Event(
            kind=EventKind.RESUMED,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            node=self.previous.host,
            device="",
            message=f"{self._name} was begun by process {self.previous.pid} on {self.previous.host} at "
            f"{self.previous.taken_at}, which ended without finishing; its lease ended at {self.previous.expires_at}.",
        )

    def take(self) -> None:
        """Or RegistryError that says who has it, and until when."""
        asked_s = _now_s()
        self.previous = self._database.write_where_free(self._take)
        self._until_s = asked_s + self._seconds

    def renew(self) -> None:
        """Once, and nothing is waited for: it is tried again before it is too late."""
        with suppress(RegistryError):
            with self._database.writing() as connection:
                renewed_at = self._renewed_at(connection)
            self._extend(renewed_at)

    def give_back(self) -> None:
        """Let the next one have it at once; where the database is away it ends by itself."""
        with suppress(RegistryError), self._database.writing() as connection:
            connection.execute(delete(leases).where(leases.c.name == self._name, leases.c.token == self._token))

    def _extend(self, renewed_at_s: float | None) -> None:
        """A renewal holds from the moment at which it was asked for."""
        if renewed_at_s is None:
            self._lost = True
        else:
            self._until_s = renewed_at_s + self._seconds

    def _take(self, connection: Connection) -> Holder | None:
        now = _server_now(connection)
        row = connection.execute(select(leases).where(leases.c.name == self._name).with_for_update()).first()
        free = row is None or row.token == self._token  # ours: the answer to a first attempt was lost
        if row is not None and not free and row.expires_at > _text(now):
            raise RegistryError(
                f"{self._name} is being run by process {row.pid} on {row.host} since {row.taken_at}, whose lease holds "
                f"until {row.expires_at} (and longer while it runs); wait for it, or stop it first."
            )
        values = {
            "name": self._name,
            "token": self._token,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "taken_at": _text(now),
            "expires_at": self._end(now),
        }
        if row is None:
            connection.execute(insert(leases), values)
            return None
        connection.execute(update(leases).where(leases.c.name == self._name), values)
        if free:
            return self.previous
        return Holder(host=row.host, pid=row.pid, taken_at=row.taken_at, expires_at=row.expires_at)

    def _renewed_at(self, connection: Connection) -> float | None:
        """When the renewal was asked for; None where the lease is another's. One that ended untaken is still ours."""
        asked_s = _now_s()
        mine = update(leases).where(leases.c.name == self._name, leases.c.token == self._token)
        changed = connection.execute(mine, {"expires_at": self._end(_server_now(connection))}).rowcount
        return asked_s if changed else None

    def _end(self, now: datetime) -> str:
        return _text(now + timedelta(seconds=self._seconds))


@contextmanager
def lease(database: Database, name: str, seconds: float) -> Iterator[Lease]:
    """Hold it, renewed by a thread, until the end of the block; RegistryError where another one holds it."""
    held, over = Lease(database, name, seconds), threading.Event()
    held.take()

    def renew() -> None:
        while not over.wait(seconds / RENEWALS):
            held.renew()

    thread = threading.Thread(target=renew, name=f"lease of {name}", daemon=True)
    thread.start()
    try:
        yield held
    finally:
        over.set()
        thread.join()
        held.give_back()


def _server_now(connection: Connection) -> datetime:
    """By the server's clock; on SQLite that is this host's."""
    if connection.dialect.name == "sqlite":
        return datetime.fromisoformat(
            connection.scalars(text("SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')")).one()
        )
    now: datetime = connection.scalars(text("SELECT clock_timestamp()")).one()
    return now.astimezone(UTC)


def _text(moment: datetime) -> str:
    """All of one length, so that they sort as text."""
    return moment.isoformat(timespec="milliseconds")


def _now_s() -> float:
    """On a clock that nobody sets, and that goes on while the host sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
