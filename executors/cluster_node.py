"""ClusterNode: one host of a cluster, a LocalExecutor behind plain values; it knows nothing of Ray, which hosts it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import autotune
from autotune.device import why_no_gpu
from autotune.errors import ExecutorError, UserError, WorkloadChanged
from autotune.executor import ExecutorOptions
from autotune.round import Round
from autotune.trial import Trial

from .canary import CANARY
from .course import ROUND_S, START_LIMIT_S
from .local import LocalExecutor
from .shipment import Warehouse

GRACE_S = 60.0
"""For a trial that should have ended by its own limits, before this host's process itself is held to be broken."""
ABANDONED_S = 120.0
"""Without a question from the coordinator, which asks every second: it is gone, and so is who would have told us."""
SET_BY_RAY = "OMP_NUM_THREADS"
"""To 1 in every process that asks for no cores, which would slow down a workload that computes on the CPU."""

Answer = dict[str, Any]
T = TypeVar("T")


@dataclass(slots=True)
class _Job:
    future: Future[Any]
    limit_s: float
    since_s: float | None = None
    """When it was first seen to run; later where it waited for another study."""


class ClusterNode:
    """What is asked of it and what it answers are JSON values; every method is a coroutine of one event loop."""

    def __init__(self) -> None:
        self._jobs: dict[int, _Job] = {}
        self._paths: dict[str, asyncio.Future[Path]] = {}
        self._executor: LocalExecutor | None = None
        self._warehouse: Warehouse | None = None
        self._told = 0
        self._submitting = ThreadPoolExecutor(1, "autotune-submit")  # looking for others on a GPU may take seconds

    async def begin(self, asked: Mapping[str, Any]) -> Answer:
        """Find the devices and make them ready; a reason where that is refused."""
        if asked["version"] != autotune.__version__:
            return {"refused": f"it has autotune {autotune.__version__}; expected {asked['version']}"}
        if SET_BY_RAY not in _initial_environment():
            os.environ.pop(SET_BY_RAY, None)
        options = ExecutorOptions(device=asked["device"], show_output=asked["show_output"], shared=asked["shared"])
        canary = Path(asked["canary"]) if asked["canary"] else CANARY
        try:
            self._executor = LocalExecutor(options, compile_workers=asked["compile_workers"], canary=canary)
        except UserError as error:
            return {"refused": str(error)}
        self._warehouse = Warehouse()
        self._watching = asyncio.create_task(self._end_if_abandoned(asked.get("abandoned_s", ABANDONED_S)))
        return {**self._present(), "no_gpu": why_no_gpu(), "pid": os.getpid()}

    async def state(self) -> Answer:
        """What can be used now, what happened, and whether a trial has outlived all that should have ended it."""
        self._heard_s = time.monotonic()
        return {**self._present(), "overdue": self._overdue()}

    async def expect(self, source: Mapping[str, Any]) -> None:
        """As an executor's."""
        path = await self._path(source)
        if executor := self._executor:
            await self._aside(lambda: executor.expect(path))

    async def run(self, number: int, request: Mapping[str, Any], source: Mapping[str, Any]) -> Answer:
        """The outcomes of a trial or a round; what is wrong with the host or the file is told, not raised."""
        path = await self._path(source)
        try:
            future = await self._aside(lambda: self._submit(request, path))
            self._jobs[number] = _Job(future, _limit_s(request))
            try:
                result = await asyncio.wrap_future(future)
            finally:
                del self._jobs[number]
        except asyncio.CancelledError:
            said: Answer = {"withdrawn": True}
        except ExecutorError as error:
            said = {"broken": str(error)}
        except WorkloadChanged as error:
            said = {"changed": str(error)}
        except UserError as error:
            said = {"refused": str(error)}
        else:
            outcomes = result if isinstance(result, tuple) else (result,)
            said = {"outcomes": [one.to_json() for one in outcomes]}
        return {**said, "folder": str(path.parent), **self._present()}

    async def withdraw(self, number: int) -> None:
        """A trial that has not started; one that has runs on."""
        if number in self._jobs:
            self._jobs[number].future.cancel()

    async def close(self) -> None:
        """Kill what runs and remove what was shipped."""
        if self._executor:
            self._executor.close()
        if self._warehouse:
            self._warehouse.close()

    async def _end_if_abandoned(self, after_s: float) -> None:
        self._heard_s = time.monotonic()
        while time.monotonic() - self._heard_s < after_s:
            await asyncio.sleep(after_s / 10)
        await self.close()
        os._exit(1)

    async def _aside(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._submitting, call)

    def _submit(self, request: Mapping[str, Any], path: Path) -> Future[Any]:
        assert self._executor is not None
        if "round" in request:
            asked = request["round"]
            trials = [{**trial, "path": str(path)} for trial in asked["trials"]]
            return self._executor.submit_round(Round.from_json({**asked, "trials": trials}))
        return self._executor.submit(Trial.from_json({**request["trial"], "path": str(path)}))

    async def _path(self, source: Mapping[str, Any]) -> Path:
        """Where the file lies here. Its text comes with the first call only, which others may overtake."""
        key = source["key"]
        arrived = self._paths.setdefault(key, asyncio.get_running_loop().create_future())
        if "sources" in source and not arrived.done():
            assert self._warehouse is not None
            arrived.set_result(self._warehouse.store(key, source["name"], source["sources"]))
        return await asyncio.shield(arrived)

    def _present(self) -> Answer:
        assert self._executor is not None
        devices, events = self._executor.devices(), self._executor.events
        fresh, self._told = events[self._told :], len(events)
        return {
            "devices": [device.to_json() for device in devices],
            "slots": {device.sku: self._executor.slots(device.sku) for device in devices},
            "events": [event.to_json() for event in fresh],
        }

    def _overdue(self) -> bool:
        """Time in which another study has the device is nobody's, and all of it starts anew after that."""
        now_s = time.monotonic()
        waits = self._executor is not None and self._executor.waits
        for job in self._jobs.values():
            if job.since_s is None or waits:
                job.since_s = now_s if job.future.running() else None
        return any(job.since_s is not None and now_s - job.since_s > job.limit_s for job in self._jobs.values())


def _limit_s(request: Mapping[str, Any]) -> float:
    trials = request["round"]["trials"] if "round" in request else [request["trial"]]
    return START_LIMIT_S + GRACE_S + sum(float(trial["timeout_s"]) + ROUND_S for trial in trials)


def _initial_environment() -> set[str]:
    """The names of the variables that this process was started with."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/environ").read_bytes().split(b"\0")
        return {line.partition(b"=")[0].decode(errors="replace") for line in lines}
    return {SET_BY_RAY}
