"""Sweep: a night from its agenda to its record; how the work is done is in `work`, what it means in `morning`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from autotune.errors import RegistryError
from autotune.event import Event
from autotune.executor import Executor
from autotune.registry import Registry
from autotune.sweep.agenda import NIGHTS_REMEMBERED, Agenda, agenda
from autotune.sweep.configuration import SweepConfiguration
from autotune.sweep.discovery import Discovery
from autotune.sweep.ledger import HeldLease, Ledger
from autotune.sweep.night import Deed, Night
from autotune.sweep.work import Tell, Work


class Sweep:
    """Does what is due, side by side, and keeps a night of it.

    begin: is told the agenda before anything of it is done. tell: each result, in the thread that called `run`.
    """

    def __init__(
        self,
        discovery: Discovery,
        configuration: SweepConfiguration,
        executor: Executor,
        registry: Registry,
        ledger: Ledger,
        begin: Callable[[Agenda], None] = lambda agenda: None,
        tell: Tell = lambda result, number, count: None,
    ) -> None:
        self._discovery, self._configuration = discovery, configuration
        self._executor, self._registry, self._ledger = executor, registry, ledger
        self._begin, self._tell = begin, tell

    def run(self) -> Night:
        """Everything that is due and within the budget; its winners are published at the end, all at once.

        On KeyboardInterrupt what is done is on record, nothing is published, and the next sweep goes on with the night.
        """
        with self._ledger.lease() as lease:
            staging = self._ledger.staging()
            tonight = self._agenda(staging)
            self._begin(tonight)
            results = Work(
                tonight, self._configuration, self._executor, self._registry, staging, self._ledger, lease, self._tell
            ).run()
            if lease.lost:
                raise RegistryError("another sweep took this one's place; what this one did is on record.")
            tuned = any(result.deed is Deed.TUNED for result in results)
            generation = self._ledger.publish() if tuned else None
            night = Night(
                started_at=tonight.started_at,
                ended_at=now(),
                results=tuple(results),
                events=tuple(self._events(lease)),
                generation=generation,
                missing=tonight.missing,
            )
            self._ledger.close(night)
        return night

    def _agenda(self, staging: Registry) -> Agenda:
        moment = now()
        history, unfinished = self._ledger.history(NIGHTS_REMEMBERED), self._ledger.unfinished(moment)
        return agenda(self._discovery, self._configuration, self._executor, staging, history, unfinished, moment)

    def _events(self, lease: HeldLease) -> Iterator[Event]:
        """Of the lease, and of what else keeps any."""
        if lease.resumed is not None:
            yield lease.resumed
        for source in (self._executor, self._registry):
            yield from getattr(source, "events", ())


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
