"""Text: the report in a terminal or a log; on a page it is in `page`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autotune.morning import words
from autotune.morning.change import Change
from autotune.morning.report import MorningReport


def report_view(report: MorningReport) -> Group:
    """First what somebody must know, then what there is to know."""
    return Group(*_parts(report))


def _parts(report: MorningReport) -> Iterator[RenderableType]:
    night = report.night
    yield Text.assemble(
        (f"Night of {words.night_text(night.started_at)} UTC", "bold"), f"  {words.totals_text(report)}"
    )
    yield Text.assemble(
        (words.headline(report), "bold red" if report.has_regression else "bold"), f" {_compared(report)}"
    )
    for line in words.needs(report):
        yield Text(f"  ! {line}", "yellow")
    yield from _table("Slower", ("target", "change", "suspected cause"), [_row(one) for one in report.regressed])
    winners = [
        (one.target.text, f"{words.size_text(one.gain)} than the {one.over}" if one.gain else "-", one.config)
        for one in report.winners
    ]
    yield from _table("New winners", ("target", "gain", "configuration"), winners)
    yield from _table("Faster by itself", ("target", "change", "suspected cause"), [_row(one) for one in report.faster])
    shifts = [
        (f"{one.device} on {one.node}", words.size_text(one.size), words.cause_text(one)) for one in report.shifts
    ]
    yield from _table("Devices on which everything moved", ("device", "change", "suspected cause"), shifts)
    yield from _table(
        "Not certain, or not the target's own", ("target", "change", "why"), [_row(one) for one in report.unclear]
    )
    failed = [(one.due.target.text, one.message, "") for one in report.failed]
    trials = [(one.target.text, one.what, words.count(one.trials, "trial")) for one in report.failures]
    yield from _table("Failed", ("target", "what", ""), [*failed, *trials])
    events = [
        (words.night_text(one.at), f"{one.kind.value} {one.node} {one.device}", one.message) for one in night.events
    ]
    yield from _table("Events", ("when", "what", ""), events)
    missing = [(one.what, one.why) for one in report.missing]
    yield from _table("Missing", ("what", "why"), missing)


def _compared(report: MorningReport) -> str:
    if not report.compared_with:
        return ""
    nights = words.count(len(report.compared_with), "night")
    return f"{words.unchanged(report)} of {len(report.changes)} compared are as they were, against {nights} before."


def _row(change: Change) -> tuple[str, str, str]:
    return change.target.text, words.size_text(change.size), words.cause_text(change)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[RenderableType]:
    """Nothing where there are no rows. Cells are Text: what looks like rich's markup in a name is none."""
    if not rows:
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    yield Text()
    yield Text(title, "bold")
    yield table
