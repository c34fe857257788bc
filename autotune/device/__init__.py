"""Device, Toolchain and their discovery; how NVML, the CUDA driver and /proc are read is in files of their own.

A lookup at run time asks here for its SKU: only the standard library is imported, and no CUDA context is ever made.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Self

from autotune.device import cpu, remembered
from autotune.device.cuda_driver import DriverDevice, driver_devices
from autotune.device.nvml import CLOCK_MEMORY, CLOCK_SM, Handle, Nvml, NvmlUnavailable, RunningProcess
from autotune.device.sku import cpu_sku, gpu_sku, mig_profile
from autotune.device.visibility import VisibleGpu, visible_gpus
from autotune.errors import DeviceError

if TYPE_CHECKING:
    from autotune.measurement import Conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A GPU, a MIG slice of one, or the processor, and what a constraint may ask of it; None: it cannot be read."""

    kind: Literal["cpu", "gpu"]
    index: int
    """Its place among the GPUs that this process sees, as in `cuda:1`; 0 for the CPU."""
    sku: str
    """Canonical, see `sku.py`: devices of one SKU may use each other's configurations."""
    name: str
    """As the driver or the processor gives it."""
    uuid: str
    """A GPU's or a MIG slice's can be put into CUDA_VISIBLE_DEVICES."""
    arch: str
    """`sm_90`, `x86_64`."""
    memory_bytes: int
    shared_memory_per_block_bytes: int | None = None
    """The most that a kernel can opt in to."""
    registers_per_block: int | None = None
    max_threads_per_block: int | None = None
    multiprocessors: int
    """Streaming multiprocessors, or usable cores; 0 on a GPU without a CUDA driver."""
    l2_bytes: int | None = None
    memory_bandwidth_bytes_per_s: float | None = None
    """The peak by memory clock and bus width; None for a MIG slice, which has a share of it."""
    power_limit_w: int | None = None
    interconnect: str | None = None
    """To its peers: `nvlink` or `pcie`; None for a MIG slice, which reaches none."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}


def devices() -> list[Device]:
    """The GPUs that this process sees, then the CPU."""
    return [*gpu_devices(), cpu_device()]


def gpu_devices() -> list[Device]:
    """The GPUs in CUDA's order, with every slice of those in MIG mode; honours CUDA_VISIBLE_DEVICES."""
    nvml = _nvml()
    seen = _visible(nvml) if nvml else []
    if nvml is None or not seen:
        return []
    limits = driver_devices()
    return [_gpu(nvml, one, index, limits) for index, one in enumerate(seen)]


def cpu_device() -> Device:
    """The processor, as far as this process may use it."""
    machine, cores = cpu.processor(), cpu.usable_cores()
    return Device(
        kind="cpu",
        index=0,
        sku=cpu_sku(machine.name, cores=cores, family=machine.family),
        name=machine.name,
        uuid=f"CPU-{os.uname().nodename}",
        arch=os.uname().machine,
        memory_bytes=cpu.usable_memory_bytes(),
        multiprocessors=cores,
        l2_bytes=cpu.l2_bytes(),
    )


def select(devices: Sequence[Device], wanted: str | None) -> list[Device]:
    """Those of `devices` that are meant by `cpu`, `gpu`, `gpu:1` or a SKU; all of them by None.

    Raises DeviceError, which lists what is there, where none is meant.
    """
    if wanted is None:
        return list(devices)
    name = wanted.strip().lower()
    chosen = [device for device in devices if name in (device.kind, f"{device.kind}:{device.index}", device.sku)]
    if not chosen:
        raise DeviceError(f"there is no device {wanted!r}; here are {_listing(devices)}.")
    return chosen


