"""The command of the night: `sweep`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from autotune import publication, report, tables
from autotune.cli.choosing import is_replay
from autotune.cli.options import AsJson, DeviceName, ExecutorName, Shared
from autotune.document import agenda_document
from autotune.errors import UserError
from autotune.executor import Executor, ExecutorOptions, load_executor
from autotune.lookup import refresh
from autotune.morning.report import morning_report
from autotune.registry import Registry
from autotune.report import print_answer
from autotune.settings import Settings
from autotune.sweep.agenda import NIGHTS_REMEMBERED, Agenda, agenda
from autotune.sweep.configuration import SweepConfiguration
from autotune.sweep.discovery import Discovery, discover
from autotune.sweep.ledger import Ledger
from autotune.sweep.night import Deed, Night
from autotune.sweep.sweep import Sweep, now
from autotune.verdict import VerdictKind

USUAL_CONFIG = Path("sweep.toml")


def sweep(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH]…", help="Files and folders of workloads.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="Default: sweep.toml, where it is here.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what is due; run and write nothing.")] = False,
    executor: ExecutorName = None,
    address: Annotated[str | None, typer.Option(help="Of a cluster; the same as --executor ray:ADDRESS.")] = None,
    device_name: DeviceName = None,
    shared: Shared = False,
    as_json: AsJson = False,
) -> None:
    """Tune what is due: the never tuned, the stale; measure a sample of the rest. The same command goes on."""
    chosen: Settings = context.obj
    configuration = _configuration(paths or [], config)
    kind = _executor(executor, address, chosen)
    if kind.partition(":")[0] == "inline":  # it measures in the thread that asks
        configuration = replace(configuration, at_once=1)
    options = ExecutorOptions(device=device_name, shared=shared)
    with report.json_only() if as_json else contextlib.nullcontext(), load_executor(kind, options) as runner:
        discovery = discover(configuration)
        if dry_run:
            plan = _preview(discovery, configuration, runner, chosen)
        else:
            night, history = _swept(discovery, configuration, runner, chosen, as_json=as_json)
    if dry_run:
        print_answer(agenda_document(plan), tables.agenda_view(plan), as_json=as_json)
        raise typer.Exit(0)
    if as_json:
        print_answer(night.to_json(), "", as_json=True)
    raise typer.Exit(_exit_code(discovery, night, history))


def _preview(discovery: Discovery, configuration: SweepConfiguration, runner: Executor, chosen: Settings) -> Agenda:
    """What would be done; nothing is run or written."""
    with _as_it_is(chosen) as registry:
        ledger, moment = _ledger(registry, chosen), now()
        past = ledger.history(NIGHTS_REMEMBERED), ledger.unfinished(moment)
        return agenda(discovery, configuration, runner, registry, *past, moment)


def _swept(
    discovery: Discovery, configuration: SweepConfiguration, runner: Executor, chosen: Settings, *, as_json: bool
) -> tuple[Night, list[Night]]:
    """The night, which is on record and in the folder of reports, and those before it."""
    reporter = report.NightReporter(report.stderr() if as_json else report.stdout())
    with Registry.open(chosen.database) as registry:
        publication.repair(registry, chosen.snapshots)  # of a sweep that was killed before the end of its publication
        ledger = _ledger(registry, chosen)
        history = ledger.history(NIGHTS_REMEMBERED)
        work = Sweep(discovery, configuration, runner, registry, ledger, reporter.begin, reporter.tell)
        try:
            night = work.run()
        except KeyboardInterrupt:
            report.stderr().print("autotune: interrupted; what was done is on record, and the same command goes on.")
            raise typer.Exit(130) from None
    reporter.end(night)
    _write(configuration.report or chosen.home / "nights", night)
    return night, history


def _configuration(paths: Sequence[Path], config: Path | None) -> SweepConfiguration:
    """The file's, with the paths that were typed in the place of its own."""
    if config is None and USUAL_CONFIG.is_file():
        config = USUAL_CONFIG
    read = SweepConfiguration() if config is None else SweepConfiguration.read(config)
    return replace(read, paths=tuple(paths)) if paths else read


def _executor(name: str | None, address: str | None, chosen: Settings) -> str:
    kind = name or ("ray" if address else chosen.executor)
    if is_replay(kind):
        raise UserError("a replay answers from a recording, which never gets stale; use autotune study RECORDING.")
    return f"{kind}:{address}" if address else kind


def _as_it_is(chosen: Settings) -> Registry:
    """The registry to read from; where there is none yet, it is not made."""
    scheme, _, path = chosen.database.partition(":///")
    new = scheme.startswith("sqlite") and path and not Path(path).expanduser().is_file()
    return Registry.memory() if new else Registry.open(chosen.database)


def _ledger(registry: Registry, chosen: Settings) -> Ledger:
    def publish(generation: int | None) -> None:
        if generation is not None:
            publication.publish(registry, generation, chosen.snapshots)
        refresh()

    return Ledger(registry, registry, publish)


def _write(folder: Path, night: Night) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = night.started_at.replace(":", "-")
    earlier = len(list(folder.glob(f"{name}*.json")))  # of the same second
    suffix = f"-{earlier + 1}" if earlier else ""
    (folder / f"{name}{suffix}.json").write_text(json.dumps(night.to_json(), indent=1), encoding="utf-8")


def _exit_code(discovery: Discovery, night: Night, history: Sequence[Night]) -> int:
    """A regression says more than a failure, which is told as well."""
    if _has_regressed(night, history):
        return 3
    nothing = any(one.verdict is not None and one.verdict.kind is VerdictKind.NOTHING for one in night.results)
    return int(nothing or bool(discovery.unusable) or any(one.deed is Deed.FAILED for one in night.results))


def _has_regressed(night: Night, history: Sequence[Night]) -> bool:
    """As the morning's report sees it."""
    return morning_report(night, history).has_regression
