"""Round: configurations to be measured in turn, so that their readings pair up; who takes part is up to `selection`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from autotune.trial import Trial

PASSES = 20
"""Readings of each configuration in one round, at most."""
LEAST_PASSES = 3
"""Where calls are long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Trials of one workload and problem on one device, each prepared once, then called in turn, pass by pass.

    Drift that two neighbours share cancels in the ratio of their readings; every pass goes the other way round.
    """

    trials: tuple[Trial, ...]
    """Equal but for config and environment; their seed is the round's own, so that every round has fresh inputs."""
    number: int
    """From 1, among those that choose between the same finalists; before the first the clocks may not be steady yet."""
    passes: int = PASSES

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"trials": [trial.to_json() for trial in self.trials], "number": self.number, "passes": self.passes}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        trials = tuple(map(Trial.from_json, data["trials"]))
        return cls(trials=trials, number=data["number"], passes=data["passes"])
