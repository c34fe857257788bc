"""Ledger: what a sweep asks of the registry beyond what a study does: to be alone, to publish at once, to be on record.

`NightlyRegistry` is that contract, in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from autotune.event import Event
from autotune.registry import Registry
from autotune.sweep.night import Night, Result

LEASE, LEASE_S = "the nightly sweep", 120.0
COMPLETE, UNDER_WAY = "complete", "under way"
SAME_NIGHT_S = 16 * 3600.0
"""A sweep that is started later than this after one that did not end begins a night of its own."""
FIRST_LOOK, MOST_ROWS = 64, 1 << 20


class HeldLease(Protocol):
    """One that is held."""

    @property
    def lost(self) -> bool:
        """Whether another one may have it now."""

    @property
    def resumed(self) -> Event | None:
        """What a report says where its last holder did not finish; None where it was free."""


class NightRow(Protocol):
    """What `record_night` kept."""

    @property
    def started_at(self) -> str:
        """Of the night, not of the row: rows of one night share it."""

    @property
    def state(self) -> str:
        """COMPLETE, or UNDER_WAY where it holds one result of a night that goes on."""

    @property
    def document(self) -> Mapping[str, Any]:
        """As `Night.to_json` gives it."""


class NightlyRegistry(Protocol):
    """What is expected of the registry."""

    def lease(self, name: str, seconds: float) -> AbstractContextManager[HeldLease]:
        """One holder at a time; RegistryError that names it where another has it. It is renewed while it is held."""

    def generation(self) -> int | None:
        """The number of the open generation, also of one that a killed sweep left; None where there are none."""

    def staging(self, number: int) -> Registry:
        """A registry whose `promote` goes into that generation, and whose `current` sees it."""

    def record_night(self, *, started_at: str, ended_at: str, state: str, document: Mapping[str, Any]) -> int:
        """Keep a row; from any thread."""

    def nights(self, limit: int | None = None) -> Sequence[NightRow]:
        """The newest first."""


class Ledger:
    """The nights of a registry, and the winners of this one.

    Each result is a row of its own as soon as it is there, so that a kill costs none; the complete night is the last
    row. Whoever comes after a killed sweep finds the night that has no such row, and goes on with it.
    """

    def __init__(self, nightly: NightlyRegistry, registry: Registry, publish: Callable[[int | None], object]) -> None:
        self._nightly, self._registry, self._publish = nightly, registry, publish
        self._generation: int | None = None

    def lease(self) -> AbstractContextManager[HeldLease]:
        """Be the only sweep."""
        return self._nightly.lease(LEASE, LEASE_S)

    def staging(self) -> Registry:
        """Where this night's winners are put, and seen."""
        self._generation = self._nightly.generation()
        return self._registry if self._generation is None else self._nightly.staging(self._generation)

    def publish(self) -> int | None:
        """Make them current, all at once; the generation's number."""
        self._publish(self._generation)
        return self._generation

    def note(self, started_at: str, now: str, result: Result) -> None:
        """Keep one result of the night that began then."""
        self._record(Night(started_at=started_at, ended_at=now, results=(result,)), UNDER_WAY)

    def close(self, night: Night) -> None:
        """Keep all of it: it is over."""
        self._record(night, COMPLETE)

    def history(self, limit: int) -> list[Night]:
        """The nights that are over, the newest first."""
        count = FIRST_LOOK
        while True:
            rows = self._nightly.nights(count)
            complete = [row for row in rows if row.state == COMPLETE]
            if len(complete) >= limit or len(rows) < count or count >= MOST_ROWS:
                return [Night.from_json(row.document) for row in complete[:limit]]
            count *= 4

    def unfinished(self, now: str) -> Night | None:
        """The last night, where it was not closed and is not long past: what it has done so far."""
        count = FIRST_LOOK
        while True:
            rows = self._nightly.nights(count)
            newest = next((row.started_at for row in rows), None)
            own = [row for row in rows if row.started_at == newest]
            if len(own) < len(rows) or len(rows) < count or count >= MOST_ROWS:
                break
            count *= 4
        over = newest is None or any(row.state == COMPLETE for row in own)
        if over or newest is None or _seconds(newest, now) > SAME_NIGHT_S:
            return None
        parts = [Night.from_json(row.document) for row in reversed(own)]
        return replace(parts[-1], results=tuple(result for part in parts for result in part.results))

    def _record(self, night: Night, state: str) -> None:
        self._nightly.record_night(
            started_at=night.started_at, ended_at=night.ended_at, state=state, document=night.to_json()
        )


def _seconds(since: str, until: str) -> float:
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()
