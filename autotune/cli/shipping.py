"""The commands that carry winners elsewhere, or take them back: `export`, `import`, `rollback`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autotune import document, publication, snapshot, tables
from autotune.cli.options import AsJson, Name, Sku
from autotune.errors import UserError
from autotune.lookup import refresh
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
        tuned = registry.current(name, sku)
        if not tuned:
            raise UserError("there is nothing to export; tune something first: autotune study FILE.")
        if folder is None:
            publication.rewrite(registry, chosen.snapshots)
            print(chosen.snapshots)
            return
    for path in snapshot.write(folder, tuned):
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
    with Registry.open(chosen.database, patience_s=0) as registry:
        newer = {(t.workload, t.problem, t.sku, t.gpus): t.measured_at for t in registry.current()}
        taken = [
            tuned
            for tuned in found
            if overwrite or tuned.measured_at > newer.get((tuned.workload, tuned.problem, tuned.sku, tuned.gpus), "")
        ]
        for tuned in taken:
            registry.promote(tuned, None)
        for workload_name, sku in dict.fromkeys((t.workload, t.sku) for t in taken):
            publication.write(registry, chosen.snapshots, workload_name, sku)
    refresh()
    kept = len(found) - len(taken)
    print(
        f"{len(taken)} imported" + (f", {kept} left out: what is here was measured later (--replace)" if kept else "")
    )
