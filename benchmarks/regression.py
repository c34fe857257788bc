"""How often the morning errs: simulated nights, with and without a regression; `python -m benchmarks.regression`.

The comparison is that of `autotune.morning.regression`; only the nights are simulated. docs/morning.md says what the
noise is made of.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shlex
import sys
import time
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from autotune.device import Toolchain, cpu_device
from autotune.morning.change import ChangeKind
from autotune.morning.regression import ERROR, THRESHOLD, compare
from autotune.sweep.due import Due, DueKind, Target
from autotune.sweep.night import Deed, Night, Reading, Result
from autotune.values import Config, Problem

NIGHTS, TARGETS, DEVICES, HISTORY, SHORT, READINGS = 100, 24, 4, 14, 2, 20
INCUMBENT, DEFAULT = Config(tile=128), Config(tile=64)
TOOLCHAIN = {"driver": "580.82", "torch": "2.11.0+cu130", "triton": "3.6.0"}
FIRST = datetime(2026, 11, 1, 1, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What separates a reading from the truth; each is a share of the time, a standard deviation if not said."""

    white: float = 0.01
    """Of a single reading, in the middle of all targets; a round has 20 of each configuration."""
    placement: float = 0.004
    """Of one configuration in one round: where its buffers happen to lie, as in `benchmarks.selection`."""
    unlike: float = 0.3
    """Of the logarithm of both, from target to target."""
    nights: float = 0.003
    """Of one configuration in one night: what all its rounds share and the next night has not."""
    hour: float = 0.003
    """Of both configurations of a target in one night: they are measured at one time, other targets at another."""
    clocks: float = 0.005
    """Of a device from night to night; a target feels 30 to 100 % of it, as it is bound by memory or by arithmetic."""
    devices: float = 0.01
    """Of devices of one kind, for good; who measures what is drawn by lot each night."""
    throttled: float = 0.02
    """The chance that a round is held back, both configurations by 10 to 20 %."""
    outlier: float = 0.003
    """The chance that one configuration's median of a round is 1.2 to 2 times as long."""
    missing: float = 0.05
    """The chance that a target is not measured in a night of the past."""

    @property
    def rounds(self) -> float:
        """Of a round's median: that of n normal readings has √(π/2n) of their deviation."""
        return math.hypot(self.white * math.sqrt(math.pi / 2 / READINGS), self.placement)

    @property
    def doubled(self) -> Noise:
        """All that is normal twice as large."""
        names = ("white", "placement", "nights", "hour", "clocks", "devices")
        return replace(self, **{name: 2 * getattr(self, name) for name in names})


@dataclass(frozen=True, slots=True)
class Workplace:
    """Devices and targets, and what is true of them."""

    noise: Noise
    random: random.Random
    targets: tuple[Target, ...] = field(init=False)
    truth: dict[Target, tuple[float, float, float, float]] = field(init=False)
    """Milliseconds, the default's, how far clocks are felt, noise of a round."""
    devices: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        draw = self.random
        targets = tuple(
            Target(workload=f"workload_{n // 4}", problem=Problem(m=2 ** (4 + n % 4)), sku="h200-sxm-141gb", gpus=1)
            for n in range(TARGETS)
        )
        object.__setattr__(self, "targets", targets)
        object.__setattr__(self, "truth", {target: self._truth() for target in targets})
        object.__setattr__(self, "devices", {f"GPU-{n}": draw.gauss(0, self.noise.devices) for n in range(DEVICES)})

    def night(self, number: int, slower: dict[Target, tuple[float, float]], *, whole: bool = False) -> Night:
        """One of them. slower: by which share a target's incumbent is, and its default. whole: no target is missing."""
        draw, noise = self.random, self.noise
        clocks = {device: shift + draw.gauss(0, noise.clocks) for device, shift in self.devices.items()}
        measured = [target for target in self.targets if whole or draw.random() >= noise.missing]
        results = tuple(self._result(target, clocks, slower.get(target, (0.0, 0.0))) for target in measured)
        began = FIRST + timedelta(days=number)
        ended = began + timedelta(hours=2)
        return Night(started_at=began.isoformat(), ended_at=ended.isoformat(), results=results)

    def _truth(self) -> tuple[float, float, float, float]:
        draw = self.random
        ms = math.exp(draw.uniform(-4, 3))
        rounds = self.noise.rounds * math.exp(draw.gauss(0, self.noise.unlike))
        return ms, ms * draw.uniform(1.05, 2.5), draw.uniform(0.3, 1.0), rounds

    def _result(self, target: Target, clocks: dict[str, float], slower: tuple[float, float]) -> Result:
        draw, noise = self.random, self.noise
        *both, felt, rounds = self.truth[target]
        device = draw.choice(list(clocks))
        shared = felt * clocks[device] + draw.gauss(0, noise.hour)
        held = [
            1 + draw.uniform(0.1, 0.2) if draw.random() < noise.throttled else 1.0 for _ in range(draw.randint(4, 6))
        ]
        medians = [
            tuple(
                ms * (1 + more) * back * self._outlier() * math.exp(shared + own + draw.gauss(0, rounds))
                for back in held
            )
            for ms, more in zip(both, slower, strict=True)
            for own in [draw.gauss(0, noise.nights)]
        ]
        readings = tuple(
            Reading(role=role, config=config, medians=one, device=device, node=f"node-{device[-1]}")
            for role, config, one in zip(("incumbent", "default"), (INCUMBENT, DEFAULT), medians, strict=True)
        )
        return Result(
            due=Due(target=target, kind=DueKind.CANARY, reasons=("a sample",)),
            deed=Deed.RECHECKED,
            metric="latency_ms",
            direction="minimize",
            readings=readings,
            toolchain=TOOLCHAIN,
        )

    def _outlier(self) -> float:
        return self.random.uniform(1.2, 2.0) if self.random.random() < self.noise.outlier else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What was reported in so many nights."""

    nights: int
    found: int
    """Nights in which the planted regression was among the regressions."""
    false_alarms: int
    """Nights in which anything else was reported, regressed, faster, or a device that moved."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"nights": self.nights, "found": self.found, "false_alarms": self.false_alarms}


