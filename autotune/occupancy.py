"""Occupancy: how much of a study its devices worked, and what they waited for; a study feeds it, results are shown."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from autotune.device import Device
from autotune.executor import Executor
from autotune.measurement import Failure, Measurement, Outcome
from autotune.round import Round
from autotune.trial import Trial

T = TypeVar("T", bound=Future[Any])

WORK = ("prepare", "warm_up", "measure", "verify")
"""The phases in which a device's process works on a trial; waiting for the device and starting up are none of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """A trial or a round in the executor's hands; of that time, a device worked on it at the very end."""

    submitted_s: float
    done_s: float
    busy_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """Where the time of the devices went; seconds of one device each, but for the start-up."""

    start_up_s: float
    """Until the first configuration was ready: processes start, files are loaded, the first kernel is compiled."""
    busy_s: float
    compilers_s: float
    """Idle, while trials were on their way to it: compiled, mostly."""
    coordinator_s: float
    """Idle, with no trial on its way: the search had not asked for one yet, or there was none left to ask for."""

    @property
    def idle_share(self) -> float:
        """Of the devices' time after the first configuration was ready."""
        idle_s = self.compilers_s + self.coordinator_s
        return idle_s / (idle_s + self.busy_s) if idle_s else 0.0

    def to_json(self) -> dict[str, float]:
        """Plain values for JSON."""
        seconds = {name: round(getattr(self, name), 3) for name in self.__slots__}
        return {"idle_share": round(self.idle_share, 4), **seconds}

    @property
    def text(self) -> str:
        """`idle for 4% of the time (waiting for compilers 0.4 s, for the search 0.1 s) after a start-up of 3.2 s`."""
        waits = f"waiting for compilers {self.compilers_s:.1f} s, for the search {self.coordinator_s:.1f} s"
        return f"idle for {self.idle_share:.0%} of the time ({waits}) after a start-up of {self.start_up_s:.1f} s"

    @classmethod
    def of(cls, stays: Iterable[Stay], *, devices: int) -> Occupancy | None:
        """Of so many equal devices, up to the last result; None where no device worked on anything.

        Between two events, of the devices that are idle so many wait for a compiler as trials are on their way.
        """
        stays = list(stays)
        ready_s = min((stay.done_s - stay.busy_s for stay in stays if stay.busy_s > 0), default=math.inf)
        if ready_s == math.inf:
            return None
        seconds = [0.0, 0.0, 0.0]
        for length_s, working, present in _spans(stays, ready_s):
            idle = devices - min(working, devices)
            waiting = min(idle, max(0, present - working))
            for index, count in enumerate((devices - idle, waiting, idle - waiting)):
                seconds[index] += count * length_s
        busy_s, compilers_s, coordinator_s = seconds
        start_up_s = max(0.0, ready_s - min(stay.submitted_s for stay in stays))
        return cls(start_up_s=start_up_s, busy_s=busy_s, compilers_s=compilers_s, coordinator_s=coordinator_s)


class MeteredExecutor:
    """An executor that notes when what is submitted comes back, and how long a device worked on it."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._stays: list[Stay] = []

    def occupancy(self, sku: str) -> Occupancy | None:
        """Of the devices of that SKU, so far."""
        count = sum(device.sku == sku for device in self.devices())
        return Occupancy.of(self._stays, devices=count)

    def devices(self) -> Sequence[Device]:
        """As the executor's."""
        return self._executor.devices()

    def expect(self, path: Path) -> None:
        """As the executor's."""
        self._executor.expect(path)

    def slots(self, sku: str) -> int:
        """As the executor's."""
        return self._executor.slots(sku)

    def submit(self, trial: Trial) -> Future[Outcome]:
        """As the executor's."""
        return self._watched(self._executor.submit(trial))

    def submit_round(self, round: Round) -> Future[tuple[Outcome, ...]]:  # noqa: A002 - the word
        """As the executor's."""
        return self._watched(self._executor.submit_round(round))

    def close(self) -> None:
        """As the executor's."""
        self._executor.close()

    def __enter__(self) -> Self:
        self._executor.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.__exit__(kind, error, trace)

    def _watched(self, future: T) -> T:
        submitted_s = time.monotonic()
        future.add_done_callback(lambda done: self._note(submitted_s, done))
        return future

    def _note(self, submitted_s: float, done: Future[Any]) -> None:
        if not done.cancelled() and done.exception() is None:
            stay = Stay(submitted_s=submitted_s, done_s=time.monotonic(), busy_s=_busy_s(done.result()))
            self._stays.append(stay)


def _busy_s(result: object) -> float:
    """Of one outcome, or of those of a round."""
    if isinstance(result, (Measurement, Failure)):
        return math.fsum(result.phase_s.get(phase, 0.0) for phase in WORK)
    return math.fsum(map(_busy_s, result)) if isinstance(result, tuple) else 0.0


def _spans(stays: list[Stay], ready_s: float) -> Iterable[tuple[float, int, int]]:
    """From `ready_s` on: how long no trial came, began or ended, how many were worked on then, how many were there."""
    changes = [(stay.submitted_s, 0, 1) for stay in stays] + [(stay.done_s, 0, -1) for stay in stays]
    for stay in (stay for stay in stays if stay.busy_s > 0):
        changes += [(stay.done_s - stay.busy_s, 1, 0), (stay.done_s, -1, 0)]
    working = present = 0
    before_s = ready_s
    for at_s, worked_on, there in sorted(changes):
        if at_s > before_s:
            yield at_s - before_s, working, present
            before_s = at_s
        working, present = working + worked_on, present + there
