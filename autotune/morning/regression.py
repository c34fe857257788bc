"""Regression: which targets differ from the nights before, and what is suspected; what a reader sees is in `report`.

Two differences are looked at, both in logarithms: what the configuration costs, less what everything else that the
same device measured that night moved by (drift of clocks, another card), and the ratio of the configuration to the
default in rounds of both. Either must be statistically certain **and** large enough to matter. docs/morning.md has the
rule and its error rates.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from autotune.morning.change import Cause, Change, ChangeKind, Shift
from autotune.morning.course import Course, Point, Versions, courses
from autotune.morning.location import center, spread
from autotune.morning.student_t import quantile, tail
from autotune.sweep.due import Target
from autotune.sweep.night import Night
from autotune.verdict import Gain

Key = TypeVar("Key")

THRESHOLD = 0.03
"""Smaller changes are not reported, however certain."""
ERROR = 0.01
"""The chance that a night without any change reports a regression, and as much again for anything faster."""
WINDOW = 14
"""Nights that are looked back on."""
NEIGHBOURS = 3
"""Other targets that must tell what a device, or a SKU, moved by."""
UNLIKE = 1 / 3
"""Of what a device moved by, a target feels more or less than the others by about this share: clocks that sink slow
what is bound by arithmetic, and hardly what is bound by memory."""
PRIOR_NIGHTS = 20
"""How many nights of its own the common spread of all targets counts for; see `_Spread`."""
FEW = 4
"""Degrees of freedom below which no past night can be told to be the odd one."""
UNSEEN = 0.01
"""The standard deviation between nights, where no two nights are alike enough to tell it."""
LEAST = 0.001
"""Never believed to be smaller."""
INTERVAL_TAIL = 0.01
"""Beyond each end of an interval, as in `Gain`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A night against those before it."""

    changes: tuple[Change, ...]
    """One for each target that could be compared."""
    shifts: tuple[Shift, ...]
    """One for each device on which everything moved."""
    uncompared: Mapping[Target, str]
    """What was measured tonight and could not be compared, and why."""


@dataclass(frozen=True, slots=True)
class _Track:
    """A target's tonight, and the earlier nights that it may be compared with: segments of equal circumstances."""

    course: Course
    tonight: Point
    segments: tuple[tuple[Point, ...], ...]
    """Each of one configuration and toolchain. The first is what tonight is compared with: the newest of the same
    configuration, or, if it never ran before, the newest of what ran in its place."""

    @property
    def base(self) -> tuple[Point, ...]:
        return self.segments[0]

    @property
    def is_same(self) -> bool:
        """The same configuration."""
        return self.base[-1].config == self.tonight.config


@dataclass(frozen=True, slots=True)
class _Test:
    """One difference, larger than 0 where tonight is worse."""

    change: float
    error: float
    freedom: float

    @property
    def worse(self) -> float:
        """The chance of so much by noise alone."""
        return tail(self.change / self.error, self.freedom)

    @property
    def better(self) -> float:
        return tail(-self.change / self.error, self.freedom)


@dataclass(frozen=True, slots=True)
class _Finding:
    """What is known of one target's difference."""

    track: _Track
    cost: _Test
    ratio: _Test | None
    raw: float
    """The difference in cost with nothing taken off."""


def compare(
    tonight: Night, history: Sequence[Night], *, threshold: float = THRESHOLD, error: float = ERROR
) -> Comparison:
    """Tonight against the nights before it, oldest first."""
    tracks, uncompared = [], {}
    for course in courses(tonight, history[-WINDOW:]):
        if course.tonight is None:
            continue
        segments = _segments(course, course.tonight)
        if segments:
            tracks.append(_Track(course, course.tonight, segments))
        else:
            uncompared[course.target] = "no earlier night measured it"
    moves = _Moves(tracks)
    findings = _findings(tracks, moves)
    shifts = tuple(_shifts(tracks, moves, threshold, error))
    changes = tuple(_judged(findings, shifts, threshold, error))
    return Comparison(changes=changes, shifts=shifts, uncompared=uncompared)


def _segments(course: Course, tonight: Point) -> tuple[tuple[Point, ...], ...]:
    """Earlier points by configuration and toolchain, what tonight is compared with first."""
    found: dict[tuple[object, Versions], list[Point]] = {}
    for point in course.before:
        found.setdefault((point.config, point.toolchain), []).append(point)
    if not found:
        return ()
    newest = max(course.before, key=lambda point: (point.config == tonight.config, point.night, point.role == "winner"))
    base = found.pop((newest.config, newest.toolchain))
    return (tuple(base), *map(tuple, found.values()))


