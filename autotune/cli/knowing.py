"""The commands that tell what is known: `show`, `lookup`, `devices`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from autotune import device, document, tables
from autotune.cli.options import AsJson, Name, Sku
from autotune.device.tenants import tenants
from autotune.errors import UserError
from autotune.lookup import lookup
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
    generations: Annotated[bool, typer.Option("--generations", help="What sweeps published, and when.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the best per workload, problem and SKU, and why each won; or one study's trials and rounds."""
    with Registry.open(context.obj.database, patience_s=0) as registry:
        if study_id is not None:
            one = registry.find_study(study_id)
            parts = registry.trials(one.id), registry.measured_again(one.id)
            print_answer(document.study_document(one, *parts), tables.study_view(one, *parts), as_json=as_json)
        elif generations:
            every = registry.generations()
            print_answer(
                [document.generation_row(one) for one in every], tables.generations_view(every), as_json=as_json
            )
        elif studies:
            found = registry.studies(name, sku)
            print_answer([document.study_row(one) for one in found], tables.studies_table(found), as_json=as_json)
        else:
            tuned = [
                (config, superseded)
                for config, superseded in registry.history(name, sku=sku)
                if history or superseded is None
            ]
            print_answer([document.tuned_row(*row) for row in tuned], tables.tuned_view(tuned), as_json=as_json)


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
    if found.tuned is None:
        raise UserError(found.reason)
    answer = {"kind": found.kind.value, "reason": found.reason, "path": str(found.path), **found.tuned.to_json()}
    print_answer(answer, f"{found.tuned.config.text}\n({found.kind.value}: {found.reason})", as_json=as_json)


def devices(as_json: AsJson = False) -> None:
    """List the devices of this host with their SKUs, and who else computes on them."""
    here = device.devices()
    others = {one.uuid: tenants(one) for one in here}
    rows = [{**one.to_json(), "tenants": [tenant.to_json() for tenant in others[one.uuid]]} for one in here]
    print_answer(rows, tables.devices_view(here, others), as_json=as_json)
