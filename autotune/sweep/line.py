"""Line: who of those that wait is next; for each workload and problem one SKU goes first and the others follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from autotune.sweep.budget import Item
from autotune.sweep.due import DueKind

Group = tuple[str, str]


class Line:
    """Items in the order of their importance, which is kept as far as the rules let it."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._waiting = list(items)
        self._running: list[Item] = []
        self._led: set[Group] = set()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._running)

    def take(self) -> Item | None:
        """The next; None where all that wait follow one that runs, or nothing waits.

        Of those that may begin, the first on the SKU on which the least is running: no SKU idles while another has all
        the threads. Who follows starts from the winner that the leader found.
        """
        busy = Counter(item.plan.device.sku for item in self._running)
        item = min(self._ready(), key=lambda item: busy[item.plan.device.sku], default=None)
        if item is not None:
            self._waiting.remove(item)
            self._running.append(item)
        return item

    def leave(self, item: Item) -> None:
        """It is done."""
        self._running.remove(item)
        self._led.add(_group(item))

    def _ready(self) -> list[Item]:
        leading, ready = {_group(item) for item in self._running if _leads(item)}, list[Item]()
        for item in self._waiting:
            group = _group(item)
            if not _leads(item) or group in self._led or group not in leading:
                ready.append(item)
                leading.add(group)
        return ready


def _leads(item: Item) -> bool:
    """Whether it is a study, which finds something that others may start from."""
    return item.due.kind in (DueKind.NEVER_TUNED, DueKind.HARD_STALE)


def _group(item: Item) -> Group:
    return item.plan.workload.name, item.plan.problem.text
