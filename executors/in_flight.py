"""InFlight: outcomes that are known at once, handed out as if each took a while and many were under way."""

from __future__ import annotations

import random
from concurrent.futures import Future

from autotune.measurement import Outcome


class InFlight:
    """Holds back every outcome until `count` are held; then a random one of them becomes known with each new one.

    So an answer comes only after `count` - 1 others were asked for, in an order that the seed decides and no clock.
    Where no more are asked for, each one that is taken lets the next be known.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._random = count, random.Random(seed)
        self._held: list[_Held] = []
        self._untaken: set[_Held] = set()
        self._looked = self._draining = False

    def hold(self, outcome: Outcome) -> Future[Outcome]:
        """The outcome, to be known later."""
        self._looked = self._draining = False
        held = _Held(self, outcome)
        self._held.append(held)
        if len(self._held) >= self._count:
            self._release_any()
        return held

    def look_for_room(self) -> None:
        """Whoever looks twice, asked for nothing and took nothing in between, has no more to ask for."""
        if self._looked and not self._untaken:
            self._draining = True
            self._release_any()
        self._looked = True

    def take(self, held: _Held) -> None:
        """Its result is asked for."""
        if held in self._held:  # whoever waits for this one alone asks for nothing new
            self._release(held)
        if held in self._untaken:
            self._untaken.discard(held)
            self._looked = False
            if self._draining:
                self._release_any()

    def _release_any(self) -> None:
        if self._held:
            self._release(self._random.choice(self._held))

    def _release(self, held: _Held) -> None:
        self._held.remove(held)
        if held.set_running_or_notify_cancel():
            held.set_result(held.outcome)  # what watches it looks at the result, and takes it not
            self._untaken.add(held)


class _Held(Future[Outcome]):
    def __init__(self, flight: InFlight, outcome: Outcome) -> None:
        super().__init__()
        self._flight, self.outcome = flight, outcome

    def result(self, timeout: float | None = None) -> Outcome:
        self._flight.take(self)
        return super().result(timeout)
