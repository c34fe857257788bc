"""Plot: one target's nights as a small SVG; which nights they are is in `course`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from autotune.morning.course import Course, Point
from autotune.morning.markup import Markup, element, joined
from autotune.morning.regression import changed

WIDTH, HEIGHT, SIDE, TOP, FOOT = 320, 96, 10, 12, 16
LEAST_SPAN = 0.10
"""A tenth of the value is the least that the height stands for: noise must not look like news."""


def plot(course: Course, last_class: str) -> Markup:
    """Value per night with the range of its rounds; where the toolchain or the configuration changed, a line."""
    points = _in_place(course)
    if not points:
        return Markup("")
    x, y = _XScale(points), _y_scale(points)
    marks = [_mark(before, point, x) for before, point in pairwise(points)]
    bars = [_bar(point, x(point), y, last_class if point is course.tonight else "") for point in points]
    path = " ".join(f"{x(point):.1f},{y(point.value):.1f}" for point in points)
    described = (
        f"{course.metric} of {course.target.text} over {len(points)} nights: from {points[0].value:.4g} to "
        f"{points[-1].value:.4g}"
    )
    return element(
        "svg",
        element("title", described),
        *marks,
        element("polyline", points=path, class_="line"),
        *bars,
        element("text", points[0].night[5:10], x=SIDE, y=HEIGHT - 3, class_="axis"),
        element("text", points[-1].night[5:10], x=WIDTH - SIDE, y=HEIGHT - 3, class_="axis", text_anchor="end"),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        class_="plot",
    )


def _in_place(course: Course) -> list[Point]:
    """One a night, of what ran; a winner ran from the next night on, and has its point there."""
    points = [point for point in course.before if point.role != "winner"]
    return [*points, *([course.tonight] if course.tonight else [])]


class _Scale:
    """A straight line from one range to another."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        self._low, self._first = low, first
        self._per = (last - first) / (high - low) if high > low else 0.0

    def __call__(self, value: float) -> float:
        return self._first + self._per * (value - self._low)


class _XScale:
    """Nights by when they began, so that one that is missing is a gap."""

    def __init__(self, points: Sequence[Point]) -> None:
        first, last = _time(points[0].night), _time(points[-1].night)
        alone = first == last
        self._scale = (
            _Scale(first - 1, last + 1, SIDE, WIDTH - SIDE) if alone else _Scale(first, last, SIDE, WIDTH - SIDE)
        )

    def __call__(self, point: Point) -> float:
        return self._scale(_time(point.night))


def _time(night: str) -> float:
    return datetime.fromisoformat(night).timestamp()


def _y_scale(points: Sequence[Point]) -> _Scale:
    low, high = min(point.low for point in points), max(point.high for point in points)
    middle, half = (low + high) / 2, max((high - low) / 2, LEAST_SPAN / 2 * abs(low + high) / 2)
    return _Scale(middle - half, middle + half, HEIGHT - FOOT - 4, TOP)


def _mark(before: Point, point: Point, x: _XScale) -> Markup | None:
    """A line between two nights of unlike circumstances: dashed for versions, dotted for another configuration."""
    versions = changed(before.toolchain, point.toolchain)
    other = [] if before.config == point.config else [f"now {point.config.text}"]
    if not versions and not other:
        return None
    at = f"{(x(before) + x(point)) / 2:.1f}"
    text = ", ".join([*versions, *other])
    line = element("line", x1=at, x2=at, y1=TOP - 8, y2=HEIGHT - FOOT, class_="update" if versions else "config")
    return element("g", element("title", f"{point.night[:10]}: {text}"), line)


def _bar(point: Point, x: float, y: _Scale, class_: str) -> Markup:
    """The range of a night's rounds, and its value."""
    title = element(
        "title", f"{point.night[:10]}: {point.value:.4g} ({point.low:.4g} to {point.high:.4g}) on {point.node}"
    )
    at = f"{x:.1f}"
    bar = element("line", x1=at, x2=at, y1=f"{y(point.low):.1f}", y2=f"{y(point.high):.1f}", class_="bar")
    dot = element("circle", cx=at, cy=f"{y(point.value):.1f}", r=4 if class_ else 2.2, class_=f"dot {class_}".strip())
    return element("g", joined(title, bar, dot))