@cache
def current_sku(root: str = cpu.ROOT) -> str:
    """The SKU of the device that this process would use: its first visible GPU, else the CPU; read once per process.

    A GPU's may be up to ten minutes old, see `remembered.py`: a power limit set meanwhile is not seen.
    root: where the driver's files are found.
    """
    path = remembered.place(root)
    if path and (known := remembered.recall(path)):
        return known
    nvml = _nvml()
    seen = _visible(nvml) if nvml else []
    if nvml is None or not seen:  # never remembered: the cores that a process may use differ, and are quickly counted
        machine = cpu.processor()
        return cpu_sku(machine.name, cores=cpu.usable_cores(), family=machine.family)
    found = _sku(nvml, seen[0])
    if path:
        remembered.remember(path, found)
    return found


@cache
def current_toolchain() -> Toolchain:
    """What goes with `current_sku`, read once per process; like it, it leaves the CUDA driver alone."""
    nvml = _nvml()
    return Toolchain._of("gpu" if nvml and _visible(nvml) else "cpu")


def conditions(device: Device) -> Conditions:
    """What the device is doing at this moment; a MIG slice tells of its whole GPU."""
    from autotune.measurement import Conditions  # it imports statistics, which a lookup never needs

    if device.kind == "cpu":
        return Conditions(sm_clock_mhz=cpu.clock_mhz())
    nvml, gpu = _nvml(), _gpu_handle(device)
    if nvml is None or gpu is None:
        return Conditions()
    return Conditions(
        sm_clock_mhz=nvml.clock_mhz(gpu, CLOCK_SM),
        memory_clock_mhz=nvml.clock_mhz(gpu, CLOCK_MEMORY),
        temperature_c=nvml.temperature_c(gpu),
        power_w=nvml.power_w(gpu),
        throttle=nvml.event_reasons(gpu),
    )


def energy_j(device: Device) -> float | None:
    """Energy that the whole board, or the processor, has drawn since some moment: a difference of readings is of use.

    None where it is not told.
    """
    if device.kind == "cpu":
        return cpu.energy_j()
    nvml, gpu = _nvml(), _gpu_handle(device)
    return nvml.energy_j(gpu) if nvml and gpu else None


def compute_processes(device: Device) -> list[RunningProcess]:
    """The processes that NVML sees computing on the GPU or on the MIG slice; none on the CPU."""
    nvml, handle = _nvml(), _handle(device)
    return nvml.compute_processes(handle) if nvml and handle else []


def graphics_processes(device: Device) -> list[RunningProcess]:
    """Those that draw on it, as a desktop does."""
    nvml, handle = _nvml(), _handle(device)
    return nvml.graphics_processes(handle) if nvml and handle else []


def used_memory_bytes(device: Device) -> int | None:
    """Of the GPU's or the slice's memory, what all processes hold, those of other containers among them."""
    nvml, handle = _nvml(), _handle(device)
    return nvml.used_memory_bytes(handle) if nvml and handle else None


def why_no_gpu() -> str:
    """A clause for a user who expected a GPU where `gpu_devices` is empty."""
    try:
        nvml = Nvml()
    except NvmlUnavailable as reason:
        return str(reason)
    if not any(nvml.gpus()):
        return "NVML finds no GPU"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "no GPU in MIG mode has a slice" if hidden is None else f"CUDA_VISIBLE_DEVICES={hidden!r} hides every GPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """The versions that a measurement depends on; None for what is not there or plays no part on the device."""

    driver: str | None = None
    cuda: str | None = None
    """The newest CUDA that the driver supports."""
    torch: str | None = None
    triton: str | None = None
    nccl: str | None = None
    python: str | None = None
    autotune: str | None = None

    @classmethod
    def current(cls, device: Device) -> Self:
        """Of this process. Packages are looked up, never imported; a CPU has no driver, CUDA, Triton or NCCL."""
        return cls._of(device.kind)

    @classmethod
    def _of(cls, kind: Literal["cpu", "gpu"]) -> Self:
        from autotune.device import versions  # the table of devices has no use for them

        gpu = kind == "gpu"
        nvml = _nvml() if gpu else None
        return cls(
            driver=nvml.driver_version() if nvml else None,
            cuda=nvml.cuda_version() if nvml else None,
            torch=versions.torch(),
            triton=versions.triton() if gpu else None,
            nccl=versions.nccl() if gpu else None,
            python=versions.python(),
            autotune=versions.autotune(),
        )

    def to_json(self) -> dict[str, str]:
        """What is known, by name."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}

    @property
    def digest(self) -> str:
        """12 hexadecimal digits of the SHA-256 of its canonical JSON."""
        import hashlib
        import json

        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def _nvml() -> Nvml | None:
    try:
        return Nvml()
    except NvmlUnavailable:
        return None


