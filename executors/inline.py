"""InlineExecutor: runs a trial in this very process and thread, for debugging; nothing is isolated or timed out."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from autotune.bench import must_replace, perform
from autotune.device import Device, devices, select
from autotune.errors import DeviceError, ExecutorError, UserError, WorkloadChanged, did_you_mean
from autotune.executor import ExecutorOptions
from autotune.measurement import Failure, FailureKind, Outcome
from autotune.trial import Trial, WorkloadReference
from autotune.workload import Workload, load_one


class InlineExecutor:
    """Performs each trial at `submit`; a hang hangs, a crash crashes, and a CUDA error ends its use.

    With `post_mortem` the debugger opens where a trial raises. The CPU or the first visible GPU is used, as the
    workload's own code does. Environment parameters act before a process starts: a trial whose variables differ
    from this process's is refused.
    """

    def __init__(self, options: ExecutorOptions | None = None) -> None:
        options = options or ExecutorOptions()
        if options.argument:
            raise UserError(f"executor 'inline' takes nothing after a colon, and was given {options.argument!r}.")
        # One of each kind: `device="cuda"` in a workload means the first visible GPU.
        usable = {device.kind: device for device in reversed(devices())}
        self._devices = tuple(select(list(reversed(usable.values())), options.device))
        self._post_mortem = options.post_mortem
        self._loaded: dict[WorkloadReference, Workload] = {}
        self._broken: ExecutorError | None = None
        self._closed = False

    def devices(self) -> Sequence[Device]:
        """At most one GPU, and the CPU."""
        return self._devices

    def slots(self, sku: str) -> int:
        """One, as everything runs in one thread."""
        return int(any(device.sku == sku for device in self._devices))

    def submit(self, trial: Trial) -> Future[Outcome]:
        """Performs the trial before it returns; KeyboardInterrupt passes through."""
        if self._closed:
            raise ExecutorError("the executor is closed; make a new one.")
        if trial.gpus > 1:
            raise UserError(
                f"{trial.workload.name} asks for {trial.gpus} GPUs; executor 'inline' runs trials of one GPU."
            )
        _check_environment(trial.environment)
        device = self._device(trial.sku)
        future: Future[Outcome] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(self._run(trial, device))
        except (WorkloadChanged, ExecutorError) as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Nothing runs between two submits."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _device(self, sku: str) -> Device:
        for device in self._devices:
            if device.sku == sku:
                return device
        known = [device.sku for device in self._devices]
        raise DeviceError(f"executor 'inline' has no device {sku!r}; {did_you_mean(sku, known)}")

    def _run(self, trial: Trial, device: Device) -> Outcome:
        if self._broken:
            raise self._broken
        try:
            workload = self._load(trial.workload)
        except WorkloadChanged:
            raise
        except UserError as error:
            return Failure(kind=FailureKind.RUNTIME, message=str(error), phase="load")
        outcome = perform(workload, trial, device, lambda _: None, self._on_error)
        if isinstance(outcome, Failure) and must_replace(outcome):
            self._broken = ExecutorError(
                f"this process cannot measure any more, after {outcome.message} Start anew, or take --executor local."
            )
        return outcome

    def _load(self, reference: WorkloadReference) -> Workload:
        if reference not in self._loaded:
            self._loaded[reference] = load_one(reference)
        return self._loaded[reference]

    def _on_error(self, error: BaseException) -> None:
        if self._post_mortem:
            import pdb  # noqa: T100 - it is what the option is for

            traceback.print_exception(error)
            pdb.post_mortem(error.__traceback__)


def _check_environment(wanted: Mapping[str, str | None]) -> None:
    differing = {name: value for name, value in wanted.items() if os.environ.get(name) != value}
    if differing:
        words = [f"-u {name}" if value is None else f"{name}={value}" for name, value in sorted(differing.items())]
        raise UserError(
            f"executor 'inline' cannot set {', '.join(sorted(differing))} for this process, which has started already. "
            f"Take --executor local, or start this command with: env {' '.join(words)}"
        )
