"""DriverDevice: what the CUDA driver says of each GPU that it sees, through ctypes; no context is made here."""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import CDLL, Array, byref, c_int, c_ubyte
from dataclasses import dataclass

LIBRARY = "libcuda.so.1"

SUCCESS = 0

# CUdevice_attribute of cuda.h.
MAX_THREADS_PER_BLOCK = 1
MAX_REGISTERS_PER_BLOCK = 12
MULTIPROCESSOR_COUNT = 16
L2_CACHE_SIZE = 38
COMPUTE_CAPABILITY_MAJOR = 75
COMPUTE_CAPABILITY_MINOR = 76
MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverDevice:
    """The limits of one CUDA device."""

    uuid: str
    """As NVML writes it, without the `GPU-` or `MIG-` in front."""
    compute_capability: tuple[int, int]
    multiprocessors: int | None
    shared_memory_per_block_bytes: int | None
    registers_per_block: int | None
    max_threads_per_block: int | None
    l2_bytes: int | None


def driver_devices(path: str = LIBRARY) -> list[DriverDevice]:
    """The devices that CUDA shows this process, in CUDA's order; none where there is no driver.

    CUDA reads CUDA_VISIBLE_DEVICES at the first call in a process and never again. A process that was forked, not
    spawned, after that call cannot use CUDA.
    """
    try:
        cuda = CDLL(path)
        if cuda.cuInit(0) != SUCCESS:
            return []
    except (OSError, AttributeError):
        return []
    return list(_devices(cuda))


def _devices(cuda: CDLL) -> Iterator[DriverDevice]:
    count = c_int()
    if cuda.cuDeviceGetCount(byref(count)) != SUCCESS:
        return
    for ordinal in range(count.value):
        device = c_int()
        if cuda.cuDeviceGet(byref(device), c_int(ordinal)) != SUCCESS:
            continue
        yield DriverDevice(
            uuid=_uuid(cuda, device),
            compute_capability=(
                _attribute(cuda, device, COMPUTE_CAPABILITY_MAJOR) or 0,
                _attribute(cuda, device, COMPUTE_CAPABILITY_MINOR) or 0,
            ),
            multiprocessors=_attribute(cuda, device, MULTIPROCESSOR_COUNT),
            shared_memory_per_block_bytes=_attribute(cuda, device, MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
            registers_per_block=_attribute(cuda, device, MAX_REGISTERS_PER_BLOCK),
            max_threads_per_block=_attribute(cuda, device, MAX_THREADS_PER_BLOCK),
            l2_bytes=_attribute(cuda, device, L2_CACHE_SIZE),
        )


def _attribute(cuda: CDLL, device: c_int, attribute: int) -> int | None:
    value = c_int()
    code = cuda.cuDeviceGetAttribute(byref(value), c_int(attribute), device)
    return value.value if code == SUCCESS else None


def _uuid(cuda: CDLL, device: c_int) -> str:
    """The slice's own UUID in MIG mode, which only version 2 gives; it is missing before CUDA 11.4."""
    octets: Array[c_ubyte] = (c_ubyte * 16)()
    try:
        code = cuda.cuDeviceGetUuid_v2(byref(octets), device)
    except AttributeError:
        code = cuda.cuDeviceGetUuid(byref(octets), device)
    digits = bytes(octets).hex()
    dashed = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return dashed if code == SUCCESS else ""
