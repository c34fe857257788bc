"""The hook `@workload(compile=…)`: called, and its answer held against the device; in which process, others decide."""

from __future__ import annotations

from autotune.bench.diagnosis import ProtocolError, TooLarge
from autotune.device import Device
from autotune.trial import Trial
from autotune.workload import Binary, Workload


def compile_by_hook(workload: Workload, trial: Trial, device: Device) -> Binary | None:
    """What the hook made of the configuration; raises what it raises, and TooLarge."""
    binary = workload.compile(trial.problem, trial.config, device) if workload.compile else None
    if binary is not None and not isinstance(binary, Binary):
        raise ProtocolError(f"its compile= returned a {type(binary).__name__}; return a Binary(digest=…), or None.")
    check_size(binary, device)
    return binary


def check_size(binary: Binary | None, device: Device) -> None:
    """Raises TooLarge where a block of the binary needs more shared memory than the device has."""
    most = device.shared_memory_per_block_bytes
    if binary is not None and most is not None and binary.shared_memory_bytes > most:
        raise TooLarge(f"a block needs {binary.shared_memory_bytes} bytes of shared memory")
