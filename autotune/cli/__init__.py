"""The command line: it reads what was typed, calls the core, and turns errors into exit codes; only it knows Typer.

Exit codes: 0 done, 1 no trial succeeded, 2 something for the user to mend, 3 a regression in the night, 130 interrupted
(the same command goes on).
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

import autotune
from autotune.cli import knowing, replaying, reporting, shipping, sweeping, tuning
from autotune.errors import AutotuneError, UserError
from autotune.lookup import refresh
from autotune.settings import Settings, override

app = typer.Typer(
    name="autotune",
    help="Find the fastest correct configuration of a workload on the devices that are really there.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(autotune.__version__)
        raise typer.Exit


@app.callback()
def settings(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option(help="The data directory [AUTOTUNE_HOME].")] = None,
    database: Annotated[str | None, typer.Option(help="A SQLAlchemy URL [AUTOTUNE_DATABASE].")] = None,
    snapshot_path: Annotated[list[Path] | None, typer.Option(help="More snapshots [AUTOTUNE_SNAPSHOT_PATH].")] = None,
    lock_folder: Annotated[Path | None, typer.Option(help="Where devices are locked [AUTOTUNE_LOCK_FOLDER].")] = None,
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)] = False,
) -> None:
    """Say where autotune keeps and finds what it knows."""
    override(home=home, database=database, snapshot_path=snapshot_path, lock_folder=lock_folder)
    refresh()
    context.obj = Settings.from_environment()


for command in (tuning.study, tuning.check, tuning.trial, replaying.replay, knowing.show):
    app.command()(command)
app.command()(sweeping.sweep)
app.command("lookup")(knowing.lookup_)
app.command()(knowing.devices)
app.command()(reporting.report)
app.command("export")(shipping.export_)
app.command("import")(shipping.import_)
app.command()(shipping.rollback)


def main() -> NoReturn:
    """The entry point: every mistake of the user ends in one sentence and exit code 2."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()  # exits by itself; what was typed wrong is exit code 2 there as well
    except UserError as error:
        _end(error, 2)
    except AutotuneError as error:
        _end(error, 1)
    except OSError as error:
        _end(f"{error.strerror or error}: {error.filename or 'the output'} cannot be written.", 2)
    sys.exit(0)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM ends a run as Ctrl-C does: the workers are stopped, the study can be resumed."""
    raise KeyboardInterrupt


def _end(message: object, code: int) -> NoReturn:
    print(f"autotune: {message}", file=sys.stderr)
    sys.exit(code)