def _visible(nvml: Nvml) -> list[VisibleGpu]:
    return visible_gpus(nvml, os.environ, lambda: [one.uuid for one in driver_devices()])


def _gpu_handle(device: Device) -> Handle | None:
    """The handle of the GPU, or of the GPU that the MIG slice is part of."""
    nvml, handle = _nvml(), _handle(device)
    return nvml.parent(handle) if nvml and handle and device.uuid.startswith("MIG-") else handle


def _handle(device: Device) -> Handle | None:
    nvml = _nvml() if device.kind == "gpu" else None
    return nvml.by_uuid(device.uuid) if nvml else None


def _sku(nvml: Nvml, one: VisibleGpu) -> str:
    return gpu_sku(
        nvml.name(one.gpu) or "",
        memory_bytes=nvml.memory_bytes(one.gpu),
        pci_device_id=nvml.pci_device_id(one.gpu),
        mig_profile=_mig_profile(nvml, one),
        power_limit_w=nvml.power_limit_w(one.gpu),
        default_power_limit_w=nvml.default_power_limit_w(one.gpu),
    )


def _mig_profile(nvml: Nvml, one: VisibleGpu) -> str | None:
    if one.mig_slice is None:
        return None
    shape, whole = nvml.slice_shape(one.mig_slice), nvml.memory_bytes(one.gpu)
    if shape is None or whole is None:
        return "unknown"
    return mig_profile(
        nvml.name(one.mig_slice) or "",
        gpu_slices=shape.gpu_slices,
        compute_slices=shape.compute_slices,
        memory_bytes=shape.memory_bytes,
        gpu_memory_bytes=whole,
    )


def _gpu(nvml: Nvml, one: VisibleGpu, index: int, limits: Iterable[DriverDevice]) -> Device:
    uuid, capability = nvml.uuid(one.handle) or "", nvml.compute_capability(one.gpu) or (0, 0)
    own = next((known for known in limits if known.uuid == uuid.partition("-")[2]), None)
    # CUDA shows one MIG slice alone; a block has the limits of its architecture, so that any device of it tells them.
    kin = own or next((known for known in limits if known.compute_capability == capability), None)
    shape = nvml.slice_shape(one.mig_slice) if one.mig_slice else None
    return Device(
        kind="gpu",
        index=index,
        sku=_sku(nvml, one),
        name=nvml.name(one.handle) or "",
        uuid=uuid,
        arch="sm_{}{}".format(*capability),
        memory_bytes=nvml.memory_bytes(one.handle) or cpu.usable_memory_bytes(),  # an integrated GPU shares the host's
        shared_memory_per_block_bytes=kin.shared_memory_per_block_bytes if kin else None,
        registers_per_block=kin.registers_per_block if kin else None,
        max_threads_per_block=kin.max_threads_per_block if kin else None,
        multiprocessors=shape.multiprocessors if shape else (own and own.multiprocessors) or 0,
        l2_bytes=own.l2_bytes if own else None,
        memory_bandwidth_bytes_per_s=None if one.mig_slice else nvml.bandwidth_bytes_per_s(one.gpu),
        power_limit_w=nvml.power_limit_w(one.gpu),
        interconnect=None if one.mig_slice else "nvlink" if nvml.active_nvlinks(one.gpu) else "pcie",
    )


def _listing(devices: Iterable[Device]) -> str:
    return ", ".join(f"{device.kind}:{device.index} ({device.sku})" for device in devices) or "none"
