"""Which clock times a workload's calls on a device."""

from __future__ import annotations

import sys
from typing import Literal

from autotune.bench.clock import Clock
from autotune.bench.gpu_clock import SynchronizedClock, TorchClock
from autotune.bench.host_clock import HostClock
from autotune.bench.libcuda import CudaDriver
from autotune.device import Device

FLUSH_FACTOR = 2
"""The buffer that is zeroed to flush the L2 is this many times its size, whatever the replacement policy."""


def clock_for(device: Device, *, cache: Literal["cold", "warm"] = "cold") -> Clock:
    """The clock for what the workload has loaded by now; to be asked for once it is prepared.

    cache: whether a GPU's L2 is flushed before each call, or left as the call before it left it.
    """
    if device.kind == "cpu":
        return HostClock()
    flush_bytes = (device.l2_bytes or 0) * FLUSH_FACTOR if cache == "cold" else 0
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return TorchClock(torch, flush_bytes)
    driver = CudaDriver()
    flush = driver.zeroes(flush_bytes)
    return SynchronizedClock(flush=flush, synchronize=driver.synchronize, free=flush.free)
