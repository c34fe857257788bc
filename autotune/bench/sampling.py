"""Sampling: how often a call is repeated, to warm up and to be measured, and when that is enough."""

from __future__ import annotations

import time
from dataclasses import dataclass

from autotune.bench.clock import Call, Clock
from autotune.bench.diagnosis import ProtocolError
from autotune.bench.energy import energy_per_call
from autotune.bench.metrics import columns, timed
from autotune.device import Device
from autotune.measurement import Samples
from autotune.objective import ENERGY_J, LATENCY_MS, Objective
from autotune.trial import Effort


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one configuration's measurement."""

    cap_s: float
    """Measuring ends after this."""
    precision: float
    """Or when half the interval of the median is narrower than this share of it."""
    least: int
    """Samples that are taken all the same."""
    least_when_long: int
    """The same where a single call takes longer than the cap."""


LIMITS = {
    Effort.FULL: Limits(cap_s=1.0, precision=0.01, least=5, least_when_long=2),
    Effort.QUICK: Limits(cap_s=0.25, precision=0.03, least=3, least_when_long=1),
}
LEAST_TO_JUDGE = 6
"""Samples from which an interval of the median is one of 95 %: before, three that agree by chance would do."""
MOST_SAMPLES = 500
"""More would weigh on the registry and gain nothing: drift then outweighs chance."""
MOST_CALLS = 50
"""Between two looks at the precision."""
BATCH_SHARE = 0.1
"""Of the cap: how long the calls between two looks may take."""
WARM_UP_S = 0.005
"""Calls are repeated for this long to warm up, after the first one, which loads the binary or even compiles it."""
LEAST_WARM_UP, MOST_WARM_UP = 2, 4
"""Calls: what a clock must see to know a call, and what is enough of short ones."""

SAMPLES_TO_STOP = 3
"""From here on a configuration may be found hopeless; of a long call one is enough, the warm-up being another."""
HOPELESS = 1.25
"""How many times worse than the rival its best sample must be: under load a GPU's clocks fall by a fifth."""
LONG_MS = 1.0
"""From here on the wall time of a call in the warm-up is about that of the call, its launch being a small share."""
HOPELESS_WHEN_LONG = 4.0
"""The same by one sample and the warm-up."""


def warm_up(call: Call, clock: Clock) -> float:
    """Milliseconds of one call once it is warm, about."""
    wall_ms, calls, since_s = clock.warm_up(call), 1, time.perf_counter()
    while calls < LEAST_WARM_UP or (calls < MOST_WARM_UP and time.perf_counter() - since_s < WARM_UP_S):
        wall_ms, calls = clock.warm_up(call), calls + 1
    return wall_ms


def sample(
    call: Call,
    clock: Clock,
    limits: Limits,
    each_ms: float,
    wanted: frozenset[str],
    rival: Rival | None = None,
) -> dict[str, Samples]:
    """Call until the median latency is known well enough, the time is up, or the rival cannot be reached any more.

    each_ms: of one call, to plan with. wanted: the metrics that every call must return.
    """
    rows: list[dict[str, float]] = []
    started_s, count = time.perf_counter(), 1
    while True:
        batch_s = time.perf_counter()
        rows += timed(call, clock, count, wanted)
        now_s = time.perf_counter()
        if _enough(rows, limits, now_s - started_s, each_ms) or (rival and rival.out_of_reach(rows, each_ms)):
            return {name: Samples(values) for name, values in columns(rows).items()}
        # Each batch is as long as all before it and one more, so that few looks are made and little is overshot.
        reading_s = (now_s - batch_s) / count
        count = max(1, min(len(rows) + 1, MOST_CALLS, int(limits.cap_s * BATCH_SHARE / max(reading_s, 1e-9))))


def sample_energy(call: Call, clock: Clock, device: Device, cap_s: float) -> Samples:
    """Joules of one call; raises ProtocolError where the device does not tell them."""
    read = energy_per_call(call, clock, device, cap_s)
    if read is None:
        raise ProtocolError(
            f"the objective needs {ENERGY_J!r}, and {device.name} does not tell how much energy it draws; take another "
            f"device or objective, or have the callable return {{{ENERGY_J!r}: …}}."
        )
    return read


def _enough(rows: list[dict[str, float]], limits: Limits, elapsed_s: float, each_ms: float) -> bool:
    if len(rows) < (limits.least if each_ms < limits.cap_s * 1e3 else limits.least_when_long):
        return False
    if elapsed_s >= limits.cap_s or len(rows) >= MOST_SAMPLES:
        return True
    known = Samples(tuple(row[LATENCY_MS] for row in rows))
    return len(rows) >= LEAST_TO_JUDGE and known.relative_width < limits.precision


@dataclass(frozen=True, slots=True)
class Rival:
    """The best value of the objective so far, to tell early what is certainly worse."""

    value: float
    objective: Objective

    @classmethod
    def of(cls, objective: Objective, value: float | None) -> Rival | None:
        """None where all samples are wanted: without a value, and where bounds on other metrics are to be learnt."""
        return None if value is None or objective.subject_to else cls(value, objective)

    def out_of_reach(self, rows: list[dict[str, float]], each_ms: float) -> bool:
        """Whether even the best of the rows is worse by a margin for which drift cannot account."""
        values = [row[self.objective.metric] for row in rows if self.objective.metric in row]
        if not values:
            return False
        best = min(values) if self.objective.direction == "minimize" else max(values)
        ratio = self.objective.speedup(best, self.value)
        if ratio is None:  # a ratio says nothing where a value is not above 0
            return False
        if len(values) >= SAMPLES_TO_STOP:
            return ratio * HOPELESS < 1
        timed_by_us = self.objective.metric == LATENCY_MS
        warm_up_says_so = each_ms > max(LONG_MS, HOPELESS_WHEN_LONG * self.value)
        return timed_by_us and warm_up_says_so and ratio * HOPELESS_WHEN_LONG < 1
