"""Plot: a study, or how samplers search, as a figure in a file; the only folder that knows matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from autotune.errors import UserError
from autotune.plot import bars, course, curves, page, slices
from autotune.plot.curves import CurvePanel
from autotune.plot.told import Told
from autotune.registry.records import RecordedTrial, StudyRecord

__all__ = ["CurvePanel", "search_curves", "study_figure"]


def study_figure(path: Path, study: StudyRecord, trials: Sequence[RecordedTrial]) -> None:
    """Write what one study tried and found: its course, which parameters mattered, and each of them by itself.

    The name of the file decides about its format: .svg, .png or .pdf. Raises UserError, as does `search_curves`.
    """
    page.check(path)
    told = Told(study, trials)
    course_top = 0.78 + page.LINE * len(told.header)
    slices_top = course_top + course.height(told) + 1.05
    below = slices_top + slices.height(told) - (0.15 if told.slices else 0.35)
    with page.written(path, page.WIDTH, below + page.LINE * len(told.footnote) + 0.1) as figure:
        page.write_lines(figure, [told.title], 0.3, fontsize=13, fontweight="bold")
        page.write_lines(figure, told.header, 0.56)
        course.draw(figure, told, course_top)
        bars.draw(figure, told, course_top)
        slices.draw(figure, told, slices_top)
        page.write_lines(figure, told.footnote, below, color=page.GREY)


def search_curves(path: Path, panels: Sequence[CurvePanel]) -> None:
    """Write how far samplers had come after how many trials: their median over seeds, with the quartiles as a band."""
    page.check(path)
    if not panels:
        raise UserError("there are no curves to draw; expected at least one panel.")
    columns = min(curves.COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    with page.written(path, *curves.size(columns, rows)) as figure:
        curves.draw(figure, panels, columns)
