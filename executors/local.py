"""LocalExecutor: runs trials and rounds on this host, in one isolated process per device, devices side by side."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from autotune.device import Device, cpu, devices, select
from autotune.errors import DeviceError, ExecutorError, UserError, did_you_mean
from autotune.executor import ExecutorOptions
from autotune.measurement import Outcome
from autotune.round import Round
from autotune.trial import Trial
from autotune.workload import source_version

from .admission import Admission
from .pipeline import Pipeline
from .supervisor import Environment, Supervisor

JOIN_S = 5.0
"""How long `close` waits for a device's thread: it ends at once unless its process cannot be killed."""


@dataclass(frozen=True, slots=True)
class Task:
    """A trial or a round in a device's queue: what a supervisor does, and who waits for what comes of it."""

    run: Callable[[Supervisor], Any]
    future: Future[Any]


class LocalExecutor:
    """One long-lived worker process per device, replaced after a crash, a time-out or whatever else may have harmed it.

    memory_limit_bytes: of host memory for one trial; by default nine tenths of what it could have. compile_workers:
    processes that compile ahead of a device; by default the cores that the devices' own processes leave, and none for
    the CPU, where compilers would disturb what is measured.
    """

    def __init__(
        self,
        options: ExecutorOptions | None = None,
        *,
        memory_limit_bytes: int | None = None,
        compile_workers: int | None = None,
    ) -> None:
        options = options or ExecutorOptions()
        _check_options(options)
        self._devices = tuple(select(devices(), options.device))
        self._admission = Admission(self._devices, shared=options.shared)
        self._stopping = threading.Event()
        self._changing = threading.Lock()
        self._queues: dict[str, SimpleQueue[Task | None]] = {device.sku: SimpleQueue() for device in self._devices}
        self._serving = Counter(device.sku for device in self._devices)
        self._broken: dict[str, ExecutorError] = {}
        self._pipelines: dict[str, Pipeline] = {}
        for device in self._devices:
            workers = self._spare_cores(device) if compile_workers is None else compile_workers
            if workers and device.sku not in self._pipelines:
                self._pipelines[device.sku] = self._pipeline(device, workers, options.show_output)
        self._threads = [self._start(device, options.show_output, memory_limit_bytes) for device in self._devices]

    def devices(self) -> Sequence[Device]:
        """Those that were selected."""
        return self._devices

    def expect(self, path: Path) -> None:
        """Start the processes that load such a file while the caller loads it, too: on the GPUs where there are any.

        What is wrong with the file is for the caller to find, and what is wrong with a device is told at `submit`.
        """
        path = path.resolve()
        try:
            version = source_version(path)
        except Exception:  # it cannot be read, or not be understood
            return
        kind = "gpu" if any(device.kind == "gpu" for device in self._devices) else "cpu"
        for sku in dict.fromkeys(device.sku for device in self._devices if device.kind == kind and path.is_file()):
            if self._admission.early(sku):  # before a process of ours is on it, which may look like a stranger's
                self._expect(sku, path, version, {})
                if sku in self._pipelines:
                    self._pipelines[sku].expect(path)

    def slots(self, sku: str) -> int:
        """The number of devices of that SKU; with compilers ahead of them, one more and what these can hold."""
        count = sum(device.sku == sku for device in self._devices)
        pipeline = self._pipelines.get(sku)
        return count + max(1, pipeline.ahead) if pipeline else count

    def submit(self, trial: Trial) -> Future[Outcome]:
        """Queue the trial for the next free device of its SKU, once it is compiled where that can be done ahead."""
        self._check(trial)
        self._admission.trial(trial.sku)
        future: Future[Outcome] = Future()
        pipeline = self._pipelines.get(trial.sku)
        if pipeline is None:
            self._queue_trial(trial, future)
        elif pipeline.submit(trial, future):
            self._expect(trial.sku, trial.workload.path, trial.workload.version, trial.environment)
        return future

    def submit_round(self, round: Round) -> Future[tuple[Outcome, ...]]:  # noqa: A002 - the word
        """Queue the round for the next free device of its SKU."""
        self._check(round.trials[0])
        self._admission.round(round.trials[0].sku)
        future: Future[tuple[Outcome, ...]] = Future()
        self._queue(round.trials[0].sku, Task(lambda supervisor: supervisor.run_round(round), future))
        return future

    def close(self) -> None:
        """Kill every worker with all that it started; withdraw what is queued."""
        with self._changing:
            self._stopping.set()
            withdrawn = [future for queue in self._queues.values() for future in _drained(queue)]
            for sku, queue in self._queues.items():
                for _ in range(self._serving[sku]):
                    queue.put(None)
        for future in withdrawn:  # under no lock: whoever waits for it may queue another, as `pipeline.py` does
            future.cancel()
            future.set_running_or_notify_cancel()  # wakes whoever waits for it
        for pipeline in self._pipelines.values():
            pipeline.close()
        for thread in self._threads:
            thread.join(JOIN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, trial: Trial) -> None:
        if trial.gpus > 1:
            raise UserError(
                f"{trial.workload.name} asks for {trial.gpus} GPUs; executor 'local' runs trials of one GPU."
            )
        if trial.sku not in self._queues:
            raise DeviceError(f"there is no device {trial.sku!r} here; {did_you_mean(trial.sku, self._queues)}")
        if self._stopping.is_set():
            raise ExecutorError("the executor is closed; make a new one.")

    def _queue_trial(self, trial: Trial, future: Future[Outcome]) -> None:
        self._queue(trial.sku, Task(lambda supervisor: supervisor.run(trial), future))

    def _expect(self, sku: str, path: Path, version: str, environment: Environment) -> None:
        """Have every device's process start, and load the file, while something else is done."""
        for _ in range(self._serving[sku]):
            self._queue(sku, Task(lambda supervisor: supervisor.expect(path, version, environment), Future()))

    def _queue(self, sku: str, task: Task) -> None:
        """What is compiled only when the executor is closed, or its last device broken, ends here."""
        with self._changing:
            broken = self._broken.get(sku)
            if broken is None and not self._stopping.is_set():
                self._queues[sku].put(task)
                return
        if broken is None:
            task.future.cancel()
        if task.future.set_running_or_notify_cancel():
            task.future.set_exception(broken)

    def _pipeline(self, device: Device, workers: int, show_output: bool) -> Pipeline:
        queue = self._queues[device.sku]
        return Pipeline(device, workers, self._queue_trial, queue.qsize, show_output=show_output)

    def _spare_cores(self, device: Device) -> int:
        """Beside a process for each device, and this one; a CPU's own would disturb what is measured on it."""
        return 0 if device.kind == "cpu" else max(1, cpu.usable_cores() - len(self._devices) - 1)

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
                if not task.future.set_running_or_notify_cancel():
                    continue
                try:
                    task.future.set_result(task.run(supervisor))
                except ExecutorError as broken:
                    task.future.set_exception(broken)
                    self._retire(device.sku, broken)
                    return
                except BaseException as error:
                    task.future.set_exception(error)
        finally:
            supervisor.close()

    def _retire(self, sku: str, broken: ExecutorError) -> None:
        """Take a device out of service; with the last of its SKU, fail what is queued for it."""
        with self._changing:
            self._serving[sku] -= 1
            if self._serving[sku]:
                return
            self._broken[sku] = broken
            left = _drained(self._queues[sku])
        for future in left:  # under no lock, as in `close`
            if future.set_running_or_notify_cancel():
                future.set_exception(broken)


def _check_options(options: ExecutorOptions) -> None:
    if options.argument:
        raise UserError(f"executor 'local' takes nothing after a colon, and was given {options.argument!r}.")
    if options.post_mortem:
        raise UserError(
            "the debugger needs the terminal, which a worker process has not: add --executor inline to --pdb."
        )


def _drained(queue: SimpleQueue[Task | None]) -> list[Future[Any]]:
    futures: list[Future[Any]] = []
    while True:
        try:
            task = queue.get_nowait()
        except Empty:
            return futures
        if task is not None:
            futures.append(task.future)
