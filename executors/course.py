"""Course: where a trial or a round stands, and how long it may take; who ends it then is the supervisor."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from autotune.bench.phases import WAIT
from autotune.bench.seat import blamed
from autotune.measurement import Failure, FailureKind
from autotune.trial import Trial

START_LIMIT_S = 300.0
"""For starting the process and loading the workload's file, which may import much from a slow disk."""
ROUND_S = 10.0
"""For each trial of a round on top of its own limit: a round calls it for longer than a trial does."""
DETAILS_CHARACTERS = 4000

DOING = {
    "start": "starting its process",
    "load": "loading the workload's file",
    WAIT: "waiting for its device",
    "compile": "compiling",
    "prepare": "preparing",
    "warm_up": "warming up (its first calls)",
    "measure": "measuring",
    "verify": "verifying or cleaning up",
}


class Course:
    """Where a trial or a round stands: its phase, whose turn it is, the time of each phase, and the deadline."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self.phase = "start"
        self.trials = trials
        self._turn = None if len(trials) > 1 else 0
        self._phase_s: dict[str, float] = {}
        self._since_s = time.monotonic()
        self._limit(START_LIMIT_S)

    def enter(self, phase: str) -> None:
        """The trials' own limits begin with what comes after loading, and after waiting for the device."""
        self._note()
        if phase == WAIT:
            self._limit(math.inf)
        elif self.phase in ("load", WAIT):
            limits_s = [trial.timeout_s for trial in self.trials]
            self._limit(limits_s[0] if len(limits_s) == 1 else sum(limits_s) + ROUND_S * len(limits_s))
        self.phase = phase

    def take_turn(self, index: int) -> None:
        """In a round, each turn is held to the limit of the trial whose turn it is."""
        self._turn = index
        self._turn_since_s, self._turn_limit_s = time.monotonic(), self.trials[index].timeout_s

    @property
    def left_s(self) -> float:
        """Until the deadline."""
        return min(since_s + limit_s for since_s, limit_s in self._limits) - time.monotonic()

    @property
    def limit_s(self) -> float:
        """The limit that ends first."""
        return min(self._limits, key=sum)[1]

    def failures(self, kind: FailureKind, message: str, output: str) -> tuple[Failure, ...]:
        """Of the trial whose turn it is, with the times so far; the others of its round are lost to it.

        Where it is nobody's turn, and where nobody is to blame, all fail alike.
        """
        self._note()
        phase_s = {name: round(seconds, 6) for name, seconds in self._phase_s.items() if name != WAIT}
        failure = Failure(
            kind=kind, message=message, details=output[-DETAILS_CHARACTERS:], phase=self.phase, phase_s=phase_s
        )
        if self._turn is None or kind is FailureKind.LOST:
            return (failure,) * len(self.trials)
        return blamed(failure, self.trials, self._turn)

    @property
    def _limits(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """When each began and how long it is: the whole's, and the present turn's."""
        return (self._all_since_s, self._all_limit_s), (self._turn_since_s, self._turn_limit_s)

    def _limit(self, seconds: float) -> None:
        self._all_since_s, self._all_limit_s = time.monotonic(), seconds
        self._turn_since_s, self._turn_limit_s = self._all_since_s, math.inf

    def _note(self) -> None:
        now_s = time.monotonic()
        self._phase_s[self.phase] = self._phase_s.get(self.phase, 0.0) + now_s - self._since_s
        self._since_s = now_s