def simulate(
    nights: int, slower: tuple[float, float], history: int = HISTORY, noise: Noise | None = None, seed: int = 0
) -> Tally:
    """So many workplaces of different seeds, in each of which one target becomes slower on the last night."""
    found = false = 0
    for number in range(nights):
        place = Workplace(noise or Noise(), random.Random(f"{seed} {number}"))
        before = [place.night(one, {}) for one in range(history)]
        planted = place.random.choice([r.due.target for r in before[-1].results])
        comparison = compare(place.night(history, {planted: slower}, whole=True), before)
        regressed = {one.target for one in comparison.changes if one.kind is ChangeKind.REGRESSED}
        reported = {one.target for one in comparison.changes if one.kind is not ChangeKind.SAME}
        found += planted in regressed
        false += bool(comparison.shifts) or bool(reported - {planted} if any(slower) else reported)
    return Tally(nights=nights, found=found, false_alarms=false)


def measure(nights: int) -> dict[str, Any]:
    """All figures, with where and when they were taken."""
    started_s = time.monotonic()
    unchanged = {history: simulate(nights, (0.0, 0.0), history) for history in (HISTORY, SHORT)}
    sizes = {f"{percent}_percent": simulate(nights, (percent / 100, 0.0)).to_json() for percent in (2, 3, 4, 5)}
    both = simulate(nights, (0.05, 0.05))
    short, short_both = simulate(nights, (0.05, 0.0), SHORT), simulate(nights, (0.05, 0.05), SHORT)
    rough = Noise().doubled
    here = cpu_device()
    return {
        "nights": nights,
        "targets": TARGETS,
        "devices": DEVICES,
        "history_nights": HISTORY,
        "threshold": THRESHOLD,
        "error": ERROR,
        "planted": 0.05,
        "planted_found": sizes["5_percent"]["found"],
        "false_alarms": unchanged[HISTORY].false_alarms,
        "planted_by_size": sizes,
        "planted_default_as_well": both.to_json(),
        "short_history": {
            "history_nights": SHORT,
            "planted": short.to_json(),
            "planted_default_as_well": short_both.to_json(),
            "unchanged": unchanged[SHORT].to_json(),
        },
        "noise_doubled": {
            "planted": simulate(nights, (0.05, 0.0), noise=rough).to_json(),
            "unchanged": simulate(nights, (0.0, 0.0), noise=rough).to_json(),
        },
        "noise": {one.name: getattr(Noise(), one.name) for one in fields(Noise)},
        "wall_s": round(time.monotonic() - started_s, 1),
        "device": here.to_json(),
        "versions": Toolchain.current(here).to_json(),
        "command": shlex.join(["python", "-m", "benchmarks.regression", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def main() -> None:
    """Simulate, print, and write the result file."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.regression", description=__doc__)
    arguments.add_argument("--nights", type=int, default=NIGHTS, help="of each kind")
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent / "results/regression.json")
    chosen = arguments.parse_args()
    found = measure(chosen.nights)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
