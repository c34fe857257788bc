"""ScorecardView: the scores of samplers as a person reads them, and how far the studies are meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from autotune.scorecard import ALL, Scorecard


def scorecards_view(cards: Sequence[Scorecard]) -> Table:
    """A row per recording and sampler: the log score, and behind it the linear one, at each budget and on average."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    budgets = list(dict.fromkeys(budget for card in cards for budget in card.score.log))
    scores = [f"{when}\nlog linear" for when in (*(f"at {budget}" for budget in budgets), "mean")]
    near = [f"{share} %\n{what}" for share in (5, 1) for what in ("after", "reached")]
    for name in ("recording", "sampler", "studies"):
        table.add_column(name, overflow="fold")
    for name in (*scores, *near, "picked", "ms a\ntrial"):
        table.add_column(name, justify="right", no_wrap=True)
    for card in cards:
        table.add_row(*_row(card, budgets), style="bold" if card.recording == ALL else "")
    return table


def _row(card: Scorecard, budgets: Sequence[int]) -> list[str]:
    found = card.score
    scores = [*((found.log.get(b), found.linear.get(b)) for b in budgets), (found.mean("log"), found.mean("linear"))]
    near = [
        text for one in (found.within_5pct, found.within_1pct) for text in (_count(one.median), f"{one.share():.0%}")
    ]
    picked = "-" if card.picked_ratio is None else f"{card.picked_ratio:.3f}x"
    return [
        card.recording,
        card.sampler,
        str(found.runs),
        *("-" if log is None or linear is None else f"{log:.3f} {linear:.3f}" for log, linear in scores),
        *near,
        picked,
        f"{card.search_ms:.2g}" if card.search_ms < 10 else f"{card.search_ms:.0f}",
    ]


def _count(trials: float | None) -> str:
    return "-" if trials is None else f"{trials:g}"


class RehearsalDisplay:
    """A bar that counts studies where standard error is a terminal, else a line for each sampler on each recording."""

    def __init__(self, studies: int) -> None:
        self._console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        )
        self._task = self._progress.add_task("studies", total=studies)

    def begin(self, recording: str, sampler: str, studies: int) -> None:
        """These studies come next."""
        self._progress.update(self._task, description=f"{recording} {sampler}")
        if not self._console.is_terminal:
            self._console.print(f"{recording} {sampler}: {studies} studies", highlight=False, soft_wrap=True)

    def advance(self) -> None:
        """One study is over."""
        self._progress.advance(self._task)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
