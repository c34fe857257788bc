"""The command line: it reads what was typed, calls the core, and turns errors into exit codes; only it knows Typer.

Exit codes: 0 done, 1 no trial succeeded, 2 something for the user to mend, 130 interrupted (the same command goes on).
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

import autotune
from autotune import device, document, report, snapshot, tables
from autotune.device import Device
from autotune.device.tenants import tenants
from autotune.errors import AutotuneError, DeviceError, UserError
from autotune.executor import Executor, ExecutorOptions, load_executor
from autotune.executors import recording
from autotune.lookup import lookup, refresh
from autotune.measurement import Failure
from autotune.plan import Budget, Plan
from autotune.registry import Registry
from autotune.settings import Settings, override
from autotune.study import Study, StudyResult
from autotune.trial import Effort
from autotune.values import Config, Problem, Scalar
from autotune.workload import Workload, find, load

QUICK_TRIALS, FULL_TRIALS = 16, 100

app = typer.Typer(
    name="autotune",
    help="Find the fastest correct configuration of a workload on the devices that are really there.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

File = Annotated[Path, typer.Argument(help="A Python file that declares workloads.", show_default=False)]
Name = Annotated[str | None, typer.Option("--workload", "-w", help="Only the workload of this name.")]
Problems = Annotated[list[str] | None, typer.Option("--problem", "-p", help="Only problems with k=v,…; repeatable.")]
OneProblem = Annotated[str | None, typer.Option("--problem", "-p", help="The problem with k=v,…; default: the first.")]
ExecutorName = Annotated[str | None, typer.Option("--executor", "-x", help="inline, local, replay:FILE, or a plug-in.")]
DeviceName = Annotated[str | None, typer.Option("--device", "-d", help="Only cpu, gpu, gpu:1 or a SKU.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
PostMortem = Annotated[bool, typer.Option("--pdb", help="Debug where a trial raises; needs --executor inline.")]
Output = Annotated[bool, typer.Option("--show-output", "-s", help="Let the workload's own output through.")]
Shared = Annotated[bool, typer.Option("--shared", help="Measure also on a GPU on which other programs run.")]
Sku = Annotated[str | None, typer.Option("--sku", help="Only this SKU.")]


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


@app.command()
def study(
    context: typer.Context,
    file: File,
    name: Name = None,
    problem: Problems = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials per study, those of earlier runs included.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="Seconds per study, earlier runs included.")] = None,
    plateau: Annotated[int | None, typer.Option(min=1, help="Stop after this many trials without 1 % gain.")] = None,
    executor: ExecutorName = None,
    device_name: DeviceName = None,
    sampler: Annotated[str, typer.Option(help="auto, tpe, random, gp, nsga2, qmc.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of the search and of the inputs.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Few trials, short measurements.")] = False,
    post_mortem: PostMortem = False,
    show_output: Output = False,
    shared: Shared = False,
    as_json: AsJson = False,
) -> None:
    """Tune the workloads of FILE; the same command goes on where an earlier run stopped."""
    chosen: Settings = context.obj
    effort = Effort.QUICK if quick else Effort.FULL
    budget = Budget(trials=_default_trials(trials, seconds, quick), seconds=seconds, plateau=plateau)
    options = ExecutorOptions(device=device_name, post_mortem=post_mortem, show_output=show_output, shared=shared)
    kind = executor or (f"replay:{file}" if _is_recording(file) else chosen.executor)
    snapshots = None if _is_replay(kind) else chosen.snapshots
    with (
        report.reporter(as_json=as_json) as reporter,
        load_executor(kind, options) as runner,
        _registry(chosen, kind) as registry,
    ):
        runner.expect(file)
        declared = _workloads(file, name)
        plans = [
            Plan(workload=w, problem=p, device=d, budget=budget, effort=effort, sampler=sampler, seed=seed)
            for w, p, d in _studies(declared, problem, runner)
        ]
        # All are made before the first is run: what is wrong with one must not cost the others' time.
        studies = [Study(plan, runner, registry, snapshots, reporter.watch) for plan in plans]
        results = _run(studies, reporter)
    raise typer.Exit(_exit_code(results))


def _run(studies: Sequence[Study], reporter: report.Reporter) -> list[StudyResult]:
    """One after another; an interrupted one is the last. What was found is reported even where a later one breaks."""
    results: list[StudyResult] = []
    try:
        for one in studies:
            reporter.begin(one.plan, one.valid.size, one.valid.exact)
            results.append(one.run())
            if results[-1].state == "interrupted":
                break
    finally:
        if results:
            reporter.end(results)
    return results


@app.command()
def check(file: File, name: Name = None, problem: Problems = None, device_name: DeviceName = None) -> None:
    """Load FILE and print its search spaces and what the constraints reject; run nothing."""
    console = report.stdout()
    here = device.select(device.devices(), device_name)
    for one in _workloads(file, name):
        for wanted in _problems(one, problem):
            for target in _targets(one, here) or here[-1:]:
                valid = one.space.bind(wanted, target)
                console.print(tables.check_view(one, valid, valid.rejections(random.Random(0))))


@app.command()
def trial(
    context: typer.Context,
    file: File,
    config: Annotated[
        list[str] | None, typer.Option("--config", "-c", help="k=v,…; what is left out takes its default; repeatable.")
    ] = None,
    name: Name = None,
    problem: OneProblem = None,
    executor: ExecutorName = None,
    device_name: DeviceName = None,
    seed: Annotated[int, typer.Option(help="Of the inputs.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="A short measurement.")] = False,
    post_mortem: PostMortem = False,
    show_output: Output = False,
    shared: Shared = False,
    as_json: AsJson = False,
) -> None:
    """Run exactly one trial and print its outcome; nothing is recorded."""
    kind = executor or (f"replay:{file}" if _is_recording(file) else context.obj.executor)
    options = ExecutorOptions(device=device_name, post_mortem=post_mortem, show_output=show_output, shared=shared)
    with report.json_only() if as_json else contextlib.nullcontext(), load_executor(kind, options) as runner:
        runner.expect(file)
        (one,) = _workloads(file, name, exactly_one=True)
        _, wanted, target = next(_studies([one], [problem] if problem else None, runner))
        chosen = _one_config(one, wanted, target, Config.parse(",".join(config or ())))
        effort = Effort.QUICK if quick else Effort.FULL
        plan = Plan(workload=one, problem=wanted, device=target, effort=effort, seed=seed)
        outcome = runner.submit(plan.trial(chosen)).result()
    answer = {"config": chosen, "problem": wanted, "sku": target.sku, "outcome": outcome.to_json()}
    _print(answer, tables.outcome_view(plan, chosen, outcome), as_json=as_json)
    raise typer.Exit(1 if isinstance(outcome, Failure) else 0)


@app.command()
def show(
    context: typer.Context,
    study_id: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="One study's trials and rounds.")] = None,
    name: Name = None,
    sku: Sku = None,
    history: Annotated[bool, typer.Option("--history", help="Superseded winners as well.")] = False,
    studies: Annotated[bool, typer.Option("--studies", help="The studies instead of the winners.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the best per workload, problem and SKU, and why each won; or one study's trials and rounds."""
    with Registry.open(context.obj.database) as registry:
        if study_id is not None:
            one = registry.find_study(study_id)
            parts = registry.trials(one.id), registry.measured_again(one.id)
            _print(document.study_document(one, *parts), tables.study_view(one, *parts), as_json=as_json)
        elif studies:
            found = registry.studies(name, sku)
            _print([document.study_row(one) for one in found], tables.studies_table(found), as_json=as_json)
        else:
            tuned = [
                (config, superseded)
                for config, superseded in registry.history(name, sku=sku)
                if history or superseded is None
            ]
            _print([document.tuned_row(*row) for row in tuned], tables.tuned_view(tuned), as_json=as_json)


