"""Energy of one call, from the device's counter of all energy drawn; reading the counter is left to `device/`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from autotune.bench.clock import Call, Clock
from autotune.device import Device, energy_j
from autotune.measurement import Samples

WINDOW_S = 0.25
"""A reading spans at least this: the counter of a GPU moves about every tenth of a second only."""
CHUNK_S = 0.005
"""Between two looks at the counter, about; the error of a reading is two chunks, or two calls if they are longer."""
PATIENCE = 4
"""Windows without a movement of the counter after which it is given up."""
NEGLIGIBLE = 0.02
"""What surrounds the calls is not measured where it takes less than this share of their time."""


@dataclass(frozen=True, slots=True)
class _Moved:
    """The counter at a moment at which it was seen to move."""

    joules: float
    calls: int
    at_s: float


def energy_per_call(call: Call, clock: Clock, device: Device, cap_s: float) -> Samples | None:
    """Joules that the device draws for one call, a reading for each window; None where it does not tell.

    Everything that the device draws while it is busy with the calls counts, what it would draw idle included. The
    energy of flushing and restoring is measured by itself, in windows in turn with the others, and subtracted.
    cap_s: how long all may take; one window is measured in any case.
    """
    if energy_j(device) is None:
        return None
    chunk, chunk_s = _sized(call, clock)
    surrounded = _seconds(lambda: clock.run(None, chunk)) > NEGLIGIBLE * chunk_s
    readings = []
    for _ in range(max(1, int(cap_s / (WINDOW_S * (2 if surrounded else 1))))):
        whole = _window(device, lambda: clock.run(call, chunk), chunk)
        if whole is None:
            return None
        around = _window(device, lambda: clock.run(None, chunk), chunk) if surrounded else 0.0
        if around is None:
            return None
        readings.append(whole - around)
    return Samples(tuple(readings))


def _sized(call: Call, clock: Clock) -> tuple[int, float]:
    """How many calls make a chunk, and how long it takes."""
    count, elapsed_s = 1, _seconds(lambda: clock.run(call, 1))
    while elapsed_s < CHUNK_S / 2:
        count = max(2 * count, int(count * CHUNK_S / max(elapsed_s, 1e-6) / 2))
        elapsed_s = _seconds(lambda: clock.run(call, count))  # noqa: B023 - called at once
    return count, elapsed_s


def _window(device: Device, run: Callable[[], None], chunk: int) -> float | None:
    """Joules per call between two movements of the counter that lie at least a window apart; None where it stands."""
    calls, first, last = 0, None, None
    before_j, started_s = energy_j(device), time.monotonic()
    while True:
        run()
        calls, now_j, now_s = calls + chunk, energy_j(device), time.monotonic()
        if now_j is None or before_j is None:
            return None
        if now_j != before_j:
            before_j, last = now_j, _Moved(now_j, calls, now_s)
            first = first or last
            if last.at_s - first.at_s >= WINDOW_S:
                return (last.joules - first.joules) / (last.calls - first.calls)
        elif now_s - started_s > PATIENCE * WINDOW_S and (last is None or now_s - last.at_s > PATIENCE * WINDOW_S):
            return None


def _seconds(work: Callable[[], None]) -> float:
    started_s = time.monotonic()
    work()
    return time.monotonic() - started_s
