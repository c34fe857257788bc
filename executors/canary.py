"""Suspicion and the canary trial: when a device is asked whether it still works; what follows is up to `local.py`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autotune.device import Device
from autotune.measurement import Failure, FailureKind, Measurement, Outcome
from autotune.trial import Effort, Trial, WorkloadReference
from autotune.values import Config, Problem
from autotune.workload import source_version

CANARY = Path(__file__).resolve().with_name("canary_workload.py")
NAME = "canary"
TIMEOUT_S = 60.0
IN_A_ROW = 3
"""So many different configurations that each cost a worker, with nothing good between, may be the device's doing."""


class Suspicion:
    """Of one device, from what came back from it."""

    def __init__(self) -> None:
        self._harmful: set[Config] = set()

    def note(self, trials: Sequence[Trial], outcomes: Sequence[Outcome], *, replaced: bool) -> bool:
        """Whether the device should be asked now. replaced: whether its worker had to be ended."""
        if not replaced:
            if any(isinstance(one, Measurement) for one in outcomes):
                self._harmful.clear()
            return False
        if all(isinstance(one, Failure) and one.kind is FailureKind.LOST for one in outcomes):
            return True
        blamed = zip(trials, outcomes, strict=True)
        self._harmful |= {trial.config for trial, one in blamed if isinstance(one, Failure) and _is_harm(one)}
        if len(self._harmful) < IN_A_ROW:
            return False
        self._harmful.clear()
        return True


def _is_harm(failure: Failure) -> bool:
    return failure.kind in (FailureKind.RUNTIME, FailureKind.TIMEOUT)


def canary_trial(path: Path, device: Device) -> Trial:
    """path: of a file that declares a workload `canary` over `on`, which is the kind of device."""
    gpu = device.kind == "gpu"
    return Trial(
        workload=WorkloadReference(path=path, name=NAME, version=source_version(path)),
        problem=Problem(),
        config=Config(on=device.kind),
        sku=device.sku,
        gpus=1 if gpu else 0,
        timeout_s=TIMEOUT_S,
        effort=Effort.QUICK,
    )