@app.command("lookup")
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
    _print(answer, f"{found.tuned.config.text}\n({found.kind.value}: {found.reason})", as_json=as_json)


@app.command()
def devices(as_json: AsJson = False) -> None:
    """List the devices of this host with their SKUs, and who else computes on them."""
    here = device.devices()
    others = {one.uuid: tenants(one) for one in here}
    rows = [{**one.to_json(), "tenants": [tenant.to_json() for tenant in others[one.uuid]]} for one in here]
    _print(rows, tables.devices_view(here, others), as_json=as_json)


@app.command("export")
def export_(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Snapshots are written or updated here.", show_default=False)],
    name: Name = None,
    sku: Sku = None,
) -> None:
    """Write the current winners as snapshot files, to be shipped in a repository."""
    with Registry.open(context.obj.database) as registry:
        tuned = registry.current(name, sku)
    if not tuned:
        raise UserError("there is nothing to export; tune something first: autotune study FILE.")
    for path in snapshot.write(folder, tuned):
        print(path)


@app.command("import")
def import_(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="A snapshot file or a folder of them.", show_default=False)],
    overwrite: Annotated[bool, typer.Option("--replace", help="Also where what is here was measured later.")] = False,
) -> None:
    """Take winners from snapshot files into the registry."""
    chosen: Settings = context.obj
    found = snapshot.read_all(path)
    with Registry.open(chosen.database) as registry:
        newer = {(t.workload, t.problem, t.sku, t.gpus): t.measured_at for t in registry.current()}
        taken = [
            tuned
            for tuned in found
            if overwrite or tuned.measured_at > newer.get((tuned.workload, tuned.problem, tuned.sku, tuned.gpus), "")
        ]
        for tuned in taken:
            registry.promote(tuned, None)
        for workload_name, sku in dict.fromkeys((t.workload, t.sku) for t in taken):
            snapshot.write(chosen.snapshots, registry.current(workload_name, sku))
    refresh()
    kept = len(found) - len(taken)
    print(
        f"{len(taken)} imported" + (f", {kept} left out: what is here was measured later (--replace)" if kept else "")
    )


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


