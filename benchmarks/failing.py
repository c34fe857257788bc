"""Recordings in which more fails than did: regions of the space, as of a kernel that needs more than a device has."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import combinations

from autotune.executors.recording import Recording
from autotune.measurement import Failure, FailureKind, Measurement
from autotune.values import Config, Scalar

FAILED = Failure(kind=FailureKind.RUNTIME, message="made to fail")


def with_failures(recording: Recording, share: float, seed: int = 0) -> Recording:
    """The same with that share of the configurations that ran made failures, always the same ones.

    What fails lies together: where a random function of the parameters is large that is linear in each of them and in
    some pairs.
    """
    ran = [config for config, outcome in recording.outcomes.items() if isinstance(outcome, Measurement)]
    strain = _Strain(recording, random.Random(seed))
    fails = set(sorted(ran, key=strain, reverse=True)[: math.floor(share * len(ran))])
    outcomes = {config: FAILED if config in fails else outcome for config, outcome in recording.outcomes.items()}
    return replace(recording, outcomes=outcomes)


class _Strain:
    def __init__(self, recording: Recording, chance: random.Random) -> None:
        varied = {name: values for name, values in recording.parameters.items() if len(values) > 1}
        self._places: dict[str, dict[Scalar, float]] = {
            name: {value: place / (len(values) - 1) for place, value in enumerate(values)}
            for name, values in varied.items()
        }
        self._weights = {name: chance.uniform(-1, 1) for name in varied}
        pairs = [pair for pair in combinations(varied, 2) if chance.random() < 0.5]
        self._pairs = {pair: chance.uniform(-2, 2) for pair in pairs}

    def __call__(self, config: Config) -> float:
        at = {name: place[config[name]] for name, place in self._places.items() if name in config}
        alone = sum(weight * at.get(name, 0.0) for name, weight in self._weights.items())
        return alone + sum(w * at.get(one, 0.0) * at.get(other, 0.0) for (one, other), w in self._pairs.items())
