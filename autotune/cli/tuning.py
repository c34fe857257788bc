"""The commands that declare, measure and tune: `study`, `trial`, `check`."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from typing import Annotated

import typer

from autotune import device, report, tables
from autotune.cli.choosing import (
    executor_of,
    is_replay,
    one_config,
    open_registry,
    problems_of,
    studies_of,
    targets_of,
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
from autotune.executor import ExecutorOptions, load_executor
from autotune.measurement import Failure
from autotune.plan import Budget, Plan
from autotune.report import print_answer
from autotune.settings import Settings
from autotune.study import Study, StudyResult
from autotune.trial import Effort
from autotune.values import Config

QUICK_TRIALS, FULL_TRIALS = 16, 100


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
            Plan(workload=w, problem=p, device=d, budget=budget, effort=effort, sampler=sampler, seed=seed)
            for w, p, d in studies_of(declared, problem, runner)
        ]
        # All are made before the first is run: what is wrong with one must not cost the others' time.
        studies = [Study(plan, runner, registry, snapshots, reporter.watch) for plan in plans]
        results = _run(studies, reporter)
    raise typer.Exit(_exit_code(results))


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


def _default_trials(trials: int | None, seconds: float | None, quick: bool) -> int | None:
    if trials is not None or seconds is not None:
        return trials
    return QUICK_TRIALS if quick else FULL_TRIALS


def _exit_code(results: Sequence[StudyResult]) -> int:
    if any(result.state == "interrupted" for result in results):
        return 130
    if any(result.unpublished for result in results):
        return 2
    return 0 if all(result.progress.best for result in results) else 1
