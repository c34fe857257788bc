"""Account: the seconds of devices that a night has spent and promised; what they are spent on is in `budget`."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from autotune.sweep.budget import Item


class Account:
    """Of one night; its studies draw on it from their threads.

    spent_s: what the same night spent before it was interrupted.
    """

    def __init__(self, budget_s: float | None, spent_s: float, promised: Iterable[Item]) -> None:
        self._budget_s, self._spent_s = budget_s, spent_s
        self._promised = {item.due.target.text: item.cost_s for item in promised}
        self._turn = threading.Lock()

    @property
    def is_empty(self) -> bool:
        """Whether what was done took more than it was estimated to, so that nothing is left."""
        return self._budget_s is not None and self._spent_s >= self._budget_s

    def settle(self, item: Item, spent_s: float) -> None:
        """It took that much; the rest of what it was promised is free."""
        with self._turn:
            self._spent_s += spent_s
            self._promised.pop(item.due.target.text, None)

    def has_room_for(self, cost_s: float) -> bool:
        """Beside all that was promised to others."""
        with self._turn:
            return self._budget_s is None or self._spent_s + sum(self._promised.values()) + cost_s <= self._budget_s
