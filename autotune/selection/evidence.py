"""Evidence: what several rounds say of one configuration against another; what follows from it is in `contest`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from autotune.measurement import Measurement, Samples
from autotune.objective import Objective
from autotune.values import Config
from autotune.verdict import Gain

LARGEST = 1e6
"""Gains beyond are cut: a share of a rival that reads 0 is infinite, and infinite numbers have no interval."""

# 0.99 quantiles of Student's t for 1, 2, … degrees of freedom: intervals of 98 %, wrong once in a hundred on each side.
# Source: NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.2.
_STUDENT_T = (
    31.821, 6.965, 4.541, 3.747, 3.365, 3.143, 2.998, 2.896, 2.821, 2.764,
    2.718, 2.681, 2.650, 2.624, 2.602, 2.583, 2.567, 2.552, 2.539, 2.528,
)  # fmt: skip

Readings = Mapping[Config, Measurement]
"""Of one round: each member that succeeded."""


class Evidence:
    """Rounds in which the configurations that are compared all took part.

    The unit is the round, whose inputs and allocations are its own: a lucky placement in memory is then noise between
    rounds, which the interval covers, and not a bias of all readings.
    """

    def __init__(self, objective: Objective, rounds: Sequence[Readings]) -> None:
        self._objective, self._rounds = objective, rounds

    @property
    def rounds(self) -> int:
        """How many there are."""
        return len(self._rounds)

    @property
    def readings(self) -> Sequence[Readings]:
        """Round by round."""
        return tuple(self._rounds)

    def pairs(self, config: Config) -> int:
        """Readings of the configuration in all rounds."""
        return sum(len(self._samples(one, config)) for one in self._rounds)

    def gain(self, config: Config, over: Config) -> Gain:
        """The mean over the rounds, and its interval, of the gain over another configuration.

        Of factors, where the values are all of one sign: a round in which it was twice and one in which it was three
        times as good differ as little as 1.00 and 1.50, and their plain gains by as much as the first is.
        """
        gains = [self._round_gain(one, config, over) for one in self._rounds]
        logs = [self._log_factor(gain) for gain in gains]
        if len(set(gains)) == 1 or any(log is None for log in logs):
            return mean_gain(gains)
        mean = mean_gain([log for log in logs if log is not None])
        return Gain(mean=self._gain(mean.mean), low=self._gain(mean.low), high=self._gain(mean.high))

    def values(self, config: Config) -> Samples:
        """The objective's median in each round."""
        return Samples(tuple(statistics.median(self._samples(one, config)) for one in self._rounds))

    def medians(self, config: Config) -> dict[str, float]:
        """Of each metric, the median over the rounds of its median in each."""
        metrics: dict[str, list[float]] = {}
        for one in self._rounds:
            for name, median in one[config].medians.items():
                metrics.setdefault(name, []).append(median)
        return {name: statistics.median(medians) for name, medians in metrics.items()}

    def feasible(self, config: Config) -> bool:
        """Whether those medians keep the bounds."""
        return self._objective.feasible(self.medians(config))

    def _round_gain(self, readings: Readings, config: Config, over: Config) -> float:
        """The median over the round's pairs: drift that both of a pair share cancels, an outlier does not count."""
        pairs = zip(self._samples(readings, config), self._samples(readings, over), strict=True)
        gains = (self._objective.gain(value, over=rival) for value, rival in pairs)
        return statistics.median(max(-LARGEST, min(LARGEST, gain)) for gain in gains)

    def _log_factor(self, gain: float) -> float | None:
        """The logarithm of how many times better it is, above 0 where it is; None where the values differ in sign."""
        sign = self._sign
        return sign * math.log1p(sign * gain) if sign * gain > -1 else None

    def _gain(self, log_factor: float) -> float:
        """The inverse of `_log_factor`."""
        exponent = min(self._sign * log_factor, math.log(LARGEST))
        return self._sign * math.expm1(exponent)

    @property
    def _sign(self) -> int:
        return 1 if self._objective.direction == "maximize" else -1

    def _samples(self, readings: Readings, config: Config) -> tuple[float, ...]:
        return readings[config].metrics[self._objective.metric].values


def mean_gain(rounds: Sequence[float]) -> Gain:
    """The mean and its 98 % confidence interval, mean ± t · s / √n, by Student's t with n - 1 degrees of freedom.

    Source: NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.5.2. One round alone has no interval.
    """
    mean, count = statistics.fmean(rounds), len(rounds)
    if count < 2:
        return Gain(mean=mean, low=-math.inf, high=math.inf)
    half = _STUDENT_T[min(count - 1, len(_STUDENT_T)) - 1] * statistics.stdev(rounds) / math.sqrt(count)
    return Gain(mean=mean, low=mean - half, high=mean + half)
