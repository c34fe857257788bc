"""LocalExecutor: runs trials and rounds on this host, in one isolated process per device, devices side by side."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from autotune.device import Device, cpu, devices, select
from autotune.errors import DeviceError, ExecutorError, UserError, did_you_mean
from autotune.event import Event, EventKind
from autotune.executor import ExecutorOptions
from autotune.measurement import Failure, Outcome
from autotune.round import Round
from autotune.trial import Trial
from autotune.workload import source_version

from .admission import Admission
from .canary import Suspicion, canary_trial
from .pipeline import Pipeline
from .supervisor import Environment, Supervisor

JOIN_S = 5.0
"""How long `close` waits for a device's thread: it ends at once unless its process cannot be killed."""


@dataclass(frozen=True, slots=True)
class Task:
    """A trial or a round in a device's queue: what a supervisor does, and who waits for what comes of it."""

    run: Callable[[Supervisor], Any]
    future: Future[Any]
    trials: tuple[Trial, ...] = ()


class LocalExecutor:
    """One long-lived worker process per device, replaced after a crash, a time-out or whatever else may have harmed it.

    memory_limit_bytes: of host memory for one trial; by default nine tenths of what it could have. compile_workers:
    processes that compile ahead of a device; by default the cores that the devices' own processes leave, and none for
    the CPU, where compilers would disturb what is measured. canary: a file such as `canary_workload.py`, run on a
    device under suspicion, which is used no more where it fails; without one no device is suspected.
    """

    def __init__(
        self,
        options: ExecutorOptions | None = None,
        *,
        memory_limit_bytes: int | None = None,
        compile_workers: int | None = None,
        canary: Path | None = None,
    ) -> None:
        options = options or ExecutorOptions()
        _check_options(options)
        self._devices = tuple(select(devices(), options.device))
        self._admission = Admission(self._devices, shared=options.shared)
        self._stopping = threading.Event()
        self._canary = canary
        self._events: list[Event] = []
        self._supervisors: list[Supervisor] = []
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
        """Those that were selected, without those in quarantine."""
        return self._devices

    @property
    def events(self) -> list[Event]:
        """What became of workers and devices; told only with a canary."""
        return list(self._events)

    @property
    def waits(self) -> bool:
        """Whether a trial of ours waits for its device because another study measures on it."""
        return any(supervisor.waits for supervisor in self._supervisors)

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
        return count + max(1, pipeline.ahead) if count and pipeline else count

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
        self._queue(round.trials[0].sku, Task(lambda supervisor: supervisor.run_round(round), future, round.trials))
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
        self._queue(trial.sku, Task(lambda supervisor: supervisor.run(trial), future, (trial,)))

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
        self._supervisors.append(supervisor)
        name = f"autotune-{device.kind}:{device.index}"
        thread = threading.Thread(target=self._serve, args=(device, supervisor), name=name, daemon=True)
        thread.start()
        return thread

    def _serve(self, device: Device, supervisor: Supervisor) -> None:
        """The life of one device's thread."""
        queue, suspicion = self._queues[device.sku], Suspicion()
        try:
            while (task := queue.get()) is not None:
                if not task.future.set_running_or_notify_cancel():
                    continue
                try:
                    result = task.run(supervisor)
                    task.future.set_result(result)
                    if self._canary and task.trials:
                        self._look_after(device, supervisor, suspicion, task, result)
                except ExecutorError as broken:
                    if not task.future.done():
                        task.future.set_exception(broken)
                    self._retire(device, broken)
                    return
                except BaseException as error:
                    task.future.set_exception(error)
        finally:
            supervisor.close()

    def _look_after(
        self, device: Device, supervisor: Supervisor, suspicion: Suspicion, task: Task, result: Any
    ) -> None:
        """After a worker was ended, ask the device itself; raises ExecutorError where it fails its canary."""
        outcomes = result if isinstance(result, tuple) else (result,)
        suspect = suspicion.note(task.trials, outcomes, replaced=supervisor.replaced)
        if self._stopping.is_set() or self._canary is None:
            return
        if supervisor.replaced:
            reasons = (one.message for one in outcomes if isinstance(one, Failure))
            reason = next(reasons, "a trial left it in a state that cannot be mended")
            self._tell(EventKind.REPLACED, device, f"a worker was ended: {reason}")
        if suspect and (objection := self._objection(device, supervisor, self._canary)):
            place = f"{device.kind}:{device.index} ({device.sku}, {device.uuid})"
            message = f"{place} is used no more: its canary failed: {objection}"
            self._tell(EventKind.QUARANTINED, device, message)
            raise ExecutorError(message)

    def _objection(self, device: Device, supervisor: Supervisor, canary: Path) -> str:
        """What the canary says against the device, in a fresh process; empty where it is well, or cannot be asked."""
        supervisor.close()
        try:
            outcome = supervisor.run(canary_trial(canary, device))
        except UserError:
            return ""
        return outcome.message if isinstance(outcome, Failure) and not self._stopping.is_set() else ""

    def _tell(self, kind: EventKind, device: Device, message: str) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self._events.append(Event(kind=kind, at=at, node=os.uname().nodename, device=device.uuid, message=message))

    def _retire(self, device: Device, broken: ExecutorError) -> None:
        """Take a device out of service; with the last of its SKU, fail what is queued for it."""
        sku = device.sku
        with self._changing:
            self._devices = tuple(one for one in self._devices if one != device)
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
