"""ScorecardView: the scores of samplers as a person reads them, and how far the studies are meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from autotune.scorecard import ALL, Scorecard


def scorecards_view(cards: Sequence[Scorecard]) -> Table:
    """Two rows for each recording and sampler: the log score over the linear one, within 5 % over within 1 %."""
    table = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=True)
    budgets = list(dict.fromkeys(budget for card in cards for budget in card.score.log))
    table.add_column("recording\nsampler", overflow="fold", min_width=12)
    for name in ("runs", "score", *(f"at {budget}" for budget in budgets), "mean"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("within", "after", "reached", "picked", "ms a\ntrial"):
        table.add_column(name, justify="right", no_wrap=True)
    for card in cards:
        upper, lower = _rows(card, budgets)
        table.add_row(*upper, style="bold" if card.recording == ALL else "")
        table.add_row(*lower, style="dim")
    return table


def _rows(card: Scorecard, budgets: Sequence[int]) -> tuple[list[str], list[str]]:
    found = card.score
    upper = [card.recording, str(found.runs), "log", *_scores(found.log, budgets, found.mean("log"))]
    lower = [f"  {card.sampler}", "", "linear", *_scores(found.linear, budgets, found.mean("linear"))]
    picked = "-" if card.picked_ratio is None else f"{card.picked_ratio:.3f}x"
    search_ms = f"{card.search_ms:.2g}" if card.search_ms < 10 else f"{card.search_ms:.0f}"
    upper += ["5 %", _count(found.within_5pct.median), f"{found.within_5pct.share():.0%}", picked, search_ms]
    lower += ["1 %", _count(found.within_1pct.median), f"{found.within_1pct.share():.0%}"]
    return upper, lower


def _scores(scores: Mapping[int, float], budgets: Sequence[int], mean: float | None) -> list[str]:
    return ["-" if score is None else f"{score:.3f}" for score in (*map(scores.get, budgets), mean)]


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
