"""Slices: the values of a study against each parameter by itself, as small multiples."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from autotune.plot import marks, page
from autotune.plot.told import Told
from autotune.space.parameter import is_number
from autotune.tables import value_text
from autotune.values import Scalar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS, WIDTH, HEIGHT, ACROSS, DOWN = 4, 2.26, 1.55, 2.54, 2.13
CHARACTERS = 34
"""Of labels, side by side below one slice."""
MOST_PLACES = 12
"""Values that lie at equal distances; more numbers lie where they are."""


def height(told: Told) -> float:
    """Of all rows."""
    return math.ceil(len(told.slices) / COLUMNS) * DOWN


def draw(figure: Figure, told: Told, top: float) -> None:
    """A slice per parameter, and above them what their marks mean."""
    if told.slices:
        crosses = "; crosses: trials that failed" if told.failed else ""
        page.write_lines(figure, ["Value against each parameter"], top - 0.4, fontsize=9.5)
        note = f"bars: the best with that value{crosses}"
        page.write_lines(figure, [note], top - 0.4, page.MARGIN + 2.05, color=page.GREY)
    for place, name in enumerate(told.slices):
        row, column = divmod(place, COLUMNS)
        axes = page.axes_at(figure, page.MARGIN + column * ACROSS, top + row * DOWN, WIDTH, HEIGHT)
        _slice(axes, told, name)
        axes.tick_params(labelleft=column == 0)


def _slice(axes: Axes, told: Told, name: str) -> None:
    """Every trial that has the parameter."""
    values = told.parameters[name]
    numbers = [float(value) for value in values if is_number(value)]
    apart = len(numbers) > MOST_PLACES and len(numbers) == len(values)
    places = dict(zip(values, numbers if apart else map(float, range(len(values))), strict=True))
    across = {
        trial.number: places[trial.config[name]] + (0.0 if apart else _jitter(trial.number))
        for trial in told.trials
        if name in trial.config
    }
    marks.scale(axes, told, room_for_failures=True)
    marks.dots(axes, told, across)
    _crosses(axes, told, across)
    if apart:
        _numbers_along(axes, numbers)
    else:
        _bars(axes, told, name, places)
        _words_along(axes, values)
    axes.set_title(page.short(name, 29), pad=4)


def _jitter(number: int) -> float:
    """From -0.25 to 0.25, spread evenly over any run of numbers: equal values would hide each other."""
    return 0.5 * (number * 0.6180339887 % 1 - 0.5)


def _crosses(axes: Axes, told: Told, across: Mapping[int, float]) -> None:
    failed = [across[trial.number] for trial, _ in told.failed if trial.number in across]
    worst = 0.94 if told.objective.direction == "minimize" else 0.06
    where = axes.get_xaxis_transform()
    axes.scatter(failed, [worst] * len(failed), transform=where, rasterized=len(failed) > marks.MOST_VECTORS,
                 **marks.FAILED)  # fmt: skip


def _bars(axes: Axes, told: Told, name: str, places: Mapping[Scalar, float]) -> None:
    """A line at the best that could win with each value."""
    best: dict[Scalar, float] = {}
    for trial, value in told.kept:
        if name in trial.config:
            mine = trial.config[name]
            if mine not in best or told.objective.better(value, best[mine]):
                best[mine] = value
    lefts, rights = ([places[value] + end for value in best] for end in (-0.36, 0.36))
    axes.hlines(list(best.values()), lefts, rights, color=page.BLUE, linewidth=1.6, zorder=4.5)


def _words_along(axes: Axes, values: Sequence[Scalar]) -> None:
    """Words are shortened to fit; where numbers do not fit, some are left out."""
    texts = [value_text(value) if isinstance(value, float) else str(value) for value in values]
    each = max(1, CHARACTERS // len(texts))
    if not all(map(is_number, values)):
        texts = [page.short(text, max(4, each - 1)) for text in texts]
    every = math.ceil((max(map(len, texts)) + 1) / each)
    axes.set_xticks(range(len(texts))[::every], texts[::every])
    axes.set_xlim(-0.6, len(texts) - 0.4)
    axes.grid(visible=False, axis="x")


def _numbers_along(axes: Axes, numbers: Sequence[float]) -> None:
    """Logarithmic where they are wide and most of them small."""
    from matplotlib.ticker import MaxNLocator

    if numbers[0] > 0 and numbers[-1] > 50 * numbers[0] and numbers[-1] > 4 * statistics.median(numbers):
        axes.set_xscale("log")
        marks.log_ticks(axes.xaxis, numbers[-1] / numbers[0])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=all(number.is_integer() for number in numbers)))
        axes.xaxis.set_major_formatter(lambda value, _: value_text(value))