def _workloads(file: Path, name: str | None, *, exactly_one: bool = False) -> list[Workload]:
    declared = [recording.load(file).workload()] if _is_recording(file) else load(file)
    if name is not None:
        return [find(declared, name)]
    if exactly_one and len(declared) > 1:
        raise UserError(f"{file} declares {', '.join(w.name for w in declared)}; say which with --workload NAME.")
    return declared


def _is_recording(file: Path) -> bool:
    return ".json" in file.suffixes


def _problems(one: Workload, wanted: Sequence[str] | None) -> list[Problem]:
    if not wanted:
        return list(one.problems)
    return list({p.text: p for text in wanted for p in one.select(Problem.parse(text))}.values())


def _studies(
    declared: Sequence[Workload], wanted: Sequence[str] | None, executor: Executor
) -> Iterator[tuple[Workload, Problem, Device]]:
    """Every workload, for every wanted problem, on every kind of device that it can run on."""
    here = executor.devices()
    for one in declared:
        targets = _targets(one, here)
        if not targets:
            raise DeviceError(
                f"{one.name} needs {one.gpus} GPU{'s' if one.gpus != 1 else ''} of one kind; "
                f"here are: {', '.join(d.sku for d in here) or 'no devices'}."
            )
        for problem in _problems(one, wanted):
            one.check_work(problem)
            yield from ((one, problem, target) for target in targets)


def _targets(one: Workload, here: Sequence[Device]) -> list[Device]:
    """One device of each SKU that it can run on; the CPU only where it asks for that or nothing else is there."""
    gpus = [d for d in here if d.kind == "gpu"]
    if one.gpus == 0 or (one.gpus is None and not gpus):
        suitable = [d for d in here if d.kind == "cpu"]
    else:
        skus = [d.sku for d in gpus]
        suitable = [d for d in gpus if skus.count(d.sku) >= (one.gpus or 1)]
    return list({d.sku: d for d in reversed(suitable)}.values())[::-1]


def _one_config(one: Workload, problem: Problem, target: Device, given: Config) -> Config:
    """The given values over the default ones; refused where a constraint rejects it."""
    default = one.space.bind(problem, target).default
    values: dict[str, Scalar] = {}
    for name, parameter in one.space.parameters.items():
        if name in given or parameter.active(values):
            values[name] = given.get(name, default.get(name, parameter.default))
    config = one.space.config({**values, **given})
    reason = one.space.rejection(config, problem, target)
    if reason is not None:
        raise UserError(
            f"{config.text} is not valid for {one.name} {problem.text} on {target.sku}: {reason.rstrip('.')}."
        )
    return config


def _default_trials(trials: int | None, seconds: float | None, quick: bool) -> int | None:
    if trials is not None or seconds is not None:
        return trials
    return QUICK_TRIALS if quick else FULL_TRIALS


def _registry(chosen: Settings, executor: str) -> Registry:
    """What a replay finds was measured elsewhere: it stays out of the registry."""
    return Registry.memory() if _is_replay(executor) else Registry.open(chosen.database)


def _is_replay(executor: str) -> bool:
    return executor.partition(":")[0] == "replay"


def _exit_code(results: Sequence[StudyResult]) -> int:
    if any(result.state == "interrupted" for result in results):
        return 130
    if any(result.unpublished for result in results):
        return 2
    return 0 if all(result.progress.best for result in results) else 1


def _print(data: object, view: object, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(data, indent=1, allow_nan=False))
    else:
        report.stdout().print(view)
