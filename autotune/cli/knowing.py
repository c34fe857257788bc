"""The commands that tell what is known: `show`, `lookup`, `devices`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from autotune import device, document, plot, tables
from autotune.cli.options import AsJson, Name, Sku
from autotune.device.tenants import tenants
from autotune.errors import UserError
from autotune.lookup import Lookup, lookup
from autotune.registry import Registry
from autotune.report import print_answer
from autotune.values import Problem


def show(
    context: typer.Context,
    study_id: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="One study's trials and rounds.")] = None,
    name: Name = None,
    sku: Sku = None,
    history: Annotated[bool, typer.Option("--history", help="Superseded winners as well.")] = False,
    studies: Annotated[bool, typer.Option("--studies", help="The studies instead of the winners.")] = False,
    figure: Annotated[Path | None, typer.Option("--plot", help="STUDY as a figure: a .svg, .png or .pdf file.")] = None,
    portfolios: Annotated[bool, typer.Option("--portfolios", help="What matrix studies chose, instead.")] = False,
    generations: Annotated[bool, typer.Option("--generations", help="What sweeps published, and when.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the best per workload, problem and SKU, and why each won; or one study's trials and rounds."""
    if figure and study_id is None:
        raise UserError(f"say which study to plot: autotune show STUDY --plot {figure}; autotune show --studies.")
    with Registry.open(context.obj.database, patience_s=0) as registry:
        if study_id is not None:
            one = registry.find_study(study_id)
            parts = registry.trials(one.id), registry.measured_again(one.id)
            if figure:
                plot.study_figure(figure, one, parts[0])
            print_answer(document.study_document(one, *parts), tables.study_view(one, *parts), as_json=as_json)
            if figure:
                typer.echo(f"plotted: {figure}", err=as_json)
        elif generations:
            known = registry.generations()
            print_answer(
                [document.generation_row(one) for one in known], tables.generations_view(known), as_json=as_json
            )
        elif studies:
            found = registry.studies(name, sku)
            print_answer([document.study_row(one) for one in found], tables.studies_table(found), as_json=as_json)
        elif portfolios:
            every = [row for row in registry.portfolio_history(name, sku) if history or row[1] is None]
            print_answer(
                [document.portfolio_row(*row) for row in every], tables.portfolios_view(every), as_json=as_json
            )
        else:
            tuned = [
                (config, superseded)
                for config, superseded in registry.history(name, sku=sku)
                if history or superseded is None
            ]
            view = tables.tuned_view(tuned, registry.portfolios(name, sku))
            print_answer([document.tuned_row(*row) for row in tuned], view, as_json=as_json)


def lookup_(
    name: Annotated[str, typer.Argument(metavar="WORKLOAD", help="As it is called where it is declared.")],
    problem: Annotated[str, typer.Option("--problem", "-p", help="k=v,…")] = "",
    nearest: Annotated[bool, typer.Option("--nearest", help="The nearest tuned problem will do.")] = False,
    sku: Sku = None,
    as_json: AsJson = False,
) -> None:
    """Answer as autotune.lookup does in a program: the configuration, and how far to trust it."""
    dimensions: dict[str, Any] = dict(Problem.parse(problem))
    found = lookup(name, nearest=nearest, sku=sku, **dimensions)
    if found.config is None:
        raise UserError(found.reason)
    answer = {"kind": found.kind.value, "reason": found.reason, "path": str(found.path), **_known(found)}
    print_answer(answer, f"{found.config.text}\n({found.kind.value}: {found.reason})", as_json=as_json)


def _known(found: Lookup) -> dict[str, Any]:
    """All that is stored of a winner; of a rule's pick, the portfolio that it comes from."""
    if found.tuned:
        return found.tuned.to_json()
    return {"config": found.picked, "portfolio": found.portfolio.to_json() if found.portfolio else None}


def devices(as_json: AsJson = False) -> None:
    """List the devices of this host with their SKUs, and who else computes on them."""
    here = device.devices()
    others = {one.uuid: tenants(one) for one in here}
    rows = [{**one.to_json(), "tenants": [tenant.to_json() for tenant in others[one.uuid]]} for one in here]
    print_answer(rows, tables.devices_view(here, others), as_json=as_json)
