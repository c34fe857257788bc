"""Report: what somebody wants to know in the morning, as one value; how it is shown is in `text` and `page`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from autotune.event import Event, EventKind
from autotune.morning.change import Cause, Change, ChangeKind, Shift, target_json
from autotune.morning.course import Course, courses
from autotune.morning.regression import WINDOW, changed, compare
from autotune.sweep.due import DueKind, Target
from autotune.sweep.night import Deed, Night, Result
from autotune.verdict import Gain, VerdictKind

SCHEMA = "autotune-morning/1"

NEEDS_SOMEBODY = frozenset({EventKind.LOST, EventKind.QUARANTINED, EventKind.DATABASE})
"""What is not over by itself, or may not be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """A configuration that came into its place tonight."""

    target: Target
    gain: Gain | None
    over: str
    """`incumbent` or `default`: what the gain is over."""
    config: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        gain = self.gain and self.gain.to_json()
        return {
            **target_json(self.target),
            "gain": gain,
            "over": self.over,
            "config": self.config,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Something that a reader would expect and does not find."""

    what: str
    why: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"what": self.what, "why": self.why}


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCount:
    """Trials of one target that failed the same way on the same node."""

    target: Target
    what: str
    """`KIND on NODE`."""
    trials: int

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**target_json(self.target), "what": self.what, "trials": self.trials}


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the night amounted to."""

    targets: int
    deeds: dict[str, int]
    trials: int
    failed_trials: int
    gpu_hours: float
    elapsed_h: float

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class MorningReport:
    """One night, and what it means against those before."""

    night: Night
    compared_with: tuple[str, ...]
    """When the earlier nights began, oldest first."""
    changes: tuple[Change, ...]
    shifts: tuple[Shift, ...]
    winners: tuple[Winner, ...]
    failures: tuple[FailureCount, ...]
    missing: tuple[Absence, ...]
    totals: Totals
    courses: tuple[Course, ...]
    """Each target's nights, for who wants to see them."""
    updates: tuple[tuple[str, str], ...]
    """What changed in the toolchain of any target, by the night that it was first seen in."""

    @property
    def regressed(self) -> tuple[Change, ...]:
        """The worst first."""
        found = (one for one in self.changes if one.kind is ChangeKind.REGRESSED)
        return tuple(sorted(found, key=lambda one: one.size.mean))

    @property
    def faster(self) -> tuple[Change, ...]:
        """What the same configuration gained by itself, the most first."""
        found = (one for one in self.changes if one.kind is ChangeKind.FASTER)
        return tuple(sorted(found, key=lambda one: -one.size.mean))

    @property
    def unclear(self) -> tuple[Change, ...]:
        """What reads otherwise and is no change of its own, with why."""
        return tuple(one for one in self.changes if one.kind is ChangeKind.SAME and one.cause is not Cause.NONE)

    @property
    def failed(self) -> tuple[Result, ...]:
        """Targets that were due and could not be done."""
        return tuple(result for result in self.night.results if result.deed is Deed.FAILED)

    @property
    def worries(self) -> tuple[Event, ...]:
        """Events that somebody should look at."""
        return tuple(event for event in self.night.events if event.kind in NEEDS_SOMEBODY)

    @property
    def has_regression(self) -> bool:
        """Of a target, or of all that a device measured since its toolchain changed."""
        return bool(self.regressed) or any(one.is_slower and one.cause is Cause.TOOLCHAIN for one in self.shifts)

    @property
    def slower_devices(self) -> tuple[Shift, ...]:
        """Devices that slowed all they measured."""
        return tuple(one for one in self.shifts if one.is_slower)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "schema": SCHEMA,
            "night": self.night.started_at,
            "ended_at": self.night.ended_at,
            "generation": self.night.generation,
            "compared_with": list(self.compared_with),
            "has_regression": self.has_regression,
            "regressed": [one.to_json() for one in self.regressed],
            "faster": [one.to_json() for one in self.faster],
            "winners": [one.to_json() for one in self.winners],
            "devices_moved": [one.to_json() for one in self.shifts],
            "unclear": [one.to_json() for one in self.unclear],
            "failed": [{**target_json(one.due.target), "message": one.message} for one in self.failed],
            "failed_trials": [one.to_json() for one in self.failures],
            "events": [event.to_json() for event in self.night.events],
            "missing": [one.to_json() for one in self.missing],
            "toolchain_changes": [{"night": night, "change": text} for night, text in self.updates],
            "totals": self.totals.to_json(),
        }


