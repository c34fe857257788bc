"""Contest: rounds of measurements until it is decided who wins; it measures nothing itself, `final` does.

docs/selection.md says why the numbers are what they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autotune.measurement import Failure, FailureKind, Measurement, Outcome
from autotune.objective import Objective
from autotune.selection.evidence import Evidence, Readings
from autotune.values import Config
from autotune.verdict import Gain

PRACTICAL_GAIN = 0.01
"""A winner beats the default and the incumbent by more than this share, with the whole interval."""
KEPT = (4, 2)
"""Finalists that are left after the first round, and after the second."""
LEAST_ROUNDS, MOST_ROUNDS = 3, 8
"""That are evidence: those after the finalists were chosen among."""
FAR_BEHIND = 0.05
"""A finalist that trails the best member by more than this share leaves."""
ROUNDS_TO_KNOW = 2
"""From which on: one round, of a busy host say, is no reason to go."""
MOST_DISTURBED = 3
"""Rounds that are taken again, in one contest, because the clocks were not the same for all members."""
MOST_LOST = 3
"""The same because the infrastructure failed."""


class Contest:
    """The default, the incumbent and the finalists of a search, measured in rounds.

    Up to two rounds choose among the finalists. The verdict rests on the rounds after them alone, which chose nobody:
    the best of eight reads well by luck, and readings that were selected for their luck prove nothing.
    """

    def __init__(
        self, objective: Objective, finalists: Sequence[Config], default: Config | None, incumbent: Config | None
    ) -> None:
        self._objective = objective
        self._default, self._incumbent = default, None if incumbent == default else incumbent
        standing = [config for config in (self._default, self._incumbent) if config is not None]
        self._finalists = [config for config in finalists if config not in standing]
        self._members = [*standing, *self._finalists]
        self._heats = len(KEPT) if len(self._finalists) > KEPT[-1] else 0
        self._rounds: list[Readings] = []
        self._taken = self._lost = self.disturbed = 0
        self.failures: dict[Config, Failure] = {}
        self._broke_bounds = False

    @property
    def members(self) -> tuple[Config, ...]:
        """Those of the next round, in the order in which they are prepared.

        That is another order each time: who is prepared first gets the same places in memory each time, and a place may
        be worth some per cent.
        """
        first = self._taken % len(self._members) if self._members else 0
        return (*self._members[first:], *self._members[:first])

    @property
    def finalists(self) -> int:
        """How many of the search are left."""
        return len(self._finalists)

    @property
    def number(self) -> int:
        """Of the round that comes next, from 1."""
        return self._taken + 1

    @property
    def most(self) -> int:
        """How many rounds there will be at most, as far as is known."""
        return self._heats + MOST_ROUNDS + self._taken - len(self._rounds)

    @property
    def abandoned(self) -> bool:
        """Whether the infrastructure failed so often that nothing can be decided."""
        return self._lost > MOST_LOST

    @property
    def over(self) -> bool:
        """Whether no further round is needed, or none can be had."""
        done = self.evidence.rounds
        decided = done >= MOST_ROUNDS or (done >= LEAST_ROUNDS and self._decided())
        return not self._members or self.abandoned or decided

    @property
    def deserted(self) -> bool:
        """Whether no finalist is left, and not by defeat alone: the next best of the search may meet instead."""
        failed = self.failures.keys() - {self._default, self._incumbent}
        return not self._finalists and (self._broke_bounds or bool(failed))

    @property
    def evidence(self) -> Evidence:
        """The rounds that count for the verdict; every member of now took part in each."""
        return Evidence(self._objective, self._rounds[self._heats :])

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Learn the outcomes of a round, one for each of `members` and in their order."""
        members, self._taken = self.members, self._taken + 1
        readings: dict[Config, Measurement] = {}
        failed: list[Config] = []
        for config, outcome in zip(members, outcomes, strict=True):
            if isinstance(outcome, Measurement):
                readings[config] = outcome
            elif outcome.kind is not FailureKind.LOST:
                self.failures[config] = outcome
                failed.append(config)
        self._remove(failed)
        if readings.keys() != set(self._members):
            self._lost += not failed  # one member's crash may well lose the others: without it they are measured again
        elif is_disturbed(readings) and self.disturbed < MOST_DISTURBED:
            self.disturbed += 1
        elif readings:
            self._rounds.append(readings)
            self._remove(self._leaving())

    @property
    def standing(self) -> Config | None:
        """Who stays where nobody wins: the incumbent, else the default; None where neither keeps the bounds."""
        return next((config for config in (self._incumbent, self._default) if self._is_rival(config)), None)

    @property
    def winner(self) -> Config | None:
        """The best of those that beat every rival; None where there is none."""
        winners = [config for config in self._candidates() if self._has_proved(config)]
        return max(winners, key=self._score, default=None)

    def runner_up(self, to: Config | None) -> Config | None:
        """The best member beside that one that keeps the bounds."""
        others = [config for config in self._members if config != to and self.evidence.feasible(config)]
        return max(others, key=self._score, default=None)

    def _decided(self) -> bool:
        """Whether further rounds would change nothing: every candidate but the winner is out of the question."""
        winner = self.winner
        return all(self._is_beaten(config, winner) for config in self._candidates() if config != winner)

    def _candidates(self) -> Iterator[Config]:
        """Who could win: the finalists, and the default where an incumbent would otherwise stay."""
        displaced = [self._default] if self._incumbent is not None and self._default is not None else []
        for config in (*self._finalists, *displaced):
            if config in self._members and self.evidence.feasible(config):
                yield config

    def _rivals(self, candidate: Config) -> Iterator[Config]:
        """Whom the candidate must beat: the default and the incumbent, where they run and keep the bounds."""
        for config in (self._default, self._incumbent):
            if config is not None and config != candidate and self._is_rival(config):
                yield config

    def _is_rival(self, config: Config | None) -> bool:
        return config is not None and config in self._members and self.evidence.feasible(config)

    def _has_proved(self, candidate: Config) -> bool:
        return all(self.gain(candidate, over=rival).low > PRACTICAL_GAIN for rival in self._rivals(candidate))

    def _is_beaten(self, candidate: Config, winner: Config | None) -> bool:
        """Whether the candidate is surely not better, by a practical gain, than the winner or than a rival."""
        rivals = [*self._rivals(candidate), *([winner] if winner is not None else [])]
        return any(self.gain(candidate, over=rival).high < PRACTICAL_GAIN for rival in rivals)

    def gain(self, config: Config, over: Config) -> Gain:
        """Of one member over another, by the rounds that count."""
        return self.evidence.gain(config, over)

    def _score(self, config: Config) -> float:
        """Comparable among members: the mean gain over one that all met in every round.

        A finalist where there is one: as shares of a default twice as slow, differences among finalists would be small.
        """
        common = self._finalists[0] if self._finalists else self._members[0]
        return self.gain(config, over=common).mean

    def _leaving(self) -> list[Config]:
        """Finalists whose part ends with this round: those far behind, and all but the best few after a heat."""
        so_far = Evidence(self._objective, self._rounds)
        gains = {config: so_far.gain(config, self._members[0]).mean for config in self._members}
        able = [config for config in self._members if so_far.feasible(config)]
        ranked = sorted(self._finalists, key=lambda config: (config in able, gains[config]), reverse=True)
        heat = len(self._rounds) - 1
        cut = ranked[KEPT[heat] :] if heat < self._heats else []
        best = max(able, key=lambda config: gains[config], default=self._members[0])
        known = so_far.rounds >= ROUNDS_TO_KNOW
        behind = [config for config in ranked if known and so_far.gain(config, best).mean < -FAR_BEHIND]
        unable = [config for config in ranked if config not in able]
        self._broke_bounds |= bool(unable)
        return [*cut, *behind, *unable]

    def _remove(self, leaving: Sequence[Config]) -> None:
        self._members = [config for config in self._members if config not in leaving]
        self._finalists = [config for config in self._finalists if config not in leaving]


def is_disturbed(readings: Readings) -> bool:
    """Whether something held the clocks back for some members and not for others."""
    states = [one.conditions for one in readings.values()]
    return any(state.disturbed for state in states) or len({frozenset(state.throttle) for state in states}) > 1
