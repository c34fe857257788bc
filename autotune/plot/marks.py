"""Marks: the trials of a study as dots, and the axis of values on which they lie; the panels share both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autotune.plot.page import GREEN, GREY, INK, ORANGE, SKY, VERMILION
from autotune.plot.told import Reading, Told
from autotune.registry.records import Origin
from autotune.tables import value_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORIGINS: dict[Origin, dict[str, Any]] = {
    "search": {"marker": "o", "s": 17, "color": SKY, "edgecolor": "white", "linewidth": 0.4, "zorder": 3},
    "seed": {"marker": "s", "s": 24, "color": GREEN, "edgecolor": "white", "linewidth": 0.5, "zorder": 4},
    "default": {"marker": "D", "s": 34, "color": INK, "edgecolor": "white", "linewidth": 0.7, "zorder": 5},
}
BROKEN: dict[str, Any] = {"marker": "o", "s": 13, "facecolor": "none", "edgecolor": GREY, "linewidth": 0.7, "zorder": 2}
FAILED: dict[str, Any] = {"marker": "x", "s": 13, "color": VERMILION, "linewidth": 0.8, "zorder": 2}
WINNER: dict[str, Any] = {"marker": "*", "s": 170, "color": ORANGE, "edgecolor": INK, "linewidth": 0.7, "zorder": 6}

MOST_VECTORS = 2000
"""Trials that are drawn one by one; more become a picture within the figure, or its file would grow without end."""
WIDE = 8.0
"""Values of which the largest is so many times the smallest lie on a logarithmic axis."""
ROOM, ROOM_FOR_FAILURES = 0.08, 0.2
"""Beyond the values, as a share of their extent."""


def dots(axes: Axes, told: Told, across: Mapping[int, float]) -> None:
    """The trials that have a place, by their number, each as what it is; the winner on top."""
    winner = [told.winner] if told.winner else []
    groups: list[tuple[str, list[Reading], dict[str, Any]]] = [
        ("breaks a bound", [one for one in told.broken if one not in winner], BROKEN),
        *(
            (origin, [one for one in told.kept if one[0].origin == origin and one not in winner], style)
            for origin, style in ORIGINS.items()
        ),
        (told.winner_word, winner, WINNER),
    ]
    for label, group, style in groups:
        there = [(across[trial.number], value) for trial, value in group if trial.number in across]
        if there:
            xs, ys = zip(*there, strict=True)
            axes.scatter(xs, ys, label=label, rasterized=len(there) > MOST_VECTORS, **style)


def scale(axes: Axes, told: Told, *, room_for_failures: bool = False) -> None:
    """The axis of values, logarithmic where they are wide; failures lie beyond its worse end."""
    if not told.values:
        return
    low, high = min(told.values), max(told.values)
    worse = ROOM_FOR_FAILURES if told.failed and room_for_failures else ROOM
    below, above = (ROOM, worse) if told.objective.direction == "minimize" else (worse, ROOM)
    if low > 0 and high > WIDE * low:
        axes.set_yscale("log")
        axes.set_ylim(low * (low / high) ** below, high * (high / low) ** above)
        log_ticks(axes.yaxis, high / low)
    else:
        extent = (high - low) or abs(high) or 1.0
        axes.set_ylim(low - below * extent, high + above * extent)
        axes.yaxis.set_major_formatter(lambda value, _: value_text(value))


def log_ticks(axis: Any, ratio: float) -> None:
    """At powers of ten, and between them where there are few."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if math.log10(ratio) < 2.5 else (1.0,)))
    axis.set_major_formatter(lambda value, _: value_text(value))
    axis.set_minor_formatter(NullFormatter())
