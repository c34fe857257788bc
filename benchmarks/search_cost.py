"""What the search itself takes: of one trial early and late, and on a space of a million configurations."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from typing import Any

from autotune import Config, Problem, SearchSpace, choice, power_of_two
from autotune.device import cpu_device
from autotune.measurement import Failure, FailureKind, Measurement, Outcome, Samples
from autotune.objective import Objective
from autotune.sampler import Sampler
from autotune.space.valid_set import ValidSet

EARLY, LATE = 400, 2_000
AROUND = 50
"""Trials up to that number, of which the median is taken."""


def small_space() -> SearchSpace:
    """Some ten thousand configurations that are valid."""

    def fits(config: Config) -> bool:
        return bool(32 <= config.block_x * config.block_y <= 1024)

    return SearchSpace(
        block_x=power_of_two(1, 512),
        block_y=power_of_two(1, 512),
        tile_x=choice(1, 2, 3, 4, 5, 6, 7, 8),
        tile_y=choice(1, 2, 3, 4, 5, 6, 7, 8),
        unroll=choice(0, 1, 2, 4),
        cached=choice(False, True),
    ).where(fits)


def large_space() -> SearchSpace:
    """About a million configurations that are valid; its constraints couple nearly all parameters."""

    def fits_shared_memory(config: Config) -> bool:
        elements = config.block_x * config.block_y * config.tile_x * config.tile_y
        return bool(4 * elements * config.stages <= 32 * 1024)

    order = choice("rows", "columns", "blocks")
    more = SearchSpace(stages=choice(1, 2, 3, 4, 5), order=order, group=power_of_two(1, 32))
    return (small_space() | more).where(fits_shared_memory)


def measure(samplers: Sequence[str]) -> dict[str, Any]:
    """Milliseconds of asking and telling, by sampler."""
    small = small_space().bind(Problem(), cpu_device())
    started_s = time.perf_counter()
    large = large_space().bind(Problem(), cpu_device())
    construction_s = time.perf_counter() - started_s
    return {
        "valid_configs": small.size,
        "large_valid_configs": large.size,
        "large_construction_s": construction_s,
        "strategies": {name: of_sampler(name, small, large) for name in samplers},
    }


def of_sampler(name: str, small: ValidSet, large: ValidSet) -> dict[str, float]:
    """The median trial around each number of trials."""
    cost_ms = asks_ms(name, small, LATE)
    large_ms = asks_ms(name, large, EARLY)
    return {
        f"ms_at_{EARLY}": _median_until(cost_ms, EARLY),
        f"ms_at_{LATE}": _median_until(cost_ms, LATE),
        f"large_ms_at_{EARLY}": _median_until(large_ms, EARLY),
        "large_first_ask_ms": large_ms[0],
    }


def asks_ms(name: str, valid: ValidSet, trials: int) -> list[float]:
    """What each ask and its tell took; the first has the sampler's construction in it."""
    found_ms = []
    started_s = time.perf_counter()
    sampler = Sampler(valid, Objective(), name=name)
    for _ in range(trials):
        proposal = sampler.ask()
        assert proposal is not None
        sampler.tell(proposal, _outcome(proposal.config))
        found_ms.append(1e3 * (time.perf_counter() - started_s))
        started_s = time.perf_counter()
    return found_ms


def _outcome(config: Config) -> Outcome:
    """A smooth basin with interactions, and a corner that fails."""
    if config.tile_x * config.tile_y > 48:
        return Failure(kind=FailureKind.RUNTIME, message="too many registers")
    far = (
        (math.log2(config.block_x) - 5) ** 2 + (math.log2(config.block_y) - 3) ** 2 + abs(config.tile_x - config.tile_y)
    )
    return Measurement(metrics={"latency_ms": Samples((1.0 + 0.1 * far + 0.05 * config.unroll * config.cached,))})


def _median_until(cost_ms: Sequence[float], trials: int) -> float:
    return statistics.median(cost_ms[trials - AROUND : trials])