def morning_report(tonight: Night, history: Sequence[Night]) -> MorningReport:
    """Tonight against the nights before it, in any order; later ones are not looked at."""
    before = sorted(
        (night for night in history if night.started_at < tonight.started_at), key=lambda one: one.started_at
    )
    before = before[-WINDOW:]
    comparison = compare(tonight, before)
    uncompared = (Absence(what=target.text, why=why) for target, why in comparison.uncompared.items())
    return MorningReport(
        night=tonight,
        compared_with=tuple(night.started_at for night in before),
        changes=comparison.changes,
        shifts=comparison.shifts,
        winners=tuple(_winners(tonight)),
        failures=tuple(
            FailureCount(target=result.due.target, what=what, trials=count)
            for result in tonight.results
            for what, count in result.failures.items()
        ),
        missing=(*_missing(tonight, before), *(uncompared if before else ())),
        totals=_totals(tonight),
        courses=courses(tonight, before),
        updates=tuple(_updates([*before, tonight])),
    )


def _winners(tonight: Night) -> Iterator[Winner]:
    for result in tonight.results:
        verdict = result.verdict
        if (
            result.deed is Deed.TUNED
            and verdict
            and verdict.winner is not None
            and verdict.kind is VerdictKind.PROMOTED
        ):
            yield Winner(
                target=result.due.target,
                gain=verdict.over_incumbent or verdict.over_default,
                over="incumbent" if verdict.over_incumbent else "default",
                config=verdict.winner.text,
                reason=verdict.reason,
            )


def _missing(tonight: Night, before: Sequence[Night]) -> Iterator[Absence]:
    if not before:
        yield Absence(what="earlier nights", why="this is the first on record, and nothing can be compared")
    for text in tonight.missing:
        yield Absence(what=text, why="the night says so itself")
    for result in tonight.results:
        if result.deed is Deed.OUT_OF_BUDGET:
            yield Absence(what=result.due.target.text, why=f"the budget ended; {result.due.kind}")
        elif result.deed is Deed.LEFT and result.due.kind is not DueKind.FRESH:
            yield Absence(what=result.due.target.text, why=f"it was left, though {result.due.kind}")
        elif result.deed in (Deed.TUNED, Deed.RECHECKED) and not result.readings:
            yield Absence(what=result.due.target.text, why=f"it was {result.deed}, and nothing was read")
    here = {result.due.target for result in tonight.results}
    for result in before[-1].results if before else ():
        if result.due.target not in here:
            yield Absence(what=result.due.target.text, why="it was looked at the night before, and tonight it was not")


def _totals(tonight: Night) -> Totals:
    results = tonight.results
    elapsed = datetime.fromisoformat(tonight.ended_at) - datetime.fromisoformat(tonight.started_at)
    return Totals(
        targets=len(results),
        deeds=dict(Counter(result.deed.value for result in results)),
        trials=sum(result.trials for result in results),
        failed_trials=sum(sum(result.failures.values()) for result in results),
        gpu_hours=round(sum(result.gpu_s for result in results) / 3600, 2),
        elapsed_h=round(elapsed.total_seconds() / 3600, 2),
    )


def _updates(nights: Iterable[Night]) -> Iterator[tuple[str, str]]:
    """Of each kind of device, what its results were measured with, whenever that is another one."""
    last: dict[tuple[Target, str], str] = {}
    seen: set[tuple[str, str]] = set()
    for night in nights:
        for result in night.results:
            now = {name: version for name, version in result.toolchain.items() if result.readings}
            before = {name: last[key] for name in now if (key := (result.due.target, name)) in last}
            for text in changed(tuple(before.items()), tuple((name, now[name]) for name in before)):
                if (night.started_at, text) not in seen:
                    seen.add((night.started_at, text))
                    yield night.started_at, text
            last.update({(result.due.target, name): version for name, version in now.items()})
