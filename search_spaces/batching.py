"""How inference requests are batched and run at the same time; the model and how it is served are the workload's own.

A rule rejects only what is certainly pointless, and its docstring is the reason.
"""

from __future__ import annotations

import math

from autotune.device import Device
from autotune.space import SearchSpace, choice, power_of_two
from autotune.values import Config, Problem

from .tiles import extent


def inference(largest_batch: int = 64) -> SearchSpace:
    """batch_size; in_flight, batches served at once; threads, of the CPU for each; for problems of `requests`.

    What is in flight runs in a thread of its own on the CPU and on a stream of its own on a GPU. The default is
    the naive server: one request after another, on every core.
    """
    return (
        SearchSpace(
            batch_size=power_of_two(1, largest_batch),
            in_flight=power_of_two(1, 8),
            threads=choice(1, 2, 4, 8, 16, 32, 64),
        )
        .where(batch_within_requests, batches_enough, threads_within_cores, threads_of_a_gpu)
        .with_default(every_core)
    )


def every_core(problem: Problem, device: Device | None) -> dict[str, int]:
    """The default: as many threads as there are cores, to the power of two."""
    return {"threads": usable_threads(device)}


def batch_within_requests(config: Config, problem: Problem) -> bool:
    """A batch never holds more requests than there are."""
    requests = extent(problem, "requests")
    return requests is None or int(config.batch_size) <= requests


def batches_enough(config: Config, problem: Problem) -> bool:
    """There are fewer batches than could be in flight."""
    requests = extent(problem, "requests")
    return requests is None or int(config.in_flight) <= math.ceil(requests / config.batch_size)


def threads_within_cores(config: Config, device: Device | None) -> bool:
    """More threads at work than usable cores get in each other's way."""
    if device is None or device.kind == "gpu":
        return True
    return int(config.in_flight) * int(config.threads) <= device.multiprocessors


def threads_of_a_gpu(config: Config, device: Device | None) -> bool:
    """On a GPU a thread of the CPU only launches: one is enough for each batch in flight."""
    return device is None or device.kind == "cpu" or int(config.threads) == 1


def usable_threads(device: Device | None) -> int:
    """The largest power of two within the cores of a CPU; 1 for a GPU."""
    if device is None or device.kind == "gpu":
        return 1
    return min(64, 1 << device.multiprocessors.bit_length() - 1)