class _Moves:
    """By how much each target moved from what it usually costs, each night: what a device does to all of them."""

    def __init__(self, tracks: Sequence[_Track]) -> None:
        self._by_place: dict[tuple[str, str], dict[Target, list[float]]] = {}
        for track in tracks:
            for index, segment in enumerate(track.segments):
                self._add(track, segment, tonight=None if index else track.tonight)

    def beside(self, track: _Track, point: Point) -> float:
        """What the others moved by on the same device that night; on the same kind where those are too few."""
        for place in (point.device, track.course.target.sku):
            others = self._by_place.get((point.night, place), {})
            if len(others) - (track.course.target in others) >= NEIGHBOURS:
                own = track.course.target
                return statistics.median(move for target, moves in others.items() if target != own for move in moves)
        return 0.0

    def at(self, night: str, device: str) -> list[float]:
        """One number per target that the device measured that night."""
        return [statistics.fmean(moves) for moves in self._by_place.get((night, device), {}).values()]

    @property
    def places(self) -> Iterable[tuple[str, str]]:
        """Nights, and devices or SKUs."""
        return self._by_place.keys()

    def _add(self, track: _Track, segment: Sequence[Point], tonight: Point | None) -> None:
        usual = center([point.cost for point in segment])
        default = (tonight or segment[-1]).default
        defaults = {p.night: p.default_cost for p in segment if p.default == default and p.default_cost is not None}
        usual_default = center([*defaults.values()]) if defaults else 0.0
        for point in (*segment, *([tonight] if tonight else [])):
            moves = [point.cost - usual]
            if defaults and point.default == default and point.default_cost is not None:
                moves.append(point.default_cost - usual_default)
            for place in (point.device, track.course.target.sku):
                self._by_place.setdefault((point.night, place), {})[track.course.target] = moves


class _Spread:
    """How much one target differs between nights on which nothing changed.

    Of few nights nobody can tell that, so the targets' own variances are drawn towards a common one, which counts as so
    many nights: s² = (d₀ s₀² + d s²) / (d₀ + d) with d₀ + d degrees of freedom.
    Source: Smyth, "Linear models and empirical Bayes methods for assessing differential expression in microarray
    experiments", Statistical Applications in Genetics and Molecular Biology 3 (2004), section 3; there d₀ is estimated.
    The common one is what all targets' residuals share beyond their rounds' own noise; each target adds that of its
    rounds.
    Residuals are cut at three times what is expected, so that one bad night in the past does not hide a bad one today;
    not where the nights are too few to tell which of them was the bad one.
    """

    def __init__(self, groups: Mapping[Target, Sequence[Sequence[float]]], rounds: Mapping[Target, float]) -> None:
        self._groups, self._rounds = groups, rounds
        residuals = [one for series in groups.values() for group in series for one in _residuals(group)]
        within = statistics.median(rounds.values()) if rounds else 0.0
        self._between = max(LEAST**2, spread(residuals) ** 2 - within) if residuals else UNSEEN**2

    def test(self, target: Target, base: Sequence[float], tonight: float, moved: float = 0.0) -> _Test:
        """Tonight against those nights; their centre is known to π/3 of the variance of a mean (`location.center`).

        moved: what was taken off tonight, with an uncertainty of its own.
        """
        expected = self._between + self._rounds[target]
        own = [residual for group in self._groups[target] for residual in _residuals(group)]
        freedom = sum(len(group) - 1 for group in self._groups[target] if group)
        limit = 3.0 * math.sqrt(expected) if freedom >= FEW else math.inf
        share = freedom / len(own) if own else 0.0  # residuals are scaled up to their full variance
        squares = share * sum(min(abs(residual), limit) ** 2 for residual in own)
        variance = (PRIOR_NIGHTS * expected + squares) / (PRIOR_NIGHTS + freedom)
        centered = (math.pi / 3 if len(base) > 2 else 1.0) / len(base)
        error = math.sqrt(variance * (1.0 + centered) + (UNLIKE * moved) ** 2)
        return _Test(tonight - center(base), error, PRIOR_NIGHTS + freedom)


