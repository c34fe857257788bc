"""The command that tells what a night meant: `report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from autotune.cli.options import AsJson
from autotune.errors import UserError
from autotune.morning.page import page
from autotune.morning.regression import WINDOW
from autotune.morning.report import MorningReport, morning_report
from autotune.morning.text import report_view
from autotune.registry import Registry
from autotune.report import print_answer
from autotune.sweep.ledger import Ledger
from autotune.sweep.night import Night

REGRESSED = 3
"""The exit code of a night that holds a regression."""
LOOKED_BACK = 400
"""Nights among which one is found that is asked for by its date."""


class NightsOnRecord(Protocol):
    """Where nights are kept."""

    def nights(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """The newest nights, at most so many, each as `Night.to_json` wrote it."""


class _Complete:
    """The nights of a registry that came to their end."""

    def __init__(self, registry: Registry) -> None:
        self._ledger = Ledger(registry, registry, lambda generation: None)

    def nights(self, limit: int) -> list[Mapping[str, Any]]:
        return [night.to_json() for night in self._ledger.history(limit)]


def report(
    context: typer.Context,
    night: Annotated[str, typer.Argument(metavar="[NIGHT]", help="When it began, or the first part of that.")] = "",
    html: Annotated[Path | None, typer.Option("--html", help="Write it as one page to this file too.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a night of tuning meant: the last on record, or NIGHT. Exit code 3 where something regressed."""
    with Registry.open(context.obj.database) as registry:
        found = report_of(_Complete(registry), night)
    if html is not None:
        html.write_text(page(found), encoding="utf-8")
    print_answer(found.to_json(), report_view(found), as_json=as_json)
    if found.has_regression:
        raise typer.Exit(REGRESSED)


def report_of(registry: NightsOnRecord, night: str = "") -> MorningReport:
    """Of the last night whose beginning starts so."""
    wanted = night.strip().replace(" ", "T")
    limit = LOOKED_BACK if wanted else WINDOW + 1
    nights = sorted(map(Night.from_json, registry.nights(limit)), key=lambda one: one.started_at)
    if not nights:
        raise UserError("No night is on record yet: autotune sweep leaves one.")
    chosen = [one for one in nights if one.started_at.startswith(wanted)]
    if not chosen:
        began = ", ".join(one.started_at for one in nights[-3:])
        raise UserError(f"No night that began {night} is on record; the last ones began {began}.")
    return morning_report(chosen[-1], nights)
