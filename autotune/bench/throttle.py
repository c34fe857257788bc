"""Throttle: what held a device's clocks back while it measured, and measuring again where that was not there before."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from autotune.device import Device, conditions
from autotune.measurement import Conditions

MOST_REPEATS = 2
PAUSE_S = 0.05
"""Before a repeat, where the device may recover meanwhile."""
RECOVERING = frozenset({"hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown"})
"""A pause may help against these. The power cap is reached by the configuration itself, whenever it runs."""

_T = TypeVar("_T")


def watched(measure: Callable[[], _T], device: Device) -> tuple[_T, Conditions]:
    """What it gives, and the conditions after it, with all that held the clocks back before it or after it."""
    before = conditions(device)
    measured = measure()
    after = conditions(device)
    return measured, replace(after, throttle=united(before.throttle, after.throttle))


def undisturbed(
    measure: Callable[[], _T], device: Device, known: tuple[str, ...] | None, extra_s: float
) -> tuple[_T, Conditions]:
    """Measures again, within `extra_s`, where the clocks were held back by what is not known; then it is marked.

    known: what held them back for the rival; None where nothing is to be compared with.
    """
    started_s = time.perf_counter()
    measured, state = watched(measure, device)
    took_s = time.perf_counter() - started_s
    until_s = time.perf_counter() + extra_s
    for _ in range(MOST_REPEATS):
        strange = unknown(state, known)
        pause_s = PAUSE_S if RECOVERING.intersection(strange) else 0.0
        if not strange or time.perf_counter() + pause_s + took_s > until_s:
            break
        time.sleep(pause_s)
        measured, state = watched(measure, device)
    return measured, replace(state, disturbed=unknown(state, known))


def unknown(state: Conditions, known: tuple[str, ...] | None) -> tuple[str, ...]:
    """What held the clocks back and is not among the known."""
    return () if known is None else tuple(reason for reason in state.throttle if reason not in known)


def united(*reasons: tuple[str, ...]) -> tuple[str, ...]:
    """Each once, in the order in which they came."""
    return tuple(dict.fromkeys(reason for some in reasons for reason in some))
