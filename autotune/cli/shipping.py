"""The commands that carry winners elsewhere: `export`, `import`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from autotune import snapshot
from autotune.cli.options import Name, Sku
from autotune.errors import UserError
from autotune.lookup import refresh
from autotune.portfolio.portfolio import Portfolio
from autotune.registry import Registry
from autotune.settings import Settings


def export_(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Snapshots are written or updated here.", show_default=False)],
    name: Name = None,
    sku: Sku = None,
) -> None:
    """Write the current winners as snapshot files, to be shipped in a repository."""
    with Registry.open(context.obj.database) as registry:
        tuned, portfolios = registry.current(name, sku), registry.portfolios(name, sku)
    if not tuned:
        raise UserError("there is nothing to export; tune something first: autotune study FILE.")
    for path in snapshot.write(folder, tuned, portfolios):
        print(path)


def import_(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="A snapshot file or a folder of them.", show_default=False)],
    overwrite: Annotated[bool, typer.Option("--replace", help="Also where what is here was measured later.")] = False,
) -> None:
    """Take winners from snapshot files into the registry."""
    chosen: Settings = context.obj
    found = snapshot.read_all(path)
    rules = [portfolio for file in snapshot.files(path) for portfolio in snapshot.portfolios(file)]
    with Registry.open(chosen.database) as registry:
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
            everything = registry.current(workload_name, sku), registry.portfolios(workload_name, sku)
            snapshot.write(chosen.snapshots, *everything)
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
