"""Final: the best of a search measured again in rounds, and who wins stored; the search itself is in `study`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from functools import partial
from typing import TypeVar

from autotune import selection
from autotune.executor import Executor
from autotune.measurement import Failure, FailureKind, Measurement, Outcome
from autotune.progress import Progress, Standing, Watch
from autotune.registry import RecordedTrial, Registry
from autotune.round import Round
from autotune.selection import Contest, Evidence
from autotune.values import Config
from autotune.verdict import Verdict

MOST_CONTESTS = 3
"""After one whose finalists all failed, the next best of the search meet."""
TICK_S = 0.25
"""How often the watcher hears of time passing while a round is under way."""

T = TypeVar("T")


class Final:
    """Of one study whose search is over.

    progress: where that stands. incumbent: what is current, where it is valid here. known_throttle: what held the
    clocks back for it or for the default.
    """

    def __init__(
        self,
        study_id: int,
        executor: Executor,
        registry: Registry,
        progress: Progress,
        incumbent: Config | None,
        known_throttle: tuple[str, ...] | None,
        watch: Watch,
    ) -> None:
        self._study_id, self._executor, self._registry = study_id, executor, registry
        self._progress, self._plan, self._watch = progress, progress.plan, watch
        self._incumbent, self._known_throttle = incumbent, known_throttle

    def run(self) -> Verdict | None:
        """Who won, with the winner made current; None where the infrastructure failed too often to tell."""
        if self._incumbent is not None and self._trial(self._incumbent) is None:
            return self._conclude(selection.unseen(self._progress, self._incumbent))
        for further in reversed(range(MOST_CONTESTS)):
            contest = self._contest()
            self._hold(contest, to_the_end=not further)
            if contest.abandoned:
                return None
            if not contest.deserted:
                break
        return self._conclude(selection.judge(contest, self._progress, self._incumbent), contest)

    def _contest(self) -> Contest:
        """Of the finalists, with the default and the incumbent where those did not fail in the search."""
        standing = (self._progress.default_config, self._incumbent)
        default, incumbent = (config if _may_run(self._trial(config)) else None for config in standing)
        out = self._out()
        trials = [trial for trial in self._progress.trials if trial.config not in out]
        others = [config for config in (default, incumbent) if config is not None]
        best = selection.finalists(self._plan, trials, others)
        return Contest(self._plan.workload.objective, best, default, incumbent)

    def _hold(self, contest: Contest, *, to_the_end: bool) -> None:
        """Round after round until it is decided, each recorded before anything else can go wrong.

        to_the_end: also where no finalist is left, who would be followed by others.
        """
        recorded = self._registry.measured_again(self._study_id)
        number = recorded[-1].number if recorded else 0
        while not contest.over and (to_the_end or not contest.deserted):
            number += 1
            members = contest.members
            standing = Standing(number=contest.number, most=contest.most, finalists=contest.finalists)
            tell = partial(self._watch, replace(self._progress, standing=standing), None)
            outcomes = awaited(self._executor.submit_round(self._round(contest, number)), tell)
            for config, outcome in zip(members, outcomes, strict=True):
                self._registry.record_round(self._study_id, config, number, outcome)
            contest.take(outcomes)

    def _round(self, contest: Contest, number: int) -> Round:
        """number: within the study, whatever was killed meanwhile; no two of its rounds have the same inputs."""
        trials = [self._plan.trial(config, known_throttle=self._known_throttle) for config in contest.members]
        seed = self._plan.seed + number
        return Round(trials=tuple(replace(trial, seed=seed) for trial in trials), number=contest.number)

    def _conclude(self, verdict: Verdict, contest: Contest | None = None) -> Verdict:
        """The winner first: a verdict on record says that there is nothing left to do."""
        tuned = selection.tuned_config(verdict, contest, self._progress, self._study_id) if contest else None
        if tuned is not None:
            self._registry.promote(tuned, self._study_id)
        self._registry.judge(self._study_id, verdict)
        return verdict

    def _trial(self, config: Config | None) -> RecordedTrial | None:
        return next((trial for trial in self._progress.trials if trial.config == config), None)

    def _out(self) -> set[Config]:
        """What failed or broke the bounds when it was measured again, in this run or an earlier one."""
        outcomes: dict[Config, list[Outcome]] = {}
        for one in self._registry.measured_again(self._study_id):
            for config, outcome in one.outcomes.items():
                outcomes.setdefault(config, []).append(outcome)
        return {config for config, again in outcomes.items() if self._is_out(config, again)}

    def _is_out(self, config: Config, again: Sequence[Outcome]) -> bool:
        rounds = [{config: outcome} for outcome in again if isinstance(outcome, Measurement)]
        kept = not rounds or Evidence(self._plan.workload.objective, rounds).feasible(config)
        return not kept or any(map(_is_own_failure, again))


def awaited(future: Future[T], tell: Callable[[], None]) -> T:
    """Its result, while a watcher is told of time passing; withdrawn where that is interrupted."""
    try:
        tell()
        while not wait([future], timeout=TICK_S).done:
            tell()
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _may_run(trial: RecordedTrial | None) -> bool:
    """Whether nothing was held against it: it was measured, or lost."""
    return trial is not None and not _is_own_failure(trial.outcome)


def _is_own_failure(outcome: Outcome) -> bool:
    return isinstance(outcome, Failure) and outcome.kind is not FailureKind.LOST