def _residuals(group: Sequence[float]) -> list[float]:
    """From their centre, scaled to the variance of a single one."""
    if len(group) < 2:
        return []
    middle, scale = center(group), math.sqrt(len(group) / (len(group) - 1))
    return [scale * (value - middle) for value in group]


def _findings(tracks: Sequence[_Track], moves: _Moves) -> list[_Finding]:
    costs = {
        track.course.target: [[point.cost - moves.beside(track, point) for point in one] for one in track.segments]
        for track in tracks
    }
    ratios = {track.course.target: [_ratios(track, one) for one in track.segments] for track in tracks}
    rounds = {track.course.target: _rounds(track, "variance") for track in tracks}
    ratio_rounds = {track.course.target: _rounds(track, "ratio_variance") for track in tracks}
    by_cost, by_ratio = _Spread(costs, rounds), _Spread(ratios, ratio_rounds)
    found = []
    for track in tracks:
        own, now = track.course.target, track.tonight
        moved = moves.beside(track, now)
        cost = by_cost.test(own, costs[own][0], now.cost - moved, moved)
        paired = now.ratio is not None and bool(ratios[own][0])
        ratio = by_ratio.test(own, ratios[own][0], now.ratio) if paired and now.ratio is not None else None
        found.append(_Finding(track, cost, ratio, now.cost - center([point.cost for point in track.base])))
    return found


def _ratios(track: _Track, segment: Sequence[Point]) -> list[float]:
    """Against the default that tonight has."""
    return [point.ratio for point in segment if point.ratio is not None and point.default == track.tonight.default]


def _rounds(track: _Track, name: str) -> float:
    """The variance that a night's number has by its rounds: the median over the nights, since some have an outlier."""
    points = (track.tonight, *(point for segment in track.segments for point in segment))
    return float(statistics.median(getattr(point, name) for point in points))


def _judged(findings: Sequence[_Finding], shifts: Sequence[Shift], threshold: float, error: float) -> Iterator[Change]:
    """Both families of tests, worse and better, are held to the error by themselves."""
    tests = {
        (index, name): test
        for index, one in enumerate(findings)
        for name, test in (("cost", one.cost), ("ratio", one.ratio))
        if test is not None and (name == "cost" or test.error < one.cost.error)
    }
    worse = rejected({key: test.worse for key, test in tests.items()}, error)
    better = rejected({key: test.better for key, test in tests.items()}, error)
    shifted = {shift.device: shift for shift in shifts}
    for index, one in enumerate(findings):
        sure = [tests[key] for key in ((index, "ratio"), (index, "cost")) if key in worse | better]
        yield _change(one, sure, threshold, shifted.get(one.track.tonight.device))


def rejected(chances: Mapping[Key, float], error: float) -> set[Key]:
    """Which hypotheses fall, so that any true one among them falls with that chance at most, whatever they share.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
    """
    fallen: set[Key] = set()
    for key in sorted(chances, key=lambda key: chances[key]):
        if chances[key] > error / (len(chances) - len(fallen)):
            break
        fallen.add(key)
    return fallen


def _change(one: _Finding, sure: Sequence[_Test], threshold: float, shift: Shift | None) -> Change:
    track = one.track
    large = [test for test in sure if abs(_gain(track, test).mean) >= threshold and _is_its_own(one, test, threshold)]
    test = min(large, key=lambda test: test.error) if large else one.cost
    size, kind = _gain(track, test), ChangeKind.SAME
    if large:
        kind = ChangeKind.REGRESSED if test.change > 0 else ChangeKind.FASTER
        cause, evidence = _suspicion(one, test)
        if cause is Cause.HARDWARE and len(evidence) > 1 and abs(size.mean) < 2 * threshold:
            kind = ChangeKind.SAME  # another device, the default moved as much: so far apart two devices may be
    else:
        cause, evidence = _reservation(one, sure, threshold, shift)
    return Change(
        target=track.course.target,
        kind=kind,
        size=size,
        cause=cause,
        evidence=evidence,
        nights=len(track.base),
        device=track.tonight.device,
        node=track.tonight.node,
    )


def _is_its_own(one: _Finding, test: _Test, threshold: float) -> bool:
    """A ratio also changes where only the default did; the configuration's own cost must make up half of it."""
    own = one.raw * math.copysign(1.0, test.change)
    return test is one.cost or own >= max(threshold, abs(test.change)) / 2


