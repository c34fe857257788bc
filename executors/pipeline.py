"""Pipeline: what a trial passes before it waits for a device: the compilers, and the trials with the same binary."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from autotune.ahead import Compiled
from autotune.device import Device
from autotune.measurement import Failure, FailureKind, Measurement, Outcome
from autotune.trial import Trial, WorkloadReference
from autotune.workload import Binary

from .compile_pool import CompilePool

SPARE = 4
"""Compiled trials beyond one for each compiler that may wait for the devices."""
_OWN_FAILURES = (FailureKind.LOST, FailureKind.TIMEOUT)
"""What may be the process's or the moment's doing: the other configuration is measured itself."""

Result = Future[Outcome]
Enqueue = Callable[[Trial, Result], None]


class Pipeline:
    """For all devices of one SKU. A server compiles for one workload at a time, replaced when another one comes.

    enqueue: takes what is ready for a device. waiting: how many are and have not started.
    """

    def __init__(
        self, device: Device, workers: int, enqueue: Enqueue, waiting: Callable[[], int], *, show_output: bool = False
    ) -> None:
        self._device, self._workers, self._show_output = device, workers, show_output
        self._enqueue, self._waiting = enqueue, waiting
        self._changing = threading.Lock()
        self._pool: CompilePool | None = None
        self._workload: WorkloadReference | None = None
        self._expected: Path | None = None
        self._closed = False
        self._measured: dict[tuple[object, ...], tuple[Trial, Result]] = {}

    @property
    def ahead(self) -> int:
        """How many trials more than it has devices this can hold usefully: none until it is known to compile."""
        return self._workers + SPARE if self._pool is not None and self._pool.serves else 0

    def expect(self, path: Path) -> None:
        """Start the server for the file that the first trial will be of."""
        with self._changing:
            if self._pool is None:
                self._pool, self._expected = self._new_pool(), path
                self._pool.expect(path)

    def submit(self, trial: Trial, future: Result) -> bool:
        """Compile the trial, then enqueue it; whether its workload is new here."""
        pool, new = self._pool_for(trial.workload)
        if trial.environment:  # a process of its own, which the compilers' is not
            self._enqueue(trial, future)
        else:
            compiling = pool.submit(trial, future.cancelled)
            compiling.add_done_callback(lambda done: self._pass_on(trial, future, done))
        return new

    def close(self) -> None:
        """Kill what compiles; what has not reached a device is enqueued, for its owner to withdraw."""
        with self._changing:
            self._closed = True
            pool, self._pool, self._workload = self._pool, None, None
        if pool is not None:
            pool.close()

    def _pool_for(self, workload: WorkloadReference) -> tuple[CompilePool, bool]:
        with self._changing:
            if self._pool is not None and workload == self._workload:
                return self._pool, False
            if self._pool is not None and self._workload is None and workload.path == self._expected:
                self._workload = workload
                return self._pool, True
            old = self._pool
            self._pool, self._workload = self._new_pool(), workload
            self._measured.clear()
            pool = self._pool
        if old is not None:
            old.close()
        return pool, True

    def _new_pool(self) -> CompilePool:
        most = self._workers + SPARE
        pool = CompilePool(
            self._device, self._workers, show_output=self._show_output, room=lambda: self._waiting() < most
        )
        if self._closed:  # by another thread, while a trial was on its way here
            pool.close()
        return pool

    def _pass_on(self, trial: Trial, future: Result, done: Future[Compiled]) -> None:
        """What goes wrong here is told to who waits: what a callback raises is lost, and waited for for ever."""
        try:
            self._compiled(trial, future, done.result())
        except Exception as error:
            if not future.done():
                future.set_exception(error)

    def _compiled(self, trial: Trial, future: Result, compiled: Compiled) -> None:
        if compiled.failure is not None:
            if future.set_running_or_notify_cancel():
                future.set_result(compiled.failure)
        elif compiled.binary is not None:
            self._measure_once(trial, future, compiled.binary)
        else:
            self._enqueue(trial, future)

    def _measure_once(self, trial: Trial, future: Result, binary: Binary) -> None:
        """Only the first of those with the same binary is measured; asked for again, it is measured again."""
        key = (trial.workload, trial.problem, trial.effort, trial.seed, binary.digest)
        with self._changing:
            first, measured = self._measured.get(key, (trial, future))
            if first.config == trial.config or (measured.done() and not _speaks_for_all(measured)):
                self._measured[key] = trial, future
                measured = future
        if measured is future:
            self._enqueue(trial, future)
        else:
            measured.add_done_callback(lambda done: self._copy(first, done, trial, future, binary))

    def _copy(self, first: Trial, measured: Result, trial: Trial, future: Result, binary: Binary) -> None:
        """Give the second what the first got, where that speaks of the binary; else measure it in its place."""
        if not _speaks_for_all(measured):
            self._measure_once(trial, future, binary)
        elif future.set_running_or_notify_cancel():
            future.set_result(_copied(measured.result(), first))


def _speaks_for_all(measured: Result) -> bool:
    """Whether what came of one configuration holds for every other with the same binary."""
    if measured.cancelled() or measured.exception() is not None:
        return False
    outcome = measured.result()
    return not (isinstance(outcome, Failure) and outcome.kind in _OWN_FAILURES)


def _copied(outcome: Outcome, first: Trial) -> Outcome:
    """It took no time of a device."""
    if isinstance(outcome, Measurement):
        return replace(outcome, same_binary_as=outcome.same_binary_as or first.config, phase_s={})
    return replace(outcome, phase_s={})
