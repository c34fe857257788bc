"""Progress: where a study stands, as its watchers see it; how it is shown is in `report`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from autotune.measurement import Failure, FailureKind
from autotune.plan import Plan
from autotune.registry.records import RecordedTrial
from autotune.values import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the rounds stand that decide who wins."""

    number: int
    """Of the round under way, from 1."""
    most: int
    """Rounds, at most."""
    finalists: int
    """Those that are left, the default and the incumbent not counted."""
    word: str = "finalist"
    """What each of them is."""

    @property
    def text(self) -> str:
        """`round 3 of at most 10: 2 finalists`."""
        return f"round {self.number} of at most {self.most}: {self.finalists} {self.word}{'s' * (self.finalists != 1)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a study stands; what a watcher is told."""

    plan: Plan
    trials: tuple[RecordedTrial, ...]
    running: int
    measured_now: int
    """Trials of this run; the rest were recorded by earlier ones."""
    elapsed_s: float
    """Of all runs."""
    elapsed_now_s: float
    default: RecordedTrial | None
    best: RecordedTrial | None
    default_config: Config
    valid_size: int
    planned: int | None
    """Trials that the budget and the space allow; None where neither bounds them."""
    begins_from: str = ""
    """What other studies' trials it knows; empty where it knows none."""
    standing: Standing | None = None
    """None while it searches."""

    @property
    def failures(self) -> Counter[FailureKind]:
        """How often each kind of failure occurred."""
        return Counter(t.outcome.kind for t in self.trials if isinstance(t.outcome, Failure))

    @property
    def speedup(self) -> float | None:
        """Of the best over the default."""
        return self.plan.speedup(self.best, over=self.default)


Watch = Callable[[Progress, RecordedTrial | None], None]
"""Called after each trial with it; before each round, and now and then, with None."""
