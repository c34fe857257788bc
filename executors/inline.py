"""InlineExecutor: runs trials in this very process and thread, for debugging; nothing is isolated or timed out."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from autotune.bench import must_replace, perform, perform_round
from autotune.device import Device, devices, select
from autotune.errors import DeviceError, ExecutorError, UserError, WorkloadChanged, did_you_mean
from autotune.executor import ExecutorOptions
from autotune.measurement import Failure, FailureKind, Outcome
from autotune.round import Round
from autotune.trial import Trial, WorkloadReference
from autotune.workload import Workload, load_one

from .admission import Admission


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
        self._admission = Admission(self._devices, shared=options.shared)
        self._post_mortem = options.post_mortem
        self._loaded: dict[WorkloadReference, Workload] = {}
        self._broken: ExecutorError | None = None
        self._closed = False

    def devices(self) -> Sequence[Device]:
        """At most one GPU, and the CPU."""
        return self._devices

    def expect(self, path: Path) -> None:
        """Everything runs in this process, which loads the file anyway."""

    def slots(self, sku: str) -> int:
        """One, as everything runs in one thread."""
        return int(any(device.sku == sku for device in self._devices))

    def submit(self, trial: Trial) -> Future[Outcome]:
        """Performs the trial before it returns; KeyboardInterrupt passes through."""
        device = self._check([trial])
        self._admission.trial(device.sku)
        return _done(lambda: self._run(trial, device))

    def submit_round(self, round: Round) -> Future[tuple[Outcome, ...]]:  # noqa: A002 - the word
        """Performs the round before it returns."""
        device = self._check(round.trials)
        self._admission.round(device.sku)
        return _done(lambda: self._run_round(round, device))

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

    def _check(self, trials: Sequence[Trial]) -> Device:
        """The device for them, which are of one SKU."""
        if self._closed:
            raise ExecutorError("the executor is closed; make a new one.")
        for trial in trials:
            if trial.gpus > 1:
                raise UserError(
                    f"{trial.workload.name} asks for {trial.gpus} GPUs; executor 'inline' runs trials of one GPU."
                )
            _check_environment(trial.environment)
        return self._device(trials[0].sku)

    def _run(self, trial: Trial, device: Device) -> Outcome:
        def performed(workload: Workload) -> tuple[Outcome, ...]:
            return (perform(workload, trial, device, _ignore, self._on_error),)

        return self._outcomes([trial], performed)[0]

    def _run_round(self, asked: Round, device: Device) -> tuple[Outcome, ...]:
        def performed(workload: Workload) -> tuple[Outcome, ...]:
            return perform_round(workload, asked, device, _ignore, _ignore, self._on_error)

        return self._outcomes(asked.trials, performed)

    def _outcomes(
        self, trials: Sequence[Trial], performed: Callable[[Workload], tuple[Outcome, ...]]
    ) -> tuple[Outcome, ...]:
        if self._broken:
            raise self._broken
        try:
            workload = self._load(trials[0].workload)
        except WorkloadChanged:
            raise
        except UserError as error:
            return (Failure(kind=FailureKind.RUNTIME, message=str(error), phase="load"),) * len(trials)
        outcomes = performed(workload)
        for outcome in outcomes:
            if isinstance(outcome, Failure) and must_replace(outcome):
                self._broken = ExecutorError(
                    f"this process cannot measure any more, after {outcome.message} "
                    f"Start anew, or take --executor local."
                )
        return outcomes

    def _load(self, reference: WorkloadReference) -> Workload:
        if reference not in self._loaded:
            self._loaded[reference] = load_one(reference)
        return self._loaded[reference]

    def _on_error(self, error: BaseException) -> None:
        if self._post_mortem:
            import pdb  # noqa: T100 - it is what the option is for

            traceback.print_exception(error)
            pdb.post_mortem(error.__traceback__)


def _done(run: Callable[[], Any]) -> Future[Any]:
    """What it gives, or the errors that a Future may raise; all others come out at once."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    try:
        future.set_result(run())
    except (WorkloadChanged, DeviceError, ExecutorError) as error:
        future.set_exception(error)
    return future


def _ignore(_: object) -> None:
    """Nobody watches from another process."""


def _check_environment(wanted: Mapping[str, str | None]) -> None:
    differing = {name: value for name, value in wanted.items() if os.environ.get(name) != value}
    if differing:
        words = [f"-u {name}" if value is None else f"{name}={value}" for name, value in sorted(differing.items())]
        raise UserError(
            f"executor 'inline' cannot set {', '.join(sorted(differing))} for this process, which has started already. "
            f"Take --executor local, or start this command with: env {' '.join(words)}"
        )
