"""Patience: how long a registry waits for a database that went away; which faults may pass by themselves: `faults`."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from autotune.errors import RegistryError
from autotune.event import Event, EventKind
from autotune.registry.faults import PassingFault

PATIENCE_S = 600.0
"""A restart takes seconds, a failover or a maintenance window minutes; finished trials wait in memory meanwhile. What
has not come back after ten minutes will not without somebody, and the same command resumes."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""Each pause is twice the last, and a random share of it is left out: a whole fleet comes back at once otherwise."""

T = TypeVar("T")


class Patience:
    """Of one registry, and what it had to wait for."""

    def __init__(self, where: str, longest_s: float) -> None:
        self._where, self._longest_s = where, longest_s
        self.events: list[Event] = []

    def attempt(self, action: Callable[[bool], T]) -> T:
        """What the action gives; it is told whether it is a repetition: the answer to its first may have been lost."""
        try:
            return action(False)
        except PassingFault as fault:
            if self._longest_s <= 0:
                raise
            first = fault
        try:
            return self._insist(action, first)
        except KeyboardInterrupt:  # somebody wants it to end: nothing of what follows waits once more
            self._longest_s = 0.0
            raise

    def _insist(self, action: Callable[[bool], T], fault: PassingFault) -> T:
        first, began_s, began_at = fault, time.monotonic(), datetime.now(UTC)
        pause_s = FIRST_PAUSE_S
        while True:
            left_s = began_s + self._longest_s - time.monotonic()
            if left_s <= 0:
                raise RegistryError(f"{fault} (It was waited for {self._longest_s:.0f} s.)") from fault
            time.sleep(min(left_s, pause_s * random.uniform(0.5, 1)))
            try:
                answer = action(True)
            except PassingFault as error:
                fault, pause_s = error, min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                if not first.contention:
                    self.events.append(self._event(first, began_at, time.monotonic() - began_s))
                return answer

    def _event(self, fault: PassingFault, began_at: datetime, away_s: float) -> Event:
        return Event(
            kind=EventKind.DATABASE,
            at=began_at.isoformat(timespec="seconds"),
            node=socket.gethostname(),
            device="",
            message=f"{self._where} could not be used for {away_s:.1f} s: {fault.what}.",
        )
