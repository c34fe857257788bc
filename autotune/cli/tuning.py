"""The commands that declare, measure and tune: `study`, `trial`, `check`."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from functools import partial
from typing import Annotated

import typer

from autotune import device, report, tables
from autotune.cli.choosing import (
    executor_of,
    grouped,
    is_replay,
    one_config,
    open_registry,
    problems_of,
    studies_of,
    workloads,
)
from autotune.cli.options import (
    Address,
    AsJson,
    DeviceName,
    ExecutorName,
    File,
    Name,
    OneProblem,
    Output,
    PostMortem,
    Problems,
    Shared,
)
from autotune.errors import UserError
from autotune.executor import ExecutorOptions, load_executor
from autotune.matrix import Matrix, MatrixResult
from autotune.measurement import Failure
from autotune.plan import Budget, Plan
from autotune.report import print_answer
from autotune.settings import Settings
from autotune.study import Study, StudyResult
from autotune.trial import Effort
from autotune.values import Config
from autotune.workload import targets_of

QUICK_TRIALS, FULL_TRIALS = 16, 100
INTERRUPTED = 130
"""The exit code of a command that the same command goes on with."""


def study(
    context: typer.Context,
    file: File,
    name: Name = None,
    problem: Problems = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials per study, those of earlier runs included.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="Seconds per study, earlier runs included.")] = None,
    plateau: Annotated[int | None, typer.Option(min=1, help="Stop after this many trials without 1 % gain.")] = None,
    executor: ExecutorName = None,
    address: Address = None,
    device_name: DeviceName = None,
    sampler: Annotated[str, typer.Option(help="auto, tpe, random, gp, nsga2, qmc.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of the search and of the inputs.")] = 0,
    warm_start: Annotated[
        str, typer.Option("--warm-start", metavar="auto|none|STUDY", help="Begin from what other studies know.")
    ] = "auto",
    quick: Annotated[bool, typer.Option("--quick", help="Few trials, short measurements.")] = False,
    matrix: Annotated[
        bool, typer.Option("--matrix", help="A few configurations for all problems, and a rule.")
    ] = False,
    at_most: Annotated[int | None, typer.Option(metavar="K", help="Configurations of --matrix; else by loss.")] = None,
    post_mortem: PostMortem = False,
    show_output: Output = False,
    shared: Shared = False,
    as_json: AsJson = False,
) -> None:
    """Tune the workloads of FILE; the same command goes on where an earlier run stopped."""
    chosen: Settings = context.obj
    _check_at_most(at_most, matrix)
    effort = Effort.QUICK if quick else Effort.FULL
    budget = Budget(trials=_default_trials(trials, seconds, quick), seconds=seconds, plateau=plateau)
    options = ExecutorOptions(device=device_name, post_mortem=post_mortem, show_output=show_output, shared=shared)
    kind = executor_of(file, executor, address, chosen.executor)
    snapshots = None if is_replay(kind) else chosen.snapshots
    with (
        report.reporter(as_json=as_json) as reporter,
        load_executor(kind, options) as runner,
        open_registry(chosen, kind) as registry,
    ):
        runner.expect(file)
        declared = workloads(file, name)
        plans = [
            Plan(
                workload=w,
                problem=p,
                device=d,
                budget=budget,
                effort=effort,
                sampler=sampler,
                seed=seed,
                warm_start=warm_start,
            )
            for w, p, d in studies_of(declared, problem, runner)
        ]
        # All are made before the first is run: what is wrong with one must not cost the others' time.
        if matrix:
            parts = runner, registry, snapshots, reporter.watch
            begin = partial(_begin, reporter)
            code = _run_matrices([Matrix(g, *parts, at_most=at_most, begin=begin) for g in grouped(plans)], reporter)
        else:
            code = _run([Study(plan, runner, registry, snapshots, reporter.watch) for plan in plans], reporter)
    raise typer.Exit(code)


def trial(
    context: typer.Context,
    file: File,
    config: Annotated[
        list[str] | None, typer.Option("--config", "-c", help="k=v,…; what is left out takes its default; repeatable.")
    ] = None,
    name: Name = None,
    problem: OneProblem = None,
    executor: ExecutorName = None,
    address: Address = None,
    device_name: DeviceName = None,
    seed: Annotated[int, typer.Option(help="Of the inputs.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="A short measurement.")] = False,
    post_mortem: PostMortem = False,
    show_output: Output = False,
    shared: Shared = False,
    as_json: AsJson = False,
) -> None:
    """Run exactly one trial and print its outcome; nothing is recorded."""
    kind = executor_of(file, executor, address, context.obj.executor)
    options = ExecutorOptions(device=device_name, post_mortem=post_mortem, show_output=show_output, shared=shared)
    with report.json_only() if as_json else contextlib.nullcontext(), load_executor(kind, options) as runner:
        runner.expect(file)
        (one,) = workloads(file, name, exactly_one=True)
        _, wanted, target = next(studies_of([one], [problem] if problem else None, runner))
        chosen = one_config(one, wanted, target, Config.parse(",".join(config or ())))
        effort = Effort.QUICK if quick else Effort.FULL
        plan = Plan(workload=one, problem=wanted, device=target, effort=effort, seed=seed)
        outcome = runner.submit(plan.trial(chosen)).result()
    answer = {"config": chosen, "problem": wanted, "sku": target.sku, "outcome": outcome.to_json()}
    print_answer(answer, tables.outcome_view(plan, chosen, outcome), as_json=as_json)
    raise typer.Exit(1 if isinstance(outcome, Failure) else 0)


def check(file: File, name: Name = None, problem: Problems = None, device_name: DeviceName = None) -> None:
    """Load FILE and print its search spaces and what the constraints reject; run nothing."""
    console = report.stdout()
    here = device.select(device.devices(), device_name)
    for one in workloads(file, name):
        for wanted in problems_of(one, problem):
            for target in targets_of(one, here) or here[-1:]:
                valid = one.space.bind(wanted, target)
                console.print(tables.check_view(one, valid, valid.rejections(random.Random(0))))


def _check_at_most(at_most: int | None, matrix: bool) -> None:
    if at_most is not None and not matrix:
        raise UserError(f"--at-most {at_most} says how many configurations --matrix chooses; add --matrix.")
    if at_most is not None and at_most < 1:
        raise UserError(f"--at-most {at_most} leaves no configuration; expected 1 or more, such as --at-most 4.")


def _begin(reporter: report.Reporter, study: Study) -> None:
    reporter.begin(study.plan, study.valid.size, study.valid.exact)


def _run_matrices(matrices: Sequence[Matrix], reporter: report.Reporter) -> int:
    """As `_run` does it, by workload and kind of device."""
    results: list[MatrixResult] = []
    try:
        for one in matrices:
            results.append(one.run())
            if results[-1].state == "interrupted":
                break
    finally:
        studies = [result for one in matrices for result in one.results]
        if studies:
            reporter.end(studies, results)
    if any(one.state == "interrupted" for one in results):
        return INTERRUPTED
    return 2 if any(one.unpublished for one in results) else _exit_code(studies)


def _run(studies: Sequence[Study], reporter: report.Reporter) -> int:
    """One after another; an interrupted one is the last. What was found is reported even where a later one breaks."""
    results: list[StudyResult] = []
    try:
        for one in studies:
            _begin(reporter, one)
            results.append(one.run())
            if results[-1].state == "interrupted":
                break
    finally:
        if results:
            reporter.end(results)
    return _exit_code(results)


def _default_trials(trials: int | None, seconds: float | None, quick: bool) -> int | None:
    if trials is not None or seconds is not None:
        return trials
    return QUICK_TRIALS if quick else FULL_TRIALS


def _exit_code(results: Sequence[StudyResult]) -> int:
    if any(result.state == "interrupted" for result in results):
        return INTERRUPTED
    if any(result.unpublished for result in results):
        return 2
    return 0 if all(result.progress.best for result in results) else 1
