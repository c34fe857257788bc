"""Dispatch: which job of a cluster goes to which node, whose turn it is, what a lost node costs; it sends nothing.

A job is a trial or a round. Every method is called under one lock, the owner's.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from autotune.device import Device
from autotune.trial import Trial

from .shipment import Shipment

MOST_ATTEMPTS = 3
"""How often a job is begun, on other nodes where there are any, before it is LOST."""

_numbers = itertools.count(1)


@dataclass(slots=True, eq=False)
class Job:
    """A trial or a round on its way, and who waits for its outcomes."""

    trials: tuple[Trial, ...]
    request: Mapping[str, Any]
    shipment: Shipment
    future: Future[Any]
    number: int = field(default_factory=lambda: next(_numbers))
    attempts: int = 0
    avoided: set[str] = field(default_factory=set)
    """The nodes that it was lost on."""
    homeless_since_s: float | None = None
    """Since when no node has its SKU."""
    ended: bool = False

    @property
    def sku(self) -> str:
        """Of all its trials."""
        return self.trials[0].sku

    @property
    def study(self) -> tuple[str, str, str]:
        """What takes turns with the others that share the executor."""
        return self.trials[0].workload.name, self.trials[0].problem.text, self.sku

    @property
    def seats(self) -> int:
        """Devices that it needs at once."""
        return max(1, self.trials[0].gpus)


@dataclass(slots=True, eq=False)
class Node:
    """A node of the cluster as far as jobs are concerned."""

    key: str
    """Of the cluster's own."""
    name: str
    devices: tuple[Device, ...]
    slots: Mapping[str, int]
    jobs: dict[int, Job] = field(default_factory=dict)
    shipped: set[str] = field(default_factory=set)
    """The keys of the shipments that it has."""

    def room(self, sku: str) -> int:
        """How many more devices' worth of work it can usefully hold."""
        return self.slots.get(sku, 0) - sum(job.seats for job in self.jobs.values() if job.sku == sku)

    def count(self, sku: str) -> int:
        """Of its devices."""
        return sum(device.sku == sku for device in self.devices)


class Dispatch:
    """The nodes and the queue: one for each SKU, in which studies take turns."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.known: set[str] = set()
        """Every SKU that was ever here."""
        self._waiting: dict[str, dict[tuple[str, str, str], deque[Job]]] = {}

    def join(self, node: Node) -> None:
        """Use it from now on."""
        self.nodes[node.key] = node
        self.known |= set(node.slots)

    def leave(self, key: str) -> list[Job]:
        """Use it no more; the jobs that were there."""
        node = self.nodes.pop(key, None)
        return list(node.jobs.values()) if node else []

    def queue(self, job: Job) -> None:
        """Behind those of its own study."""
        self._study(job).append(job)

    def queue_first(self, job: Job) -> None:
        """Before all others: its study is next, too."""
        waiting = self._waiting.setdefault(job.sku, {})
        line = waiting.pop(job.study, deque())
        line.appendleft(job)
        self._waiting[job.sku] = {job.study: line, **waiting}

    def retry(self, job: Job, node: Node) -> bool:
        """Queue it again after the node failed it; False where that happened too often."""
        node.jobs.pop(job.number, None)
        job.avoided.add(node.key)
        if job.attempts >= MOST_ATTEMPTS:
            return False
        self.queue_first(job)
        return True

    def placed(self) -> Iterator[tuple[Job, Node]]:
        """What can be sent now, each to the node with most room for it."""
        for sku in list(self._waiting):
            while (job := self._next(sku)) and (node := self._place(job)):
                self._take(job)
                job.attempts += 1
                node.jobs[job.number] = job
                yield job, node

    def waiting(self) -> list[Job]:
        """What has no node."""
        return [job for lines in self._waiting.values() for line in lines.values() for job in line]

    def drop(self, job: Job) -> None:
        """It waits no more."""
        self._study(job).remove(job)

    def homeless(self, now_s: float, patience_s: float) -> list[Job]:
        """The waiting jobs whose SKU no node has had for so long."""
        for job in self.waiting():
            if any(node.count(job.sku) >= job.seats for node in self.nodes.values()):
                job.homeless_since_s = None
            elif job.homeless_since_s is None:
                job.homeless_since_s = now_s
        since = ((job, job.homeless_since_s) for job in self.waiting())
        return [job for job, since_s in since if since_s is not None and now_s - since_s > patience_s]

    def largest(self, sku: str) -> Node | None:
        """The node with most devices of that SKU."""
        with_some = [node for node in self.nodes.values() if node.count(sku)]
        return max(with_some, key=lambda node: node.count(sku), default=None)

    def devices(self) -> Sequence[Device]:
        """Of all nodes."""
        return [device for node in self.nodes.values() for device in node.devices]

    def _study(self, job: Job) -> deque[Job]:
        return self._waiting.setdefault(job.sku, {}).setdefault(job.study, deque())

    def _next(self, sku: str) -> Job | None:
        """Of the study whose turn it is; what was withdrawn meanwhile is passed over."""
        waiting = self._waiting[sku]
        for study in list(waiting):
            line = waiting[study]
            while line and line[0].future.cancelled():
                line.popleft()
            if line:
                return line[0]
            del waiting[study]
        return None

    def _take(self, job: Job) -> None:
        """Its study is the last in turn from here on."""
        waiting = self._waiting[job.sku]
        line = waiting.pop(job.study)
        line.popleft()
        if line:
            waiting[job.study] = line

    def _place(self, job: Job) -> Node | None:
        able = [node for node in self.nodes.values() if node.room(job.sku) >= job.seats <= node.count(job.sku)]
        return max(able, key=lambda node: (node.key not in job.avoided, node.room(job.sku)), default=None)
