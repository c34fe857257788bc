"""Nvml: the part of NVIDIA's management library that is needed, called through ctypes; what it means lives elsewhere.

A lookup at run time ends here, so nothing but the standard library is imported. Layouts, constants and symbol versions
are those of nvml.h (NVML API Reference Guide). A function that this driver lacks, or that it refuses on this device,
gives None and never raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import CDLL, Structure, byref, c_char, c_int, c_uint, c_ulonglong, c_void_p, create_string_buffer
from dataclasses import dataclass
from typing import TypeVar

LIBRARY = "libnvidia-ml.so.1"

SUCCESS = 0
INSUFFICIENT_SIZE = 7
FEATURE_ENABLED = 1
CLOCK_SM, CLOCK_MEMORY = 1, 2
TEMPERATURE_GPU = 0
NVLINK_MAX_LINKS = 36
NAME_SIZE, UUID_SIZE, VERSION_SIZE = 96, 96, 80
TEMPERATURE_VERSION = 0x100000C
"""The size of nvmlTemperature_t, 12, and its version, 1, in the highest byte."""
MEMORY_V2_VERSION = 0x2000028
"""The size of nvmlMemory_v2_t, 40, and its version, 2."""
NOT_AVAILABLE = 2**64 - 1

EVENT_REASONS = {
    0x02: "applications_clocks_setting",
    0x04: "sw_power_cap",
    0x08: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}
"""What keeps the clocks down, by bit. Bit 1, an idle GPU, is left out: nothing holds an idle GPU back."""

_FAILURES = {
    4: "NVML may not be used by this user; look at the permissions of /dev/nvidia*",
    9: "the NVIDIA driver is not loaded; nvidia-smi should say why",
    18: "NVML and the driver's kernel module are of different versions; reboot, or load the module again",
}

Handle = c_void_p
"""nvmlDevice_t: a GPU or a MIG slice of one."""

_Out = TypeVar("_Out")


class MemoryInfo(Structure):
    """nvmlMemory_t."""

    _fields_ = [("total", c_ulonglong), ("free", c_ulonglong), ("used", c_ulonglong)]


class MemoryInfoV2(Structure):
    """nvmlMemory_v2_t: what the driver keeps for itself does not count as used, as it does in nvmlMemory_t."""

    _fields_ = [
        ("version", c_uint),
        ("total", c_ulonglong),
        ("reserved", c_ulonglong),
        ("free", c_ulonglong),
        ("used", c_ulonglong),
    ]


class ProcessInfo(Structure):
    """nvmlProcessInfo_t as version 3 of the functions fills it, and version 2."""

    _fields_ = [
        ("pid", c_uint),
        ("used_bytes", c_ulonglong),
        ("gpu_instance", c_uint),
        ("compute_instance", c_uint),
    ]


class ProcessInfoV1(Structure):
    """nvmlProcessInfo_v1_t."""

    _fields_ = [("pid", c_uint), ("used_bytes", c_ulonglong)]


class PciInfo(Structure):
    """nvmlPciInfo_t as nvmlDeviceGetPciInfo_v3 fills it."""

    _fields_ = [
        ("bus_id_legacy", c_char * 16),
        ("domain", c_uint),
        ("bus", c_uint),
        ("device", c_uint),
        ("pci_device_id", c_uint),
        ("pci_subsystem_id", c_uint),
        ("bus_id", c_char * 32),
    ]


class Attributes(Structure):
    """nvmlDeviceAttributes_t as nvmlDeviceGetAttributes_v2 fills it, for MIG slices only."""

    _fields_ = [
        ("multiprocessors", c_uint),
        ("shared_copy_engines", c_uint),
        ("shared_decoders", c_uint),
        ("shared_encoders", c_uint),
        ("shared_jpeg", c_uint),
        ("shared_ofa", c_uint),
        ("gpu_instance_slices", c_uint),
        ("compute_instance_slices", c_uint),
        ("memory_mib", c_ulonglong),
    ]


class Temperature(Structure):
    """nvmlTemperature_t."""

    _fields_ = [("version", c_uint), ("sensor", c_uint), ("celsius", c_int)]


_PROCESS_RECORDS = (("_v3", ProcessInfo), ("_v2", ProcessInfo), ("", ProcessInfoV1))
"""By the suffix of the functions' names, since R510, R470 and ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The shape of a MIG slice."""

    multiprocessors: int
    gpu_slices: int
    compute_slices: int
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningProcess:
    """A process with a context on a GPU."""

    pid: int
    """In this process's own namespace, or with older drivers in the host's."""
    memory_bytes: int | None
    """None where the driver does not tell."""

    @classmethod
    def of(cls, record: Structure) -> RunningProcess:
        """By the driver's record of it."""
        used = int(record.used_bytes)
        return cls(pid=int(record.pid), memory_bytes=None if used == NOT_AVAILABLE else used)


