"""Work: the items of an agenda done side by side over one executor; what is done about each is in `visit`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

from autotune.errors import AutotuneError
from autotune.executor import Executor
from autotune.registry import Registry
from autotune.sweep.account import Account
from autotune.sweep.agenda import Agenda
from autotune.sweep.budget import Item
from autotune.sweep.configuration import SweepConfiguration
from autotune.sweep.due import DueKind
from autotune.sweep.ledger import HeldLease, Ledger
from autotune.sweep.line import Line
from autotune.sweep.night import Deed, Result
from autotune.sweep.past import current
from autotune.sweep.share import Shares
from autotune.sweep.visit import WAITS, Visit, result

TICK_S = 0.25
"""How often it is asked whether the lease still holds."""

Tell = Callable[[Result, int, int], None]
"""A result, which it is, of how many."""


class Work:
    """Of one night. Each result is on record before anybody hears of it."""

    def __init__(
        self,
        agenda: Agenda,
        configuration: SweepConfiguration,
        executor: Executor,
        production: Registry,
        staging: Registry,
        ledger: Ledger,
        lease: HeldLease,
        tell: Tell,
    ) -> None:
        self._agenda, self._at_once = agenda, configuration.at_once
        self._staging, self._ledger, self._lease, self._tell = staging, ledger, lease, tell
        self._tuned = production.current()
        self._due = [item for item in agenda.items if _is_done_tonight(item)]
        self._account = Account(configuration.budget_gpu_s, agenda.spent_s, self._due)
        self._shares, self._stopping = Shares(executor), threading.Event()

    def run(self) -> list[Result]:
        """Of every target: those that this night had done before, those that are due, and those that are left."""
        results = list(self._agenda.done)
        with closing(self._side_by_side()) as done:
            for number, one in enumerate(done, 1):
                results.append(one)
                self._tell(one, number, len(self._due))
        return [*results, *self._left()]

    def _side_by_side(self) -> Generator[Result, None, None]:
        """KeyboardInterrupt lets those that run end at their next trial."""
        line, running = Line(self._due), dict[Future[Result | None], Item]()
        with ThreadPoolExecutor(self._at_once, "study") as pool:
            try:
                while len(line) and not self._lease.lost:
                    while len(running) < self._at_once and (item := line.take()):
                        running[pool.submit(self._visit, item)] = item
                    for future in wait(running, timeout=TICK_S, return_when=FIRST_COMPLETED).done:
                        line.leave(running.pop(future))
                        if (one := future.result()) is not None:
                            yield one
            finally:
                self._stopping.set()

    def _visit(self, item: Item) -> Result | None:
        """In a thread of its own; None where it was interrupted, so that there is nothing to say of it."""
        with self._shares.of(item.plan.device.sku) as share:
            visit = Visit(
                item=item,
                executor=share,
                registry=self._staging,
                in_production=there.config if (there := current(self._tuned, item.plan)) else None,
                night=self._agenda.number,
                check=self._check,
                has_room_for=self._account.has_room_for,
            )
            one = self._paid(visit)
            self._account.settle(item, share.gpu_s)
        if one is not None:
            one = replace(one, gpu_s=round(share.gpu_s, 3))
            self._ledger.note(self._agenda.started_at, _now(), one)
        return one

    def _paid(self, visit: Visit) -> Result | None:
        """Whatever goes wrong with one, the others of the night go on."""
        if self._stopping.is_set():
            return None
        if self._account.is_empty:
            return result(visit.item, Deed.OUT_OF_BUDGET, message=WAITS)
        try:
            return visit.pay()
        except KeyboardInterrupt:
            return None
        except AutotuneError as error:
            return result(visit.item, Deed.FAILED, message=str(error))
        except Exception as error:
            return result(visit.item, Deed.FAILED, message=f"{type(error).__name__}: {error}")

    def _left(self) -> list[Result]:
        return [
            result(item, Deed.LEFT)
            if item.due.kind is DueKind.FRESH
            else result(item, Deed.OUT_OF_BUDGET, message=WAITS)
            for item in self._agenda.items
            if not _is_done_tonight(item)
        ]

    def _check(self) -> None:
        """Studies are watched by this: in a thread nobody is told of Ctrl-C otherwise."""
        if self._stopping.is_set():
            raise KeyboardInterrupt


def _is_done_tonight(item: Item) -> bool:
    return item.affordable and item.due.kind is not DueKind.FRESH


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
