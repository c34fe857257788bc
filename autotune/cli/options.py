"""The options and arguments that several commands share, as Typer reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

File = Annotated[Path, typer.Argument(help="A Python file that declares workloads.", show_default=False)]
Name = Annotated[str | None, typer.Option("--workload", "-w", help="Only the workload of this name.")]
Problems = Annotated[list[str] | None, typer.Option("--problem", "-p", help="Only problems with k=v,…; repeatable.")]
OneProblem = Annotated[str | None, typer.Option("--problem", "-p", help="The problem with k=v,…; default: the first.")]
ExecutorName = Annotated[
    str | None, typer.Option("--executor", "-x", help="inline, local, ray, replay:FILE, or a plug-in.")
]
Address = Annotated[
    str | None, typer.Option("--address", help="Of a Ray cluster to run on: auto, HOST:PORT or ray://HOST:PORT.")
]
DeviceName = Annotated[str | None, typer.Option("--device", "-d", help="Only cpu, gpu, gpu:1 or a SKU.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
PostMortem = Annotated[bool, typer.Option("--pdb", help="Debug where a trial raises; needs --executor inline.")]
Output = Annotated[bool, typer.Option("--show-output", "-s", help="Let the workload's own output through.")]
Shared = Annotated[bool, typer.Option("--shared", help="Measure also on a GPU on which other programs run.")]
Sku = Annotated[str | None, typer.Option("--sku", help="Only this SKU.")]
