"""Noise: by how much a reading of a recorded configuration misses its value."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import dataclass
from typing import Self

from autotune.errors import UserError
from autotune.measurement import Samples
from autotune.objective import LATENCY_MS

RECORDED = "recorded"


@dataclass(frozen=True, slots=True)
class Noise:
    """Independent from reading to reading, log-normal: never negative, with the mean at the recorded value."""

    share: float | None = None
    """The standard deviation as a share of the value; None is that which was recorded."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """`recorded`, or a share such as 0.05; raises UserError on anything else."""
        if text == RECORDED:
            return cls()
        try:
            share = float(text)
        except ValueError:
            share = math.nan
        if not 0 <= share < 1:
            raise UserError(f"the noise is {text!r}; expected {RECORDED!r} or a share below 1, as in --noise 0.05.")
        return cls(share)

    def readings(
        self, name: str, samples: Samples, spread_ms: float | None, count: int, chance: random.Random
    ) -> Samples:
        """So many of the metric of that name."""
        value = samples.median
        share = self.share if self.share is not None else _recorded(name, samples, spread_ms)
        variance = math.log1p(share * share)
        return Samples(
            tuple(value * math.exp(chance.gauss(0.0, math.sqrt(variance)) - variance / 2) for _ in range(count))
        )


def _recorded(name: str, samples: Samples, spread_ms: float | None) -> float:
    """As a share: of the readings that are there, else what the file says of the time's repeats."""
    deviation = spread_ms if name == LATENCY_MS and spread_ms is not None else 0.0
    if len(samples.values) > 1:
        deviation = statistics.stdev(samples.values)
    return deviation / abs(samples.median) if samples.median else 0.0