class NvmlUnavailable(Exception):
    """No GPU can be managed here; the message says why."""


class Nvml:
    """One initialised library. It stays so until the process ends: others in the process may be using it too."""

    def __init__(self, path: str = LIBRARY) -> None:
        try:
            self._library = CDLL(path)
        except OSError:
            raise NvmlUnavailable(f"there is no NVIDIA driver ({LIBRARY} cannot be loaded)") from None
        code = self._call("nvmlInit_v2")
        if code != SUCCESS:
            raise NvmlUnavailable(_FAILURES.get(code or 0, f"NVML cannot be initialised (nvmlReturn_t {code})"))

    def driver_version(self) -> str | None:
        """`580.159.03`."""
        return self._text("nvmlSystemGetDriverVersion", size=VERSION_SIZE)

    def cuda_version(self) -> str | None:
        """The newest CUDA that the driver supports, `13.0`."""
        version = self._int("nvmlSystemGetCudaDriverVersion_v2")
        return f"{version // 1000}.{version % 1000 // 10}" if version else None

    def gpus(self) -> Iterator[Handle]:
        """The GPUs in the order of their PCI bus; whole ones, also where they are sliced."""
        for index in range(self._int("nvmlDeviceGetCount_v2") or 0):
            # A GPU that fell off the bus or that this container may not see leaves a hole.
            if handle := self._get("nvmlDeviceGetHandleByIndex_v2", Handle(), c_uint(index)):
                yield handle

    def by_uuid(self, uuid: str) -> Handle | None:
        """The GPU or MIG slice with that full UUID."""
        return self._get("nvmlDeviceGetHandleByUUID", Handle(), uuid.encode())

    def slices(self, gpu: Handle) -> list[Handle] | None:
        """The MIG slices of a GPU; None where it is not in MIG mode."""
        mode, pending = c_uint(), c_uint()
        code = self._call("nvmlDeviceGetMigMode", gpu, byref(mode), byref(pending))
        if code != SUCCESS or mode.value != FEATURE_ENABLED:
            return None
        indices = range(self._int("nvmlDeviceGetMaxMigDeviceCount", gpu) or 0)
        found = (self._get("nvmlDeviceGetMigDeviceHandleByIndex", Handle(), gpu, c_uint(index)) for index in indices)
        return [handle for handle in found if handle]

    def parent(self, mig_slice: Handle) -> Handle | None:
        """The GPU that a MIG slice is part of; None for a GPU."""
        return self._get("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", Handle(), mig_slice)

    def name(self, handle: Handle) -> str | None:
        """`NVIDIA H200`, `NVIDIA A100-SXM4-40GB MIG 3g.20gb`."""
        return self._text("nvmlDeviceGetName", handle, size=NAME_SIZE)

    def uuid(self, handle: Handle) -> str | None:
        """`GPU-…` or `MIG-…`."""
        return self._text("nvmlDeviceGetUUID", handle, size=UUID_SIZE)

    def memory_bytes(self, handle: Handle) -> int | None:
        """Memory of the GPU or of the slice; None where it shares the host's."""
        info = self._get("nvmlDeviceGetMemoryInfo", MemoryInfo(), handle)
        return info.total if info else None

    def used_memory_bytes(self, handle: Handle) -> int | None:
        """What processes hold; None from drivers before R510, which count their own reserve in."""
        info = self._get("nvmlDeviceGetMemoryInfo_v2", MemoryInfoV2(version=MEMORY_V2_VERSION), handle)
        return info.used if info else None

    def compute_processes(self, handle: Handle) -> list[RunningProcess]:
        """Those that compute on the GPU or on the slice; none where this driver does not tell."""
        return self._processes("Compute", handle)

    def graphics_processes(self, handle: Handle) -> list[RunningProcess]:
        """Those that draw on it, as a desktop does."""
        return self._processes("Graphics", handle)

    def pci_device_id(self, gpu: Handle) -> int | None:
        """`0x2335`: the product, without the vendor."""
        info = self._get("nvmlDeviceGetPciInfo_v3", PciInfo(), gpu)
        return info.pci_device_id >> 16 if info else None

    def compute_capability(self, handle: Handle) -> tuple[int, int] | None:
        """`(9, 0)`."""
        major, minor = c_int(), c_int()
        code = self._call("nvmlDeviceGetCudaComputeCapability", handle, byref(major), byref(minor))
        return (major.value, minor.value) if code == SUCCESS else None

    def slice_shape(self, mig_slice: Handle) -> Slice | None:
        """How much of its GPU a MIG slice has; None for a GPU."""
        shape = self._get("nvmlDeviceGetAttributes_v2", Attributes(), mig_slice)
        if shape is None:
            return None
        return Slice(
            multiprocessors=shape.multiprocessors,
            gpu_slices=shape.gpu_instance_slices,
            compute_slices=shape.compute_instance_slices,
            memory_bytes=shape.memory_mib * 1024**2,
        )

    def power_limit_w(self, gpu: Handle) -> int | None:
        """The limit in force: the lowest of the user's, the chassis' and the board's."""
        milliwatts = self._int("nvmlDeviceGetEnforcedPowerLimit", gpu)
        if milliwatts is None:
            milliwatts = self._int("nvmlDeviceGetPowerManagementLimit", gpu)
        return None if milliwatts is None else round(milliwatts / 1000)

    def default_power_limit_w(self, gpu: Handle) -> int | None:
        """The limit after a reset."""
        milliwatts = self._int("nvmlDeviceGetPowerManagementDefaultLimit", gpu)
        return None if milliwatts is None else round(milliwatts / 1000)

    def bandwidth_bytes_per_s(self, gpu: Handle) -> float | None:
        """The peak of the device memory: two transfers a clock over the width of the bus."""
        mhz = self._int("nvmlDeviceGetMaxClockInfo", gpu, c_int(CLOCK_MEMORY))
        bits = self._int("nvmlDeviceGetMemoryBusWidth", gpu)
        return 2 * mhz * 1e6 * bits / 8 if mhz and bits else None

    def active_nvlinks(self, gpu: Handle) -> int:
        """NVLinks that are up, to peers or to switches."""
        links = range(NVLINK_MAX_LINKS)
        return sum(self._int("nvmlDeviceGetNvLinkState", gpu, c_uint(link)) == FEATURE_ENABLED for link in links)

    def clock_mhz(self, gpu: Handle, domain: int) -> int | None:
        """The present clock of CLOCK_SM or CLOCK_MEMORY."""
        return self._int("nvmlDeviceGetClockInfo", gpu, c_int(domain))

    def temperature_c(self, gpu: Handle) -> int | None:
        """Of the GPU's core."""
        reading = Temperature(version=TEMPERATURE_VERSION, sensor=TEMPERATURE_GPU)
        if answer := self._get("nvmlDeviceGetTemperatureV", reading, gpu):
            return int(answer.celsius)
        return self._int("nvmlDeviceGetTemperature", gpu, c_int(TEMPERATURE_GPU))  # drivers before R570

    def power_w(self, gpu: Handle) -> float | None:
        """The present draw of the whole board."""
        milliwatts = self._int("nvmlDeviceGetPowerUsage", gpu)
        return None if milliwatts is None else milliwatts / 1000

    def energy_j(self, gpu: Handle) -> float | None:
        """Energy drawn since the driver was loaded."""
        millijoules = self._get("nvmlDeviceGetTotalEnergyConsumption", c_ulonglong(), gpu)
        return None if millijoules is None else millijoules.value / 1000

    def event_reasons(self, gpu: Handle) -> tuple[str, ...]:
        """What holds the clocks back now, by NVML's names."""
        bits = self._get("nvmlDeviceGetCurrentClocksEventReasons", c_ulonglong(), gpu)
        if bits is None:  # its name before R535
            bits = self._get("nvmlDeviceGetCurrentClocksThrottleReasons", c_ulonglong(), gpu)
        return tuple(name for bit, name in EVENT_REASONS.items() if bits is not None and bits.value & bit)

    def _call(self, function: str, *arguments: object) -> int | None:
        """The nvmlReturn_t; None where this library has no such function."""
        try:
            entry = getattr(self._library, function)
        except AttributeError:
            return None
        return int(entry(*arguments))

    def _get(self, function: str, out: _Out, *arguments: object) -> _Out | None:
        """`out`, filled in by the function as its last argument."""
        return out if self._call(function, *arguments, byref(out)) == SUCCESS else None  # type: ignore[arg-type]

    def _processes(self, kind: str, handle: Handle) -> list[RunningProcess]:
        for suffix, record in _PROCESS_RECORDS:
            found = self._records(f"nvmlDeviceGet{kind}RunningProcesses{suffix}", record, handle)
            if found is not None:
                return [RunningProcess.of(one) for one in found]
        return []

    def _records(self, function: str, record: type[Structure], handle: Handle) -> list[Structure] | None:
        """All records of a function that is told how many there is room for; None where it cannot be called."""
        room = 16
        while True:
            count, records = c_uint(room), (record * room)()
            code = self._call(function, handle, byref(count), records)
            if code == SUCCESS:
                return list(records[: count.value])
            if code != INSUFFICIENT_SIZE:
                return None
            room = 2 * max(room, count.value)  # more may come meanwhile

    def _int(self, function: str, *arguments: object) -> int | None:
        out = self._get(function, c_uint(), *arguments)
        return None if out is None else out.value

    def _text(self, function: str, *arguments: object, size: int) -> str | None:
        buffer = create_string_buffer(size)
        code = self._call(function, *arguments, buffer, c_uint(size))
        return buffer.value.decode(errors="replace") if code == SUCCESS else None
