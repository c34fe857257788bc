"""Decision: what is due tonight, told by what is known of each target; docs/sweep.md has the table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from autotune.lookup import COMPARED, leading_numbers
from autotune.plan import Plan
from autotune.registry.records import StudyKey
from autotune.sweep.configuration import SweepConfiguration
from autotune.sweep.due import Due, DueKind
from autotune.sweep.past import Past, target_of

DAY_S = 86400
RESTED_S = DAY_S / 2
"""What was looked at less long ago is no canary: a sweep that is run again the same night measures nothing again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tonight:
    """The moment by which things are old, and the night by which canaries are drawn."""

    started_at: str
    """UTC, ISO 8601; of a night that goes on, its first start."""

    @property
    def number(self) -> int:
        """Days since the year 1: two sweeps of one day draw the same canaries."""
        return self._moment.toordinal()

    def seconds_since(self, moment: str) -> float:
        """From then to the start."""
        return (self._moment - datetime.fromisoformat(moment).astimezone(UTC)).total_seconds()

    @property
    def _moment(self) -> datetime:
        return datetime.fromisoformat(self.started_at).astimezone(UTC)


def decide(plan: Plan, past: Past, parts: frozenset[str], tonight: Tonight, configuration: SweepConfiguration) -> Due:
    """What the plan's target is due for, and why.

    parts: of the toolchain, those that the workload uses. A study's key has them all, so that nothing that was
    measured under different ones is put together; whether a result still stands depends on these alone.
    """
    kind, reasons = _standing(plan.key, past, parts, tonight, configuration)
    left_over = past.left_over
    if left_over and left_over.kind is DueKind.HARD_STALE and kind not in (DueKind.NEVER_TUNED, DueKind.HARD_STALE):
        kind, reasons = left_over.kind, list(left_over.reasons)
    if kind is DueKind.FRESH and (reason := _canary(target_of(plan).text, past, tonight, configuration)):
        kind, reasons = DueKind.CANARY, [reason]
    return Due(target=target_of(plan), kind=kind, reasons=tuple(reasons))


def _standing(
    key: StudyKey, past: Past, parts: frozenset[str], tonight: Tonight, configuration: SweepConfiguration
) -> tuple[DueKind, list[str]]:
    if not past.was_tuned and past.moved_from:
        return DueKind.HARD_STALE, [f"SKU {past.moved_from} became {key.sku}"]
    if not past.was_tuned:
        elsewhere = f"tuned on {', '.join(past.elsewhere)} only" if past.elsewhere else "never tuned"
        return DueKind.NEVER_TUNED, [elsewhere]
    if hard := _hard_reasons(key, past, parts):
        return DueKind.HARD_STALE, hard
    soft = _soft_reasons(key, past, parts, tonight, configuration)
    if soft and (past.has_nothing or past.tuned is None):
        return DueKind.HARD_STALE, ["no configuration ran", *soft]  # there is nothing that could be measured again
    return (DueKind.SOFT_STALE, soft) if soft else (DueKind.FRESH, [])


def _hard_reasons(key: StudyKey, past: Past, parts: frozenset[str]) -> list[str]:
    """Against what it was tuned with, not against what it was measured again with."""
    study, reasons = past.study, []
    version = study.key.version if study else past.tuned.version if past.tuned else key.version
    if version != key.version:
        reasons.append(f"its source {version} became {key.version}")
    if study and study.key.space_fingerprint != key.space_fingerprint:
        reasons.append(f"its space {study.key.space_fingerprint[:8]} became {key.space_fingerprint[:8]}")
    then = study.key.toolchain if study else past.tuned.toolchain if past.tuned else {}
    return reasons + [
        f"{name} {then[name]} became {key.toolchain[name]}"
        for name in _in_both(then, key.toolchain, parts)
        if name in COMPARED and not _agree(name, then, key.toolchain)
    ]


def _soft_reasons(
    key: StudyKey, past: Past, parts: frozenset[str], tonight: Tonight, configuration: SweepConfiguration
) -> list[str]:
    then = past.toolchain or {}
    reasons = [
        f"{name} {then[name]} became {key.toolchain[name]}"
        for name in _in_both(then, key.toolchain, parts)
        if then[name] != key.toolchain[name]
    ]
    days = tonight.seconds_since(past.looked_at) / DAY_S
    if days > configuration.soft_after_days:
        reasons.append(f"last measured {days:.0f} days ago")
    return reasons


def _in_both(then: Mapping[str, str], now: Mapping[str, str], parts: Iterable[str]) -> list[str]:
    """What is known of both: a part that came or went says nothing of what changed."""
    return sorted(name for name in parts if name in then and name in now)


def _agree(name: str, then: Mapping[str, str], now: Mapping[str, str]) -> bool:
    count = COMPARED[name]
    return leading_numbers(then[name], count) == leading_numbers(now[name], count)


def _canary(target: str, past: Past, tonight: Tonight, configuration: SweepConfiguration) -> str:
    """Why it is one tonight; empty where it is none. The same all night, and its turn is always the same night."""
    rested_s, nights = tonight.seconds_since(past.looked_at), configuration.full_every_nights
    if past.has_nothing or past.tuned is None or rested_s < RESTED_S:
        return ""
    if nights and (tonight.number % nights == _draw(target, "") % nights or rested_s >= nights * DAY_S):
        return f"its turn, once in {nights} nights"
    drawn = _draw(target, str(tonight.number)) / 2**64
    return "drawn as a sample" if drawn < configuration.canary_share else ""


def _draw(target: str, night: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{night}/{target}".encode()).digest()[:8], "big")
