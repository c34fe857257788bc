"""Runs a real study and draws what it printed: `python -m benchmarks.study_picture FILE --out STUDY.svg`."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from rich.console import Console

from autotune.device import select
from autotune.executors.local import LocalExecutor
from autotune.plan import Budget, Plan
from autotune.registry import Registry
from autotune.report import PlainReporter
from autotune.study import Study
from autotune.values import Problem
from autotune.workload import load

COLUMNS = 128


def main() -> None:
    """Tune the first workload of a file for one problem, as `autotune study` does where its output is no terminal."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--problem", default="")
    arguments.add_argument("--trials", type=int, default=20)
    arguments.add_argument("--out", type=Path, required=True)
    chosen = arguments.parse_args()
    workload = load(chosen.file)[0]
    problem = workload.select(Problem.parse(chosen.problem))[0]
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    command = f"autotune study {chosen.file} --problem {chosen.problem} --trials {chosen.trials}"
    console.print(f"$ {command}", style="bold", highlight=False)
    with LocalExecutor() as executor, Registry.memory() as registry, PlainReporter(console) as reporter:
        (device, *_) = select(executor.devices(), "cpu" if workload.gpus == 0 else None)
        plan = Plan(workload=workload, problem=problem, device=device, budget=Budget(trials=chosen.trials))
        study = Study(plan, executor, registry, None, reporter.watch)
        reporter.begin(plan, study.valid.size, study.valid.exact)
        reporter.end([study.run()])
    console.save_svg(str(chosen.out), title=command)


if __name__ == "__main__":
    main()
