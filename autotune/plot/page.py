"""Page: a figure of a size in inches, our style, and the file that it is written to; what is drawn is elsewhere."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.errors import UserError

if TYPE_CHECKING:  # it is optional, and takes a while: at run time it is imported where a figure is begun
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".png": {}, ".pdf": {"CreationDate": None}}
"""By ending, what keeps the date out: equal figures are equal files."""

# Of Okabe and Ito, who chose them to be told apart whatever one's sight for colours; shapes differ as well.
BLUE, SKY, GREEN, VERMILION, ORANGE, PURPLE = "#0072b2", "#56b4e9", "#009e73", "#d55e00", "#e69f00", "#cc79a7"
INK, GREY, PALE, FAINT = "#222222", "#6f6f6f", "#c9ced3", "#eceef0"
SMALL = 7.5
STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": PALE,
    "axes.grid": True,
    "axes.labelcolor": GREY,
    "axes.labelsize": 8.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "font.size": 8.5,
    "grid.color": FAINT,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "savefig.dpi": 150,
    "svg.fonttype": "none",
    "svg.hashsalt": "autotune",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": PALE,
    "xtick.labelcolor": GREY,
    "xtick.labelsize": SMALL,
    "ytick.color": PALE,
    "ytick.labelcolor": GREY,
    "ytick.labelsize": SMALL,
}

WIDTH, MARGIN, LINE = 11.0, 0.75, 0.17
"""Inches, as all sizes and places in this package: of a page, of its left margin, from a line of text to the next."""


def check(path: Path) -> None:
    """UserError where no format goes by the ending of that name."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"the ending of {path} names no format for a figure; expected {', '.join(FORMATS)}.")


@contextmanager
def written(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure to draw on, which is a file at the end. Raises UserError.

    Our style holds for that long, over matplotlib's own defaults, whatever a matplotlibrc says.
    """
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("a figure needs matplotlib; pip install 'gpu-autotune[plot]'.") from None
    ending, data = path.suffix.lower(), io.BytesIO()
    with style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name in a script that the font lacks
        figure = Figure(figsize=(width, height))
        yield figure
        figure.savefig(data, format=ending[1:], metadata=FORMATS[ending])
    _replace(path, data.getvalue())


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place from the upper left corner of the page."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def write_lines(figure: Figure, lines: Sequence[str], top: float, left: float = MARGIN, **style: Any) -> None:
    """Lines of text, the first at that place."""
    across, down = figure.get_size_inches()
    for place, line in enumerate(lines):
        figure.text(left / across, 1 - (top + LINE * place) / down, line, **style)


def short(text: str, most: int) -> str:
    """Without its middle where it is longer: names that begin alike often end apart."""
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def _replace(path: Path, data: bytes) -> None:
    """All of it or nothing, also where there is such a file already."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"the figure {path} cannot be written: {error.strerror or error}.") from error
