"""Metrics: what a call returned, read as numbers, and which of them an objective insists on; nothing is timed here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from autotune.bench.clock import Call, Clock
from autotune.bench.diagnosis import ProtocolError
from autotune.objective import LATENCY_MS

Metrics = dict[str, Any]


def timed(call: Call, clock: Clock, count: int, wanted: frozenset[str]) -> list[dict[str, float]]:
    """`count` readings: the latency of each, with the numbers that its call returned."""
    readings = clock.take(call, count, lambda result: numbers(result, wanted))
    # Six digits are finer than any clock, and half the size as JSON.
    return [{LATENCY_MS: float(f"{reading.ms:.6g}"), **finite(reading.kept, wanted)} for reading in readings]


def numbers(result: Any, wanted: frozenset[str]) -> Metrics:
    """What a call returned that can be read as a number, still unread: reading a GPU's scalar would wait for it."""
    if not isinstance(result, Mapping):
        if wanted:
            names = ", ".join(f"{name!r}: …" for name in sorted(wanted))
            raise ProtocolError(
                f"the callable returned {_kind(result)}; the objective needs its metrics: return {{{names}}}."
            )
        return {}
    return {name: value for name, value in result.items() if name in wanted or _is_scalar(value)}


def finite(reported: Metrics, wanted: frozenset[str]) -> dict[str, float]:
    """The values as floats; those that the objective needs must be there and be finite numbers."""
    if LATENCY_MS in reported:
        raise ProtocolError(
            f"the callable returned {LATENCY_MS!r}, which autotune measures itself; give it another name."
        )
    found = {name: number for name, value in reported.items() if (number := _number(value)) is not None}
    for name in sorted(wanted - found.keys()):
        instead = f"{_kind(reported[name])} ({reported[name]!r})" if name in reported else "nothing"
        raise ProtocolError(
            f"the callable returned {instead:.200} for {name!r}, which the objective needs as a finite number."
        )
    return found


def columns(rows: Iterable[Mapping[str, float]]) -> dict[str, tuple[float, ...]]:
    """The readings of each metric, in their order; a call may leave out what the objective does not need."""
    listed = list(rows)
    names = dict.fromkeys(name for row in listed for name in row)
    return {name: tuple(row[name] for row in listed if name in row) for name in names}


def reduced(rows: Iterable[Mapping[str, float]], by: Callable[[tuple[float, ...]], float]) -> dict[str, float]:
    """One number for each metric."""
    return {name: by(values) for name, values in columns(rows).items()}


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (int, float)) or (hasattr(value, "item") and getattr(value, "ndim", None) == 0)


def _number(value: Any) -> float | None:
    """None for what is no number to us: booleans, strings, NaN, infinity."""
    if _is_scalar(value) and not isinstance(value, (int, float)):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
