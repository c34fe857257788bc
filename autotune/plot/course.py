"""Course: every trial of a study in its turn, the best until then, and the failures below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from autotune.plot import marks, page
from autotune.plot.told import Told
from autotune.tables import value_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT, EMPTY_HEIGHT = 3.2, 0.7
WIDTH, ALONE_WIDTH = 6.2, 9.15
"""Beside the bars, and where there are none."""
ALIGNED: tuple[Literal["top"], Literal["bottom"]] = ("top", "bottom")
"""Words below a line hang from it, words above stand on it."""


def height(told: Told) -> float:
    """With the failures; without its labels."""
    return _values_height(told) + page.LINE * len(told.failures)


def draw(figure: Figure, told: Told, top: float) -> None:
    """At that height of the page."""
    axes = page.axes_at(figure, page.MARGIN, top, _width(told), _values_height(told))
    last = max((trial.number for trial in told.trials), default=0)
    axes.set_xlim(-0.4 - 0.02 * last, last + 0.4 + 0.02 * last)
    if told.values:
        _values(axes, told)
    else:
        axes.set_yticks([])
        axes.grid(visible=False)
        said = "no trial succeeded" if told.trials else "no trial yet"
        axes.text(0.5, 0.5, said, transform=axes.transAxes, ha="center", va="center", color=page.GREY)
    _count_trials(axes)
    if told.failures:
        axes.tick_params(labelbottom=False)
        axes = _failures(figure, told, top + _values_height(told) + 0.06, axes)
    axes.set_xlabel("trial")


def _width(told: Told) -> float:
    return WIDTH if told.importances else ALONE_WIDTH


def _values_height(told: Told) -> float:
    return HEIGHT if told.values else EMPTY_HEIGHT


def _values(axes: Axes, told: Told) -> None:
    """All that was measured, with the best and the default named so that the two names never meet."""
    lower = told.objective.direction == "minimize"
    better_end, worse_end = ALIGNED if lower else ALIGNED[::-1]
    marks.scale(axes, told)
    marks.dots(axes, told, {trial.number: float(trial.number) for trial in told.trials})
    if told.steps:
        best = told.steps[-1][1]
        numbers = [*(trial.number for trial, _ in told.steps), told.trials[-1].number]
        values = [*(value for _, value in told.steps), best]
        axes.step(numbers, values, where="post", color=page.BLUE, linewidth=1.6, zorder=2.5, label="best until then")
        _beside(axes, best, f"best {value_text(best)}", page.BLUE, better_end)
    if told.default is not None:
        axes.axhline(told.default, color=page.INK, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1.5)
        _beside(axes, told.default, f"default {value_text(told.default)}", page.INK, worse_end)
    axes.set_ylabel(f"{page.short(told.objective.metric, 36)} ({'lower' if lower else 'higher'} is better)")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=7, handlelength=1.2, columnspacing=1.3)


def _beside(axes: Axes, height: float, text: str, color: str, vertical: Literal["bottom", "center", "top"]) -> None:
    """Words to the right of the axes, at that height of the values."""
    axes.annotate(text, (1.0, height), xycoords=("axes fraction", "data"), xytext=(5, 0), textcoords="offset points",
                  va=vertical, color=color, fontsize=page.SMALL)  # fmt: skip


def _failures(figure: Figure, told: Told, top: float, values: Axes) -> Axes:
    """A row of marks for each kind of failure."""
    axes = page.axes_at(figure, page.MARGIN, top, _width(told), page.LINE * len(told.failures) + 0.06)
    for row, (kind, numbers) in enumerate(told.failures.items()):
        axes.scatter(numbers, [row] * len(numbers), rasterized=len(numbers) > marks.MOST_VECTORS, **marks.FAILED)
        _beside(axes, row, f"{kind} {len(numbers)}", page.VERMILION, "center")
    axes.set_yticks(range(len(told.failures)), [""] * len(told.failures))
    axes.set_ylim(len(told.failures) - 0.4, -0.6)
    axes.set_xlim(values.get_xlim())
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    _count_trials(axes)
    return axes


def _count_trials(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(lambda value, _: value_text(value))
