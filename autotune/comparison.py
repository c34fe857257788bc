"""Comparison: candidates from elsewhere against one study's winner, in rounds; what follows from it is in `matrix`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from autotune.executor import Executor
from autotune.final import awaited
from autotune.measurement import Failure, FailureKind, Measurement, Outcome
from autotune.plan import Plan
from autotune.progress import Standing, Watch
from autotune.registry import Registry, StudyState
from autotune.round import Round
from autotune.selection import Evidence, is_disturbed
from autotune.selection.contest import LEAST_ROUNDS
from autotune.selection.evidence import Readings
from autotune.selection.finalists import DRIFT
from autotune.study import StudyResult
from autotune.values import Config

MOST_SEATS = 8
"""Configurations in one round, the winner among them: all are prepared at once, and share the device's memory."""
SPARE_ROUNDS = 3
"""For what is disturbed or lost."""


class Comparison:
    """Of the candidates with the winner, on the winner's problem; those that are no trials of its study are left out.

    Every candidate that may be near the winner meets it in at least `LEAST_ROUNDS` rounds, those of the study itself
    included: readings of a search are taken minutes apart, under other clocks. Of one that is far behind, the reading
    of the search will do.
    """

    def __init__(
        self, result: StudyResult, candidates: Sequence[Config], executor: Executor, registry: Registry, watch: Watch
    ) -> None:
        self._result, self._executor, self._registry, self._watch = result, executor, registry, watch
        self._trials = {trial.config: trial for trial in result.progress.trials}
        self._candidates = [config for config in candidates if config in self._trials]
        self.winner: Config | None = None
        """The study's; the best that was measured in it, where that one was not, or failed; None where none is able."""
        self._learn()

    @property
    def value(self) -> float | None:
        """Of the winner, in the rounds where there are any."""
        winner = self.winner
        if winner is None:
            return None
        rounds, objective = [*self._met(winner, winner)], self._plan.workload.objective
        return Evidence(objective, rounds).values(winner).median if rounds else self._reading(winner)

    @property
    def values(self) -> dict[Config, float]:
        """Of the winner and of each candidate that ran and kept the bounds, as gains over the winner say.

        None is better than the winner: what was not shown to be that counts as its equal.
        """
        return self._values([config for config in self._candidates if self._is_able(config)], 0)

    def _values(self, configs: Sequence[Config], since: int) -> dict[Config, float]:
        """By the rounds after the first so many, where there are any."""
        winner, value = self.winner, self.value
        if winner is None or value is None:
            return {}
        others = [config for config in configs if config != winner]
        gains = {config: min(0.0, self._gain(config, since)) for config in others}
        return {winner: value, **{config: self._scaled(gain, config) for config, gain in gains.items()}}

    @property
    def from_rounds(self) -> int:
        """How many candidates were compared with the winner in rounds; the others by readings of the search."""
        winner = self.winner
        return sum(config != winner and any(self._met(config, winner)) for config in self._candidates if winner)

    def run(self) -> None:
        """Measure what is missing, each round recorded with those of the study."""
        self._hold(self._lacking)

    def again(self, config: Config) -> dict[Config, float] | None:
        """`values` of the winner and that candidate, from as many rounds again, which had no part in choosing it.

        None where the two could not be had: one of them failed, which changes `values`.
        """
        winner, since = self.winner, len(self._rounds)
        if winner is None or config == winner:
            return self._values([], 0)
        self._hold(lambda: [] if self._is_enough(config, since) else [config])
        if self.winner != winner or not self._is_able(config):
            return None
        return self._values([config], since) if any(self._met(config, winner, since)) else self._values([config], 0)

    def _hold(self, lacking: Callable[[], list[Config]]) -> None:
        """Rounds of the winner with those that lack some, as long as there are any, within reason."""
        seats, study_id, started_s = MOST_SEATS - 1, self._result.study_id, time.monotonic()
        most = SPARE_ROUNDS + LEAST_ROUNDS * math.ceil(len(lacking()) / seats)
        if not lacking():
            return
        state: StudyState = "interrupted"
        with self._registry.claim(study_id):
            try:
                for number in range(1, most + 1):
                    if not (left := lacking()) or self.winner is None:
                        break
                    standing = Standing(number=number, most=most, finalists=len(left), word="candidate")
                    self._measure([self.winner, *left[:seats]], standing)
                state = "complete"
            finally:
                spent_s = time.monotonic() - started_s
                self._registry.close_study(study_id, state, self._result.progress.elapsed_s + spent_s)

    def _is_enough(self, config: Config, since: int) -> bool:
        """Also where it failed, or the winner did."""
        met = len([*self._met(config, self.winner, since)])
        return met >= LEAST_ROUNDS or config == self.winner or not self._is_able(config)

    def _measure(self, members: Sequence[Config], standing: Standing) -> None:
        """One round, recorded before anything else can go wrong."""
        number = 1 + (self._rounds[-1].number if self._rounds else 0)
        first = number % len(members)  # another order each time, as in a contest: places in memory are not equal
        members = [*members[first:], *members[:first]]
        trials = (self._plan.trial(config, known_throttle=self._throttle) for config in members)
        seed = self._plan.seed + number
        one = Round(trials=tuple(replace(trial, seed=seed) for trial in trials), number=standing.number)
        tell = partial(self._watch, replace(self._result.progress, standing=standing), None)
        outcomes = awaited(self._executor.submit_round(one), tell)
        for config, outcome in zip(members, outcomes, strict=True):
            self._registry.record_round(self._result.study_id, config, number, outcome)
        self._learn()

    def _learn(self) -> None:
        """What is recorded by now."""
        self._rounds = self._registry.measured_again(self._result.study_id)
        able = [config for config in self._trials if self._is_able(config)]
        current = self._result.tuned.config if self._result.tuned else None
        best = max if self._plan.workload.objective.direction == "maximize" else min
        self.winner = current if current in able else best(able, key=self._reading, default=None)

    def _lacking(self) -> list[Config]:
        """The candidates that may be near the winner and did not meet it often enough, the least met first."""
        winner = self.winner
        if winner is None:
            return []
        met = {config: len([*self._met(config, winner)]) for config in self._candidates}
        near = [config for config in self._candidates if config != winner and self._is_near(config, winner)]
        return sorted((config for config in near if met[config] < LEAST_ROUNDS), key=lambda config: met[config])

    def _is_near(self, config: Config, winner: Config) -> bool:
        objective = self._plan.workload.objective
        return self._is_able(config) and objective.gain(self._reading(config), self._reading(winner)) >= -DRIFT

    def _met(self, config: Config, winner: Config | None, since: int = 0) -> Iterator[Readings]:
        """The rounds, after the first so many, in which both were measured under the same clocks."""
        for one in self._rounds[since:]:
            readings = {
                member: outcome
                for member, outcome in one.outcomes.items()
                if member in (config, winner) and isinstance(outcome, Measurement)
            }
            if readings.keys() == {config, winner} and not is_disturbed(readings):
                yield readings

    def _gain(self, config: Config, since: int) -> float:
        """Over the winner: in rounds, or else by the readings of the search."""
        winner, objective = self.winner, self._plan.workload.objective
        assert winner is not None
        rounds = [*self._met(config, winner, since)]
        if rounds:
            return Evidence(objective, rounds).gain(config, over=winner).mean
        return objective.gain(self._reading(config), over=self._reading(winner))

    def _scaled(self, gain: float, config: Config) -> float:
        """The value that has that gain over the winner's; no gain leads away from 0."""
        value = self.value or 0.0
        if not value:
            return self._reading(config)
        better_by = gain * abs(value)
        return value - better_by if self._plan.workload.objective.direction == "minimize" else value + better_by

    def _is_able(self, config: Config) -> bool:
        """Whether it ran and kept the bounds, in the search and whenever it was measured again."""
        again = [one.outcomes[config] for one in self._rounds if config in one.outcomes]
        rounds = [{config: outcome} for outcome in again if isinstance(outcome, Measurement)]
        kept = not rounds or Evidence(self._plan.workload.objective, rounds).feasible(config)
        return self._plan.feasible(self._trials[config]) and kept and not any(map(_is_own_failure, again))

    def _reading(self, config: Config) -> float:
        """Of the search."""
        value = self._plan.value(self._trials[config])
        assert value is not None
        return value

    @property
    def _throttle(self) -> tuple[str, ...] | None:
        """What held the clocks back for the winner in the search."""
        outcome = self._trials[winner].outcome if (winner := self.winner) else None
        return outcome.conditions.throttle if isinstance(outcome, Measurement) else None

    @property
    def _plan(self) -> Plan:
        return self._result.progress.plan


def _is_own_failure(outcome: Outcome) -> bool:
    return isinstance(outcome, Failure) and outcome.kind is not FailureKind.LOST
