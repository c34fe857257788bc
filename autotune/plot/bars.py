"""Bars: how important each parameter was, and what chance alone would give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autotune.plot import page
from autotune.plot.told import Told

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, WIDTH, STEP = 9.35, 1.45, 0.266
NAMES = -0.9
"""Where the names begin, in widths of the bars."""
MOST = 12


def draw(figure: Figure, told: Told, top: float) -> None:
    """A bar per parameter, pale where chance reaches as far; nothing where nothing can be said."""
    shown = dict(list(told.importances.items())[:MOST])
    if not shown:
        return
    axes = page.axes_at(figure, LEFT, top, WIDTH, STEP * len(shown))
    for row, one in enumerate(shown.values()):
        _bar(axes, row, one.share, one.chance)
    axes.set_title("Parameter importance", x=NAMES, pad=8)
    axes.set_yticks(range(len(shown)), [page.short(name, 19) for name in shown], color=page.INK)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, 1.3 * max(max(one.share, one.chance) for one in shown.values()))
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    note = f"for being in the best quarter of {len(told.kept)};\nline: what chance alone may give"
    axes.annotate(note, (NAMES, 0), xycoords="axes fraction", xytext=(0, -5), textcoords="offset points", va="top",
                  fontsize=page.SMALL, color=page.GREY)  # fmt: skip


def _bar(axes: Axes, row: int, share: float, chance: float) -> None:
    means_something = share > chance
    axes.barh(row, share, height=0.62, color=page.BLUE if means_something else page.PALE)
    axes.plot([chance, chance], [row - 0.42, row + 0.42], color=page.INK, linewidth=1.0)
    axes.annotate(f"{100 * share:.0f} %", (max(share, chance), row), xytext=(4, 0), textcoords="offset points",
                  va="center", fontsize=page.SMALL, color=page.INK if means_something else page.GREY)  # fmt: skip
