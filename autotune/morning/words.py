"""Words: how a report's numbers are said, alike in a terminal and on a page."""

from __future__ import annotations

import math

from autotune.morning.change import Change, ChangeKind, Shift
from autotune.morning.report import MorningReport
from autotune.verdict import Gain


def size_text(gain: Gain) -> str:
    """`5.1 % slower (4.0 to 6.2)`: worse or better, and between which."""
    worse = gain.mean < 0
    low, high = (-gain.high, -gain.low) if worse else (gain.low, gain.high)
    between = f" ({100 * low:.1f} to {100 * high:.1f})" if math.isfinite(low) and math.isfinite(high) else ""
    return f"{100 * abs(gain.mean):.1f} % {'slower' if worse else 'faster'}{between}"


def night_text(at: str) -> str:
    """`2026-11-24 01:00`."""
    return at[:16].replace("T", " ")


def cause_text(change: Change | Shift) -> str:
    """What is suspected, and what speaks for it."""
    evidence = change.evidence if isinstance(change.evidence, str) else "; ".join(change.evidence)
    return ": ".join(part for part in (change.cause.value, evidence) if part)


def headline(report: MorningReport) -> str:
    """Did anything get worse?"""
    if not report.compared_with:
        return "The first night on record: nothing to compare with yet."
    parts = []
    if report.regressed:
        parts.append(f"{count(len(report.regressed), 'target')} got slower")
    if report.slower_devices:
        parts.append(f"{count(len(report.slower_devices), 'device')} slowed all they measured")
    if parts:
        return f"{' and '.join(parts)}.".capitalize()
    return "Nothing got worse."


def gains(report: MorningReport) -> str:
    """What got better?"""
    parts = []
    if report.winners:
        parts.append(count(len(report.winners), "new winner"))
    if report.faster:
        parts.append(f"{count(len(report.faster), 'target')} faster by themselves")
    return ", ".join(parts) or "Nothing new"


def needs(report: MorningReport) -> tuple[str, ...]:
    """Does anything need somebody? A line each, what is most urgent first."""
    slower = [f"{one.target.text}: {size_text(one.size)}; {cause_text(one)}" for one in report.regressed]
    moved = [
        f"{one.device} on {one.node}: {size_text(one.size)} on all {one.targets} targets; {cause_text(one)}"
        for one in report.slower_devices
    ]
    failed = [f"{one.due.target.text} failed: {one.message or 'no reason on record'}" for one in report.failed]
    events = [
        f"{' '.join(filter(None, (one.node, one.device)))} {one.kind.value}: {one.message}" for one in report.worries
    ]
    return (*slower, *moved, *failed, *events)


def totals_text(report: MorningReport) -> str:
    """`24 targets: 3 tuned, 20 left; 310 trials, 4 of them failed; 5.1 GPU hours in 2.0 h`."""
    totals = report.totals
    deeds = ", ".join(f"{number} {deed}" for deed, number in totals.deeds.items())
    failed = f", {totals.failed_trials} of them failed" if totals.failed_trials else ""
    used = f"{totals.gpu_hours:.1f} GPU hours in {totals.elapsed_h:.1f} h"
    return (
        f"{count(totals.targets, 'target')}: {deeds or 'nothing done'}; {count(totals.trials, 'trial')}{failed}; {used}"
    )


def unchanged(report: MorningReport) -> int:
    """How many were compared and are what they were."""
    return sum(one.kind is ChangeKind.SAME for one in report.changes)


def count(number: int, noun: str) -> str:
    """`1 target`, `2 targets`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
