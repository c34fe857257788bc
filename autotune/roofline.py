"""Roofline: how close a measured time comes to the device's peak; the peaks themselves are in `peak`."""

from __future__ import annotations

from collections.abc import Mapping

from autotune.device import Device
from autotune.device.peak import peak_bandwidth_bytes_per_s, peak_flops
from autotune.objective import LATENCY_MS
from autotune.values import Problem
from autotune.workload import Workload


def peak_shares(workload: Workload, problem: Problem, device: Device, medians: Mapping[str, float]) -> dict[str, float]:
    """The share of each peak that is reached, `flops` and `bandwidth`, where work and peak are known.

    The dtype of the arithmetic is the problem's `dtype`, float32 where it has none.
    """
    latency_s = medians.get(LATENCY_MS, 0.0) / 1e3
    if latency_s <= 0:
        return {}
    peaks = {
        "flops": (workload.flops, peak_flops(device, str(problem.get("dtype", "float32")))),
        "bandwidth": (workload.bytes, peak_bandwidth_bytes_per_s(device)),
    }
    return {name: work(problem) / latency_s / peak for name, (work, peak) in peaks.items() if work is not None and peak}
