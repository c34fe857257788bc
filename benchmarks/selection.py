"""How often selection errs: simulated studies without any gain and with a small one; `python -m benchmarks.selection`.

The studies are those of `Study.run`; only the executor is simulated. docs/selection.md says where the sizes of the
noise are from. With `--real N` it also runs N studies on this machine's CPU whose parameters do nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from autotune import Config, Problem, SearchSpace, choice
from autotune.device import Device, Toolchain, cpu_device
from autotune.executor import ExecutorOptions, load_executor
from autotune.measurement import Conditions, Measurement, Outcome, Samples
from autotune.plan import Budget, Plan
from autotune.registry import Registry
from autotune.round import Round
from autotune.study import Study
from autotune.trial import Effort, Trial
from autotune.values import Scalar
from autotune.verdict import VerdictKind
from autotune.workload import Workload, load

STUDIES, GAIN = 200, 0.03
SPACE = SearchSpace(tile=choice(16, 32, 64, 128), stages=choice(1, 2, 3, 4, 5), order=choice("rows", "columns"))
TRIALS, SAMPLES = 30, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What separates a reading from the truth; each is a share of the time."""

    white: float = 0.02
    """The standard deviation of a single reading."""
    placement: float = 0.004
    """Of a configuration in one process or round: where its buffers happen to lie."""
    drift: float = 0.002
    """The step of a slow random walk, per reading, that returns within some hundred readings."""
    throttle: tuple[float, float] = (0.10, 0.20)
    """By how much the clocks are lowered while they are held back."""
    throttle_on: float = 0.004
    """The chance, per reading, that something begins to hold them back."""
    throttle_off: float = 0.01
    """That it ends."""
    outlier: float = 0.01
    """The chance that a reading is an outlier, by up to three times."""


class SimulatedDevice:
    """One device's time: every reading moves it on, whoever is read."""

    def __init__(self, noise: Noise, seed: int) -> None:
        self._noise, self._random = noise, random.Random(seed)
        self._wandered, self._throttle = 0.0, 0.0

    def place(self) -> float:
        """The factor of one allocation."""
        return math.exp(self._random.gauss(0.0, self._noise.placement))

    def read(self, true_ms: float) -> float:
        """One reading."""
        noise, chance = self._noise, self._random.random
        self._wandered = 0.998 * self._wandered + self._random.gauss(0.0, noise.drift)
        if self._throttle and chance() < noise.throttle_off:
            self._throttle = 0.0
        elif not self._throttle and chance() < noise.throttle_on:
            self._throttle = self._random.uniform(*noise.throttle)
        outlier = self._random.uniform(1.2, 3.0) if chance() < noise.outlier else 1.0
        held_back = 1.0 + self._throttle
        return true_ms * outlier * held_back * math.exp(self._wandered + self._random.gauss(0.0, noise.white))

    @property
    def conditions(self) -> Conditions:
        """What a driver would tell now."""
        return Conditions(throttle=("sw_power_cap",) if self._throttle else ())


