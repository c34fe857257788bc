"""LocalExecutor: runs trials on this host, in one isolated process per device, devices side by side."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from autotune.device import Device, devices, select
from autotune.errors import DeviceError, ExecutorError, UserError, did_you_mean
from autotune.executor import ExecutorOptions
from autotune.measurement import Outcome
from autotune.trial import Trial

from .supervisor import Supervisor

JOIN_S = 5.0
"""How long `close` waits for a device's thread: it ends at once unless its process cannot be killed."""

Task = tuple[Trial, Future[Outcome]]


class LocalExecutor:
    """One long-lived worker process per device, replaced after a crash, a time-out or whatever else may have harmed it.

    memory_limit_bytes: of host memory for one trial; by default nine tenths of what it could have.
    """

    def __init__(self, options: ExecutorOptions | None = None, *, memory_limit_bytes: int | None = None) -> None:
        options = options or ExecutorOptions()
        _check_options(options)
        self._devices = tuple(select(devices(), options.device))
        self._stopping = threading.Event()
        self._changing = threading.Lock()
        self._queues: dict[str, SimpleQueue[Task | None]] = {device.sku: SimpleQueue() for device in self._devices}
        self._serving = Counter(device.sku for device in self._devices)
        self._broken: dict[str, ExecutorError] = {}
        self._threads = [self._start(device, options.show_output, memory_limit_bytes) for device in self._devices]

    def devices(self) -> Sequence[Device]:
        """Those that were selected."""
        return self._devices

    def slots(self, sku: str) -> int:
        """The number of devices of that SKU."""
        return sum(device.sku == sku for device in self._devices)

    def submit(self, trial: Trial) -> Future[Outcome]:
        """Queue the trial for the next free device of its SKU."""
        if trial.gpus > 1:
            raise UserError(
                f"{trial.workload.name} asks for {trial.gpus} GPUs; executor 'local' runs trials of one GPU."
            )
        if trial.sku not in self._queues:
            raise DeviceError(f"there is no device {trial.sku!r} here; {did_you_mean(trial.sku, self._queues)}")
        future: Future[Outcome] = Future()
        with self._changing:
            if self._stopping.is_set():
                raise ExecutorError("the executor is closed; make a new one.")
            if trial.sku in self._broken:
                future.set_exception(self._broken[trial.sku])
            else:
                self._queues[trial.sku].put((trial, future))
        return future

    def close(self) -> None:
        """Kill every worker with all that it started; withdraw what is queued."""
        with self._changing:
            self._stopping.set()
            for sku, queue in self._queues.items():
                for future in _drained(queue):
                    future.cancel()
                    future.set_running_or_notify_cancel()  # wakes whoever waits for it
                for _ in range(self._serving[sku]):
                    queue.put(None)
        for thread in self._threads:
            thread.join(JOIN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, device: Device, show_output: bool, memory_limit_bytes: int | None) -> threading.Thread:
        """One thread per device; a daemon, so that a forgotten `close` does not keep the interpreter from ending."""
        supervisor = Supervisor(device, self._stopping, show_output=show_output, memory_limit_bytes=memory_limit_bytes)
        name = f"autotune-{device.kind}:{device.index}"
        thread = threading.Thread(target=self._serve, args=(device, supervisor), name=name, daemon=True)
        thread.start()
        return thread

    def _serve(self, device: Device, supervisor: Supervisor) -> None:
        """The life of one device's thread."""
        queue = self._queues[device.sku]
        try:
            while (task := queue.get()) is not None:
                trial, future = task
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    future.set_result(supervisor.run(trial))
                except ExecutorError as broken:
                    future.set_exception(broken)
                    self._retire(device.sku, broken)
                    return
                except BaseException as error:
                    future.set_exception(error)
        finally:
            supervisor.close()

    def _retire(self, sku: str, broken: ExecutorError) -> None:
        """Take a device out of service; with the last of its SKU, fail what is queued for it."""
        with self._changing:
            self._serving[sku] -= 1
            if self._serving[sku]:
                return
            self._broken[sku] = broken
            for future in _drained(self._queues[sku]):
                if future.set_running_or_notify_cancel():
                    future.set_exception(broken)


def _check_options(options: ExecutorOptions) -> None:
    if options.argument:
        raise UserError(f"executor 'local' takes nothing after a colon, and was given {options.argument!r}.")
    if options.post_mortem:
        raise UserError(
            "the debugger needs the terminal, which a worker process has not: add --executor inline to --pdb."
        )


def _drained(queue: SimpleQueue[Task | None]) -> list[Future[Outcome]]:
    futures: list[Future[Outcome]] = []
    while True:
        try:
            task = queue.get_nowait()
        except Empty:
            return futures
        if task is not None:
            futures.append(task[1])
