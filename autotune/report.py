"""Report: what is shown of studies while they run; its tables are in `tables`, its JSON in `document`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autotune.document import results_document
from autotune.matrix import MatrixResult
from autotune.measurement import Failure, FailureKind
from autotune.plan import Plan
from autotune.progress import Progress, Standing
from autotune.registry.records import RecordedTrial
from autotune.study import StudyResult
from autotune.sweep.agenda import Agenda
from autotune.sweep.night import Deed, Night, Result
from autotune.tables import (
    agenda_text,
    matrix_view,
    night_result_line,
    ratio_text,
    results_view,
    subject,
    value_text,
    verdict,
)

MOST_EXPLAINED = 20
"""Failures that are told in full; `autotune show STUDY` has them all."""


class Reporter(Protocol):
    """Watches studies; a context manager around all of one run's."""

    def begin(self, plan: Plan, valid_size: int, exact: bool) -> None:
        """A study starts."""

    def watch(self, progress: Progress, trial: RecordedTrial | None) -> None:
        """A trial ended, or time passed."""

    def end(self, results: Sequence[StudyResult], matrices: Sequence[MatrixResult] = ()) -> None:
        """All studies of the run are over. matrices: those that they belong to, as far as they came to an end."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back."""


class PlainReporter:
    """One line per trial: for logs, pipes and terminals without control codes."""

    def __init__(self, console: Console) -> None:
        self._console, self._told = console, set[tuple[str, FailureKind, str]]()
        self._standing: Standing | None = None
        self._begun: Plan | None = None

    def begin(self, plan: Plan, valid_size: int, exact: bool) -> None:
        self._console.print(_title(plan, valid_size, exact), highlight=False, soft_wrap=True)

    def watch(self, progress: Progress, trial: RecordedTrial | None) -> None:
        self._tell_beginning(progress)
        if trial is None:
            self._tell(progress.standing)
            return
        planned = progress.planned
        count = f"[{len(progress.trials)}/{planned}]" if planned else f"[{len(progress.trials)}]"
        line = Text.assemble((f"{count:>9} ", "dim"), *_trial_line(progress, trial), f"  {trial.config.text}")
        self._console.print(line, soft_wrap=True)
        for explanation in self._explain(progress.plan, trial):
            self._console.print(explanation, soft_wrap=True)

    def end(self, results: Sequence[StudyResult], matrices: Sequence[MatrixResult] = ()) -> None:
        for note in (note for result in results for note in _notes(result)):
            self._console.print(note, highlight=False, soft_wrap=True)
        self._console.print(results_view(results))
        for one in matrices:
            self._console.print(matrix_view(one), highlight=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def _tell_beginning(self, progress: Progress) -> None:
        """A line where a study begins from what others know."""
        if progress.begins_from and progress.plan is not self._begun:
            self._console.print(progress.begins_from, style="dim", highlight=False, soft_wrap=True)
        self._begun = progress.plan

    def _tell(self, standing: Standing | None) -> None:
        """A line as each round begins."""
        if standing is not None and standing != self._standing:
            self._console.print(Text.assemble((f"{'measured again ':>10}", "dim"), standing.text), soft_wrap=True)
        self._standing = standing

    def _explain(self, plan: Plan, trial: RecordedTrial) -> list[Text]:
        """Each failure that was not told before in full, numbers aside, with the command that repeats it."""
        outcome = trial.outcome
        if not isinstance(outcome, Failure):
            return []
        key = (plan.key.digest, outcome.kind, re.sub(r"[\d.]+", "", outcome.message))
        if key in self._told or len(self._told) >= MOST_EXPLAINED:
            return []
        self._told.add(key)
        return [
            Text(f"{'':10}{outcome.message}", "yellow"),
            Text(f"{'':10}repeat it: {plan.trial(trial.config).command}", "dim"),
        ]


class LiveReporter(PlainReporter):
    """A display that is redrawn in place: progress, the best against the default, rate, time left, failures."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(console=console, refresh_per_second=8, transient=True)

    def watch(self, progress: Progress, trial: RecordedTrial | None) -> None:
        self._tell_beginning(progress)
        self._live.update(_panel(progress))
        if trial is not None:
            for explanation in self._explain(progress.plan, trial):
                self._live.console.print(explanation, soft_wrap=True)

    def end(self, results: Sequence[StudyResult], matrices: Sequence[MatrixResult] = ()) -> None:
        self._live.stop()
        super().end(results, matrices)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


class NightReporter:
    """A line for each target that a sweep is done with: a night of hundreds of studies stays readable."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, agenda: Agenda) -> None:
        """The work is known."""
        for one in agenda.missing:
            self._line(Text(f"missing: {one}", "yellow"))
        self._line(Text(agenda_text(agenda)))

    def tell(self, result: Result, number: int, count: int) -> None:
        """A target is done."""
        self._line(Text.assemble((f"{f'[{number}/{count}]':>9} ", "dim"), night_result_line(result)))

    def end(self, night: Night) -> None:
        """All are."""
        for result in (one for one in night.results if one.deed is Deed.OUT_OF_BUDGET):
            self._line(night_result_line(result))
        counts = Counter(result.deed for result in night.results)
        told = ", ".join(f"{counts[deed]} {deed.value}" for deed in Deed if counts[deed])
        gpu_min = sum(result.gpu_s for result in night.results) / 60
        self._line(Text(f"{told or 'no targets'}; {gpu_min:.1f} GPU minutes."))

    def _line(self, text: Text) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def json_only() -> Iterator[None]:
    """Let nothing but our JSON reach standard output: what a workload or its processes print goes to standard error."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "wb") as kept:
        os.dup2(2, 1)
        try:
            yield
        finally:
            sys.stdout.flush()
            os.dup2(kept.fileno(), 1)


class JsonReporter:
    """Says nothing until the end, then one JSON document on standard output."""

    def __init__(self) -> None:
        self._stack, self._results = contextlib.ExitStack(), list[StudyResult]()
        self._matrices = list[MatrixResult]()

    def begin(self, plan: Plan, valid_size: int, exact: bool) -> None: ...

    def watch(self, progress: Progress, trial: RecordedTrial | None) -> None: ...

    def end(self, results: Sequence[StudyResult], matrices: Sequence[MatrixResult] = ()) -> None:
        self._results, self._matrices = list(results), list(matrices)

    def __enter__(self) -> Self:
        self._stack.enter_context(json_only())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        if self._results:
            print(json.dumps(results_document(self._results, self._matrices), indent=1, allow_nan=False))


def reporter(*, as_json: bool) -> Reporter:
    """The reporter that suits where the output goes."""
    if as_json:
        return JsonReporter()
    console = stdout()
    return LiveReporter(console) if console.is_terminal and not console.is_dumb_terminal else PlainReporter(console)


def stdout() -> Console:
    """Where tables go; as wide as they need where it is not a terminal."""
    return Console(width=None if sys.stdout and sys.stdout.isatty() else 200)


def stderr() -> Console:
    """Where what is told goes while standard output is for machines."""
    return Console(stderr=True, width=None if sys.stderr and sys.stderr.isatty() else 200)


def print_answer(data: object, view: RenderableType, *, as_json: bool) -> None:
    """One answer: as JSON for machines, or as people read it."""
    if as_json:
        print(json.dumps(data, indent=1, allow_nan=False))
    else:
        stdout().print(view)


def _title(plan: Plan, valid_size: int, exact: bool) -> Text:
    problem = f" {plan.problem.text}" if plan.problem else ""
    about = "" if exact else "about "
    return Text.assemble(
        (plan.workload.name, "bold"),
        f"{problem} on {plan.device.sku}: {plan.workload.objective.text}; {about}{valid_size:,} valid configurations",
    )


def _panel(progress: Progress) -> Group:
    plan, done, planned = progress.plan, len(progress.trials), progress.planned
    rate = progress.measured_now / progress.elapsed_now_s if progress.elapsed_now_s else 0.0
    standing, grid = progress.standing, Table.grid(padding=(0, 2))
    if standing:
        bar = ProgressBar(total=standing.most, completed=standing.number - 1, width=24)
        grid.add_row(Text(plan.workload.name, "bold"), bar, Text(standing.text))
    else:
        grid.add_row(
            Text(plan.workload.name, "bold"),
            ProgressBar(total=planned, completed=done, width=40, pulse=planned is None),
            Text(f"{done}/{planned}" if planned else str(done)),
            Text(f"{rate:.1f} trials/s" if rate >= 1 else f"{60 * rate:.0f} trials/min"),
            Text(_left(progress, rate), "dim"),
        )
    best, metric = progress.best, plan.workload.objective.metric
    title = Text(f"{plan.problem.text or plan.workload.description} on {plan.device.sku}", "dim")
    lines: list[Table | Text] = [title, grid]
    if best:
        value, default = value_text(plan.value(best)), value_text(plan.value(progress.default))
        gain = f"  {ratio_text(progress.speedup)} the default's {default}  {best.config.text}"
        lines.append(Text.assemble(("best    ", "dim"), (f"{metric} {value}", "bold green"), gain))
    if progress.failures:
        counts = ", ".join(f"{count} {kind.value}" for kind, count in progress.failures.most_common())
        lines.append(Text.assemble(("failed  ", "dim"), (counts, "yellow")))
    return Group(*lines)


def _left(progress: Progress, rate: float) -> str:
    """The time until the budget is spent, as far as it can be told."""
    budget, left_s = progress.plan.budget, list[float]()
    if progress.planned is not None and rate:
        left_s.append(max(0, progress.planned - len(progress.trials)) / rate)
    if budget.seconds is not None:
        left_s.append(max(0.0, budget.seconds - progress.elapsed_s))
    if not left_s:
        return ""
    minutes, seconds = divmod(round(min(left_s)), 60)
    return f"{minutes}:{seconds:02d} left"


def _trial_line(progress: Progress, trial: RecordedTrial) -> list[tuple[str, str]]:
    plan, metric = progress.plan, progress.plan.workload.objective.metric
    if isinstance(trial.outcome, Failure):
        return [(f"{'failed: ' + trial.outcome.kind.value:32}", "yellow")]
    style = "bold green" if trial is progress.best else ""
    judged = verdict(plan.workload.objective, trial)
    note = "default" if trial.origin == "default" else ratio_text(plan.speedup(trial, over=progress.default))
    return [
        (f"{metric} {value_text(plan.value(trial)):>9} ", style),
        (f"{note if judged == 'ok' else judged:<12}", "" if judged == "ok" else "yellow"),
    ]


def _notes(result: StudyResult) -> Iterator[Text]:
    """What the table cannot say: interrupted, nothing to do, nothing within the bounds, not published."""
    progress, plan = result.progress, result.progress.plan
    name, done = subject(plan), len(progress.trials)
    if result.state == "interrupted":
        yield Text(
            f"{name}: interrupted after {done} trial{'s' * (done != 1)}; nothing is promoted before the best are "
            "measured again in rounds; the same command goes on.",
            "yellow",
        )
    elif progress.measured_now == 0:
        whole = done >= progress.valid_size
        more = "they are all that are valid" if whole else "raise --trials to search on"
        yield Text(f"{name}: all {done} trials were recorded before; {more}.")
    if progress.best is None:
        measured = done - sum(progress.failures.values())
        why = f"{measured} measured ones break its bounds" if measured else "no trial succeeded"
        yield Text(f"{name}: no configuration to recommend, {why}.", "bold red")
    if result.occupancy and plan.device.kind == "gpu":
        yield Text(f"{name}: the device was {result.occupancy.text}.", "dim")
    if result.unpublished:
        yield Text(f"{name}: tuned and recorded, but not published for lookups: {result.unpublished}", "bold red")
