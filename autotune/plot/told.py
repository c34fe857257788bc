"""Told: a study as a figure tells it, its trials by what became of them and the words around them; nothing is drawn."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from autotune.importance import FEWEST_TRIALS, Importance, importances, tried
from autotune.measurement import Failure
from autotune.objective import Objective
from autotune.plot.page import short
from autotune.registry.records import RecordedTrial, StudyRecord
from autotune.tables import ratio_text, value_text
from autotune.values import Scalar

Reading = tuple[RecordedTrial, float]
"""A trial that was measured, with its value."""

LINE_CHARACTERS, TITLE_CHARACTERS = 135, 95
"""Of a line of text across the page."""
MOST_SLICES = 24
"""Parameters that are drawn by themselves."""


class Told:
    """What a study tried and found; all of it is derived from the record and its trials."""

    def __init__(self, study: StudyRecord, trials: Sequence[RecordedTrial]) -> None:
        self.study, self.trials = study, trials
        self.objective = Objective.parse(study.key.objective)
        self.kept: list[Reading] = []
        """Those that could win."""
        self.broken: list[Reading] = []
        """Those that break a bound."""
        self.failed: list[tuple[RecordedTrial, Failure]] = []
        for trial in trials:
            if isinstance(trial.outcome, Failure):
                self.failed.append((trial, trial.outcome))
            else:
                medians = trial.outcome.medians
                where = self.kept if self.objective.feasible(medians) else self.broken
                where.append((trial, medians[self.objective.metric]))

    @cached_property
    def values(self) -> list[float]:
        """Of all that was measured."""
        return [value for _, value in [*self.kept, *self.broken]]

    @cached_property
    def failures(self) -> dict[str, list[int]]:
        """By kind the numbers of the trials, the most frequent kind first."""
        kinds: dict[str, list[int]] = {}
        for trial, failure in self.failed:
            kinds.setdefault(failure.kind.value, []).append(trial.number)
        return dict(sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0])))

    @cached_property
    def steps(self) -> list[Reading]:
        """The trials that were better than all before."""
        steps: list[Reading] = []
        for trial, value in self.kept:
            if not steps or self.objective.better(value, steps[-1][1]):
                steps.append((trial, value))
        return steps

    @cached_property
    def winner(self) -> Reading | None:
        """The verdict's; where there is none yet, the best so far."""
        if self.study.verdict:
            won = self.study.verdict.winner
            return next((one for one in [*self.kept, *self.broken] if one[0].config == won), None)
        return self.steps[-1] if self.steps else None

    @property
    def winner_word(self) -> str:
        """What the winner is called."""
        return "winner" if self.study.verdict else "best so far"

    @cached_property
    def default(self) -> float | None:
        """The value of the default, where it was measured."""
        measured = [*self.kept, *self.broken]
        return next((value for trial, value in measured if trial.config == self.study.default_config), None)

    @cached_property
    def parameters(self) -> dict[str, list[Scalar]]:
        """With the values that each was tried with."""
        return tried(trial.config for trial in self.trials)

    @cached_property
    def importances(self) -> Mapping[str, Importance]:
        """Of each parameter, among the trials that could win; none where these say nothing."""
        return importances(self.objective, {trial.config: value for trial, value in self.kept})

    @cached_property
    def varied(self) -> list[str]:
        """The parameters that took several values, the most important first as far as that is known."""
        several = [name for name, values in self.parameters.items() if len(values) > 1]
        return [*self.importances, *(name for name in several if name not in self.importances)]

    @cached_property
    def slices(self) -> list[str]:
        """The parameters that are drawn by themselves."""
        return self.varied[:MOST_SLICES] if self.values else []

    @property
    def title(self) -> str:
        """The workload and the problem."""
        return short(f"{self.study.key.workload} {self.study.key.problem.text}".rstrip(), TITLE_CHARACTERS)

    @cached_property
    def header(self) -> list[str]:
        """What was searched where, how it ended, and who won."""
        key = self.study.key
        gpus = f"{key.gpus} x " if key.gpus > 1 else ""
        counts = [f"{len(self.trials)} trial{'' if len(self.trials) == 1 else 's'}"]
        counts += [f"{len(self.failed)} failed"] if self.failed else []
        counts += [f"{len(self.broken)} broke a bound"] if self.broken else []
        lines = [f"{key.objective} on {gpus}{key.sku}: {', '.join(counts)}"]
        lines += [self._verdict_text]
        lines += [f"{self.winner_word}: {self._winner_text(*self.winner)}"] if self.winner else []
        return _wrapped(lines)

    @cached_property
    def footnote(self) -> list[str]:
        """What is not drawn, and why."""
        lines = [] if self.importances else [f"Parameter importance: {self._why_no_importance}."]
        same = [f"{name}={values[0]}" for name, values in self.parameters.items() if len(values) == 1]
        lines += [f"Never varied: {', '.join(same)}."] if same else []
        left_out = self.varied[len(self.slices) :]
        lines += [f"Not drawn by themselves: {', '.join(left_out)}."] if left_out else []
        return _wrapped(lines)

    @property
    def _verdict_text(self) -> str:
        verdict = self.study.verdict
        if verdict is None:
            return f"no verdict yet: {self.study.state}"
        outdated = f" (After {verdict.trials} of these trials.)" if verdict.trials < len(self.trials) else ""
        return f"{verdict.kind}: {verdict.reason}{outdated}"

    def _winner_text(self, trial: RecordedTrial, value: float) -> str:
        """`trial 7 with 1.2 against the default's 2.4 (2.00x): block=64, stages=3`."""
        against = ""
        if self.default is not None and trial.config != self.study.default_config:
            speedup = self.objective.speedup(value, self.default)
            against = f" against the default's {value_text(self.default)}"
            against += f" ({ratio_text(speedup)})" if speedup else ""
        return f"trial {trial.number} with {value_text(value)}{against}: {trial.config.text.replace(',', ', ')}"

    @property
    def _why_no_importance(self) -> str:
        if len(self.kept) < FEWEST_TRIALS:
            return f"too few trials; it takes {FEWEST_TRIALS} that could win, and here are {len(self.kept)}"
        return "all values are the same" if self.varied else "no parameter varied"


def _wrapped(lines: Iterable[str]) -> list[str]:
    """Lines that fit the page; of a long one, the beginning."""
    return [part for line in lines for part in textwrap.wrap(line, LINE_CHARACTERS, max_lines=3, placeholder=" …")]