class SimulatedExecutor:
    """Answers as a device would on which the configuration takes `true_ms(config)`."""

    def __init__(self, device: Device, gain: float, noise: Noise, seed: int) -> None:
        self._device, self._gain, self._simulated = device, gain, SimulatedDevice(noise, seed)

    def devices(self) -> Sequence[Device]:
        """The one that is simulated."""
        return [self._device]

    def slots(self, sku: str) -> int:
        """One."""
        return 1

    def submit(self, trial: Trial) -> Future[Outcome]:
        """A Future that is done already."""
        (outcome,) = self._measure([trial], SAMPLES)
        return _done(outcome)

    def submit_round(self, round: Round) -> Future[tuple[Outcome, ...]]:  # noqa: A002 - the word
        """The same."""
        return _done(self._measure(round.trials, round.passes))

    def close(self) -> None:
        """Nothing runs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def true_ms(self, config: Config) -> float:
        """A quarter of the configurations are better than the default, by the gain; the rest are its equals."""
        return 1.0 - self._gain * (config.tile == 128)

    def _measure(self, trials: Sequence[Trial], passes: int) -> tuple[Outcome, ...]:
        """In turn, every pass the other way round."""
        true_ms = [self._simulated.place() * self.true_ms(trial.config) for trial in trials]
        readings: list[list[float]] = [[] for _ in trials]
        for number in range(passes):
            for member in range(len(trials)) if number % 2 else reversed(range(len(trials))):
                readings[member].append(self._simulated.read(true_ms[member]))
        state = self._simulated.conditions
        return tuple(
            Measurement(metrics={"latency_ms": Samples(tuple(taken))}, conditions=state, phase_s={"measure": 0.01})
            for taken in readings
        )


def _done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


def simulate(studies: int, gain: float, noise: Noise | None = None) -> list[VerdictKind]:
    """How each of so many studies of different seeds ended."""
    device = replace(cpu_device(), sku="simulated")
    ended: list[VerdictKind] = []
    with Registry.memory() as registry:
        for seed in range(studies):
            executor = SimulatedExecutor(device, gain, noise or Noise(), seed)
            plan = simulated_plan(f"simulated_{gain}_{seed}", device, seed)  # a name of its own: no study seeds another
            verdict = Study(plan, executor, registry, None).run().verdict
            assert verdict is not None
            ended.append(verdict.kind)
    return ended


def simulated_plan(name: str, device: Device, seed: int) -> Plan:
    """A study of that name, which no other one seeds."""
    workload = Workload(name=name, body=_body, space=SPACE, problems=(Problem(),), path=Path(__file__), version="0")
    return Plan(
        workload=workload, problem=Problem(), device=device, budget=Budget(trials=TRIALS), sampler="random", seed=seed
    )


def _body(problem: Problem, config: Config) -> Generator[Callable[[], None], None, None]:
    """Never run."""
    yield lambda: None


NOTHING = """
import numpy as np

import autotune
from autotune import SearchSpace, choice

@autotune.workload(
    space=SearchSpace(tile=choice(16, 32, 64, 128), stages=choice(1, 2, 3, 4), order=choice("rows", "columns")),
    gpus=0,
)
def nothing(problem, config):
    \"\"\"The parameters do nothing; where the arrays lie in memory is worth some per cent.\"\"\"
    numbers = np.random.default_rng(0).standard_normal(1_000_000)
    yield lambda: np.sort(numbers)
"""


def real(studies: int, trials: int = 12) -> list[VerdictKind]:
    """How each of so many studies ended on this machine's CPU, each with a registry of its own."""
    ended: list[VerdictKind] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nothing.py"
        path.write_text(NOTHING)
        (workload,) = load(path)
        for seed in range(studies):
            plan = Plan(
                workload=workload,
                problem=Problem(),
                device=cpu_device(),
                budget=Budget(trials=trials),
                effort=Effort.FULL,
                seed=seed,
            )
            with load_executor("local", ExecutorOptions(device="cpu")) as executor, Registry.memory() as registry:
                verdict = Study(plan, executor, registry, None).run().verdict
            assert verdict is not None
            ended.append(verdict.kind)
    return ended


def measure(studies: int, gain: float, real_studies: int) -> dict[str, Any]:
    """All figures, with where and when they were taken."""
    started_s = time.monotonic()
    found: dict[str, Scalar | dict[str, Any]] = {
        "aa_studies": studies,
        "aa_promoted": simulate(studies, 0.0).count(VerdictKind.PROMOTED),
        "gain": gain,
        "gain_studies": studies,
        "gain_promoted": simulate(studies, gain).count(VerdictKind.PROMOTED),
        "noise": {name: getattr(Noise(), name) for name in Noise.__slots__},
        "wall_s": round(time.monotonic() - started_s, 1),
    }
    if real_studies:
        found |= {"real_aa_studies": real_studies, "real_aa_promoted": real(real_studies).count(VerdictKind.PROMOTED)}
    here = cpu_device()
    return {
        **found,
        "device": here.to_json(),
        "versions": Toolchain.current(here).to_json(),
        "command": shlex.join(["python", "-m", "benchmarks.selection", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def main() -> None:
    """Simulate, print, and write the result file."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.selection", description=__doc__)
    arguments.add_argument("--studies", type=int, default=STUDIES, help="of each kind")
    arguments.add_argument("--gain", type=float, default=GAIN, help="true gain, where there is one")
    arguments.add_argument("--real", type=int, default=0, metavar="N", help="also run N studies on this CPU")
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent / "results/selection.json")
    chosen = arguments.parse_args()
    found = measure(chosen.studies, chosen.gain, chosen.real)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
