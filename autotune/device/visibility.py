"""Visibility: which GPUs this process sees, in which order, as NVML does not tell; their facts are in `device.py`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autotune.device.nvml import Handle, Nvml


@dataclass(frozen=True, slots=True, kw_only=True)
class VisibleGpu:
    """A GPU, or a MIG slice of it."""

    gpu: Handle
    mig_slice: Handle | None = None

    @property
    def handle(self) -> Handle:
        """What kernels run on: the slice, where there is one."""
        return self.mig_slice or self.gpu


def visible_gpus(
    nvml: Nvml, environment: Mapping[str, str], cuda_order: Callable[[], Sequence[str]]
) -> list[VisibleGpu]:
    """What CUDA would show a process with this environment, and every MIG slice of it.

    CUDA shows one MIG slice alone, the first, and then no whole GPU (MIG User Guide, CUDA Device Enumeration): slices
    come first, and whoever wants another one names it in CUDA_VISIBLE_DEVICES.
    cuda_order: the bare UUIDs of CUDA's own enumeration, asked for only where indices would mislead.
    """
    gpus = list(nvml.gpus())
    variable = environment.get("CUDA_VISIBLE_DEVICES")
    pinned = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or _names_uuids(variable)
    if not pinned and len({nvml.name(gpu) for gpu in gpus}) > 1:
        # CUDA then counts from the fastest GPU, by a measure of its own, and NVML along the PCI bus.
        ordered = [gpu for uuid in cuda_order() if (gpu := _by_bare_uuid(nvml, gpus, uuid))]
        if ordered:
            return ordered
    if variable is None:
        found = [one for gpu in gpus for one in _with_slices(nvml, gpu)]
    else:
        found = _listed(nvml, gpus, variable)
    return sorted(found, key=lambda one: one.mig_slice is None)


def _names_uuids(variable: str | None) -> bool:
    return variable is not None and variable.strip().startswith(("GPU-", "MIG-"))


def _by_bare_uuid(nvml: Nvml, gpus: Sequence[Handle], uuid: str) -> VisibleGpu | None:
    for gpu in gpus:
        for one in _with_slices(nvml, gpu):
            if (nvml.uuid(one.handle) or "").partition("-")[2] == uuid:
                return one
    return None


def _with_slices(nvml: Nvml, gpu: Handle) -> list[VisibleGpu]:
    """The GPU itself, or in MIG mode its slices: without any, nothing can run on it."""
    slices = nvml.slices(gpu)
    if slices is None:
        return [VisibleGpu(gpu=gpu)]
    return [VisibleGpu(gpu=gpu, mig_slice=one) for one in slices]


def _listed(nvml: Nvml, gpus: Sequence[Handle], variable: str) -> list[VisibleGpu]:
    """By CUDA's rules: what follows an unknown entry is not seen, and an entry given twice hides everything.

    Sources: CUDA C++ Programming Guide, CUDA Environment Variables; for the second PyTorch's own reading of it.
    """
    found: list[VisibleGpu] = []
    for entry in variable.split(","):
        matching = _entry(nvml, gpus, entry.strip())
        if matching is None:
            break
        seen = {one.handle.value for one in found}
        if any(one.handle.value in seen for one in matching):
            return []
        found += matching
    return found


def _entry(nvml: Nvml, gpus: Sequence[Handle], entry: str) -> list[VisibleGpu] | None:
    """What an index or the beginning of a UUID stands for; None where it stands for nothing."""
    if entry.startswith("MIG-"):
        slices = [one for gpu in gpus for one in _with_slices(nvml, gpu) if one.mig_slice]
        matching = [one for one in slices if (nvml.uuid(one.handle) or "").startswith(entry)]
        return matching if len(matching) == 1 else None
    if entry.startswith("GPU-"):
        whole = [gpu for gpu in gpus if (nvml.uuid(gpu) or "").startswith(entry)]
        return _with_slices(nvml, whole[0]) if len(whole) == 1 else None
    number = re.match(r"\+?(\d+)", entry)  # CUDA reads the digits in front, as strtol does
    if number is None or int(number[1]) >= len(gpus):
        return None
    return _with_slices(nvml, gpus[int(number[1])])
