"""Curves: how far samplers had come after how many trials, in a panel for each space that they searched."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autotune.plot import page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
TOP, HEIGHT, DOWN, BETWEEN = 0.95, 2.4, 3.15, 0.3
WIDTHS = {1: 6.8, 2: 4.8, 3: 3.2}
"""Of a panel, by how many stand side by side."""
COLORS = (page.BLUE, page.VERMILION, page.GREEN, page.PURPLE, page.ORANGE, page.SKY, page.INK)
DASHES: tuple[Any, ...] = ("-", ":", "-.")
BASELINE: dict[str, Any] = {"color": page.GREY, "linewidth": 1.3, "linestyle": (0, (4, 2.5))}


@dataclass(frozen=True)
class CurvePanel:
    """How samplers searched one recorded space, and how uniform draws would."""

    title: str
    trials: Sequence[int]
    baseline: Sequence[float]
    """What uniform draws reach, at each of `trials`; may be empty."""
    curves: Mapping[str, Sequence[Sequence[float]]]
    """By sampler a curve per seed: the best so far at each of `trials`, as a share of the gap closed."""


def size(columns: int, rows: int) -> tuple[float, float]:
    """Of the page, wide enough for the legend."""
    return max(page.MARGIN + columns * (WIDTHS[columns] + BETWEEN), 8.0), TOP + rows * DOWN - 0.1


def draw(figure: Figure, panels: Sequence[CurvePanel], columns: int) -> None:
    """All panels, on the same axis of shares, and what their lines mean."""
    styles = _styles(panels)
    everything = [share for panel in panels for seeds in panel.curves.values() for seed in seeds for share in seed]
    lowest = min((share for share in everything if math.isfinite(share)), default=0.0)
    for place, panel in enumerate(panels):
        row, column = divmod(place, columns)
        left = page.MARGIN + column * (WIDTHS[columns] + BETWEEN)
        axes = page.axes_at(figure, left, TOP + row * DOWN, WIDTHS[columns], HEIGHT)
        _panel(axes, panel, styles)
        axes.set_title(page.short(panel.title, round(13 * WIDTHS[columns])), pad=5)
        axes.set_ylim(min(lowest, 0.0) - 0.03, 1.03)
        axes.tick_params(labelleft=column == 0)
        axes.set_ylabel("gap to the optimum closed" if column == 0 else "")
        axes.set_xlabel("trials" if place + columns >= len(panels) else "")
    _legend(figure, styles, any(panel.baseline for panel in panels))


def _styles(panels: Sequence[CurvePanel]) -> dict[str, dict[str, Any]]:
    """By sampler, the same in every panel."""
    samplers = dict.fromkeys(name for panel in panels for name in panel.curves)
    return {
        name: {
            "color": COLORS[place % len(COLORS)],
            "linestyle": DASHES[place // len(COLORS) % len(DASHES)],
            "linewidth": 1.7,
        }
        for place, name in enumerate(samplers)
    }


def _panel(axes: Axes, panel: CurvePanel, styles: Mapping[str, dict[str, Any]]) -> None:
    if panel.baseline:
        axes.plot(panel.trials, panel.baseline, zorder=2, **BASELINE)
    for name, seeds in panel.curves.items():
        low, middle, high = zip(*map(_quartiles, zip(*seeds, strict=True)), strict=True)
        axes.fill_between(panel.trials, low, high, color=styles[name]["color"], alpha=0.15, linewidth=0, zorder=2)
        axes.plot(panel.trials, middle, zorder=3, **styles[name])
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    axes.margins(x=0.01)


def _quartiles(shares: Iterable[float]) -> tuple[float, float, float]:
    """Of the seeds that have a share by then; NaN, which is not drawn, where none has."""
    known = [share for share in shares if math.isfinite(share)]
    if len(known) < 2:
        only = known[0] if known else math.nan
        return only, only, only
    low, middle, high = statistics.quantiles(known, n=4, method="inclusive")
    return low, middle, high


def _legend(figure: Figure, styles: Mapping[str, dict[str, Any]], with_baseline: bool) -> None:
    from matplotlib.lines import Line2D

    page.write_lines(figure, ["Search: median over seeds, quartiles as a band"], 0.3, fontsize=11, fontweight="bold")
    shown = [(page.short(name, 24), style) for name, style in styles.items()]
    shown += [("random baseline", BASELINE)] if with_baseline else []
    across, down = figure.get_size_inches()
    corner = ((page.MARGIN - 0.08) / across, 1 - 0.35 / down)
    handles = [Line2D([], [], **style) for _, style in shown]
    figure.legend(handles, [name for name, _ in shown], loc="upper left", bbox_to_anchor=corner, ncols=7,
                  handlelength=1.8, columnspacing=1.5, borderaxespad=0.2)  # fmt: skip
