"""The commands that carry winners elsewhere, or take them back: `export`, `import`, `rollback`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from autotune import document, publication, snapshot, tables
from autotune.cli.options import AsJson, Name, Sku
from autotune.errors import UserError
from autotune.lookup import refresh
from autotune.portfolio.portfolio import Portfolio
from autotune.registry import Registry
from autotune.report import print_answer
from autotune.settings import Settings


def export_(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(help="Snapshots are written or updated here; default: the data directory's own, all of them."),
    ] = None,
    name: Name = None,
    sku: Sku = None,
) -> None:
    """Write the current winners as snapshot files, to be shipped in a repository; or the user's own files anew."""
    chosen: Settings = context.obj
    with Registry.open(chosen.database, patience_s=0) as registry:
        publication.repair(registry, chosen.snapshots)
        tuned, portfolios = registry.current(name, sku), registry.portfolios(name, sku)
        if not tuned:
            raise UserError("there is nothing to export; tune something first: autotune study FILE.")
        if folder is None:
            publication.rewrite(registry, chosen.snapshots)
            print(chosen.snapshots)
            return
    for path in snapshot.write(folder, tuned, portfolios):
        print(path)


def rollback(
    context: typer.Context,
    to: Annotated[int | None, typer.Option("--to", min=0, help="This generation; 0 is before the first.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make current again what the last published generation superseded; see `show --generations`."""
    chosen: Settings = context.obj
    with Registry.open(chosen.database, patience_s=0) as registry:
        changeover = publication.roll_back(registry, chosen.snapshots, to)
    refresh()
    print_answer(document.changeover_document(changeover), tables.changeover_view(changeover), as_json=as_json)


def import_(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="A snapshot file or a folder of them.", show_default=False)],
    overwrite: Annotated[bool, typer.Option("--replace", help="Also where what is here was measured later.")] = False,
) -> None:
    """Take winners from snapshot files into the registry."""
    chosen: Settings = context.obj
    found = snapshot.read_all(path)
    rules = [portfolio for file in snapshot.files(path) for portfolio in snapshot.portfolios(file)]
    with Registry.open(chosen.database, patience_s=0) as registry:
        newer = {(t.workload, t.problem, t.sku, t.gpus): t.measured_at for t in registry.current()}
        taken = [
            tuned
            for tuned in found
            if overwrite or tuned.measured_at > newer.get((tuned.workload, tuned.problem, tuned.sku, tuned.gpus), "")
        ]
        for tuned in taken:
            registry.promote(tuned, None)
        taken_rules = _take_rules(registry, rules, overwrite=overwrite)
        places = [*((one.workload, one.sku) for one in taken), *((one.workload, one.sku) for one in taken_rules)]
        for workload_name, sku in dict.fromkeys(places):
            publication.write(registry, chosen.snapshots, workload_name, sku)
    refresh()
    kept = len(found) - len(taken)
    rules_too = f" and {len(taken_rules)} rule{'s' * (len(taken_rules) != 1)}" if taken_rules else ""
    left_out = f", {kept} left out: what is here was measured later (--replace)" if kept else ""
    print(f"{len(taken)}{rules_too} imported{left_out}")


def _take_rules(registry: Registry, found: Sequence[Portfolio], *, overwrite: bool) -> list[Portfolio]:
    """Make those current that were measured later than what is here."""
    newer = {(one.workload, one.sku, one.measure): one.measured_at for one in registry.portfolios()}
    taken = [one for one in found if overwrite or one.measured_at > newer.get((one.workload, one.sku, one.measure), "")]
    for one in taken:
        registry.promote_portfolio(one)
    return taken