def _suspicion(one: _Finding, test: _Test) -> tuple[Cause, tuple[str, ...]]:
    """The first that applies is the cause; all that apply are evidence."""
    track, now = one.track, one.track.tonight
    found: list[tuple[Cause, str]] = []
    if not track.is_same:
        found.append(
            (Cause.CONFIGURATION, f"{now.config.text} is in place, before it was {track.base[-1].config.text}")
        )
    if versions := changed(track.base[-1].toolchain, now.toolchain):
        found.append((Cause.TOOLCHAIN, ", ".join(versions)))
    if now.device not in {point.device for point in track.base}:
        before = track.base[-1]
        found.append(
            (Cause.HARDWARE, f"{now.device} on {now.node} measured it, before {before.device} on {before.node}")
        )
    if one.ratio is not None:
        default = test.change - one.ratio.change
        if default / test.change > 0.5:
            became = _signed(_gain(track, _Test(default, 0.0, 1.0)).mean)
            found.append((Cause.HARDWARE, f"the default became {became} as well"))
    if not found:
        return Cause.UNKNOWN, ("the same versions, device and configuration; the default did not move",)
    return found[0][0], tuple(text for _, text in found)


def _reservation(
    one: _Finding, sure: Sequence[_Test], threshold: float, shift: Shift | None
) -> tuple[Cause, tuple[str, ...]]:
    """Why something that reads otherwise is no change; nothing where it does not."""
    raw = _gain(one.track, _Test(one.raw, 0.0, 1.0)).mean
    if shift is not None and abs(raw) >= threshold:
        return shift.cause, (f"reads {_signed(raw)}, as does all that {shift.device} measured",)
    size = _gain(one.track, one.cost)
    if one.cost in sure:
        return Cause.NOISE, (f"certain, and smaller than {100 * threshold:g} %",)
    if abs(size.mean) >= threshold:
        return Cause.NOISE, (
            f"large enough, and not certain: nights differ by {100 * one.cost.error:.1f} % by themselves",
        )
    return Cause.NONE, ()


def _shifts(tracks: Sequence[_Track], moves: _Moves, threshold: float, error: float) -> Iterator[Shift]:
    """Devices all of whose targets moved together, further than devices do from night to night."""
    here: dict[str, list[_Track]] = {}
    for track in tracks:
        here.setdefault(track.tonight.device, []).append(track)
    here = {device: there for device, there in here.items() if len(there) > NEIGHBOURS}
    nights = {track.tonight.night for track in tracks}
    devices = {point.device for track in tracks for segment in track.segments for point in segment}
    usual = [
        statistics.median(found)
        for night, place in moves.places
        if night not in nights and place in devices and len(found := moves.at(night, place)) >= NEIGHBOURS
    ]
    between = max(LEAST, spread(usual)) if usual else UNSEEN
    for device, there in here.items():
        found = moves.at(there[0].tonight.night, device)
        middle = statistics.median(found)
        own = spread([move - middle for move in found]) ** 2 * math.pi / 2 / len(found)
        test = _Test(middle, math.sqrt(between**2 + own), max(3, len(usual)))
        size = _gain(there[0], test)
        if min(test.worse, test.better) <= error / len(here) and abs(size.mean) >= threshold:
            versions = [text for track in there for text in changed(track.base[-1].toolchain, track.tonight.toolchain)]
            is_new = len(versions) >= len(there) / 2
            evidence = ", ".join(dict.fromkeys(versions)) if is_new else "all that it measured moved together"
            cause = Cause.TOOLCHAIN if is_new else Cause.HARDWARE
            node = there[0].tonight.node
            yield Shift(device=device, node=node, size=size, targets=len(there), cause=cause, evidence=evidence)


def _gain(track: _Track, test: _Test) -> Gain:
    """A difference of logarithms as a share of what was, and its interval."""
    half = quantile(INTERVAL_TAIL, test.freedom) * test.error
    ends = (test.change, test.change + half, test.change - half)
    if track.course.direction == "minimize":
        mean, low, high = (-math.expm1(one) for one in ends)
    else:
        mean, low, high = (math.expm1(-one) for one in ends)
    return Gain(mean=mean, low=low, high=high)


def changed(before: Versions, after: Versions) -> list[str]:
    """`triton 3.6.0 → 3.7.0`, of each that is another one."""
    old, new = dict(before), dict(after)
    return [
        f"{name} {old.get(name, 'none')} → {new.get(name, 'none')}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _signed(share: float) -> str:
    return f"{100 * abs(share):.1f} % {'worse' if share < 0 else 'better'}"
