"""Studies of a space that is known only by asking: what a judge of search strategies calls, see `search_quality`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from autotune.device import Device, cpu_device
from autotune.measurement import Failure, FailureKind, Measurement, Outcome, Samples
from autotune.plan import Budget, Plan
from autotune.registry import Registry
from autotune.round import Round
from autotune.space.middle import space_around_middle
from autotune.study import Study
from autotune.trial import Trial
from autotune.values import RESERVED_NAMES, Config, Problem, Scalar
from autotune.workload import Workload

Evaluate = Callable[[tuple[Any, ...]], float]
"""Milliseconds of a configuration, infinite where it fails; raises once the budget is spent."""


class JudgedSpace(Protocol):
    """What a judge shows of a space."""

    names: list[str]
    values: Mapping[str, Sequence[Any]]
    valid: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedWorkload:
    """The valid configurations as a workload."""

    workload: Workload
    originals: Mapping[Config, tuple[Any, ...]]
    """As the judge writes them."""

    @classmethod
    def of(cls, space: JudgedSpace) -> Self:
        """Exactly the valid ones, the one in their middle as the default."""
        names = _names(space.names)
        originals = {Config(dict(zip(names, map(_scalar, row), strict=True))): row for row in space.valid}
        workload = Workload(
            name="judged",
            body=_body,
            space=space_around_middle(list(originals)),
            problems=(Problem(),),
            gpus=0,
            path=Path(__file__),
            version="0",
        )
        return cls(workload=workload, originals=originals)


def study(judged: JudgedWorkload, evaluate: Evaluate, budget: int, *, sampler: str, seed: int) -> None:
    """Run the study that `autotune study` would run, each configuration evaluated once."""
    executor = JudgedExecutor(judged.originals, evaluate)
    plan = Plan(
        workload=judged.workload,
        problem=Problem(),
        device=executor.device,
        budget=Budget(trials=budget),
        sampler=sampler,
        seed=seed,
    )
    with Registry.memory() as registry:
        Study(plan, executor, registry, None).run()


class JudgedExecutor:
    """Answers a trial by evaluating it, and rounds from what was evaluated."""

    def __init__(self, originals: Mapping[Config, tuple[Any, ...]], evaluate: Evaluate) -> None:
        self.device = replace(cpu_device(), sku="judged")
        self._originals, self._evaluate = originals, evaluate
        self._known_ms: dict[Config, float] = {}

    def devices(self) -> Sequence[Device]:
        """One that stands for the recorded one."""
        return [self.device]

    def expect(self, path: Path) -> None:
        """Nothing is run."""

    def slots(self, sku: str) -> int:
        """One."""
        return 1

    def submit(self, trial: Trial) -> Future[Outcome]:
        """A Future that is done already."""
        self._known_ms[trial.config] = self._evaluate(self._originals[trial.config])
        return _done(self._outcome(trial.config, 1))

    def submit_round(self, round: Round) -> Future[tuple[Outcome, ...]]:  # noqa: A002 - the word
        """The same readings again: an evaluation more would be one less for the search."""
        return _done(tuple(self._outcome(trial.config, round.passes) for trial in round.trials))

    def close(self) -> None:
        """Nothing runs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def _outcome(self, config: Config, passes: int) -> Outcome:
        time_ms = self._known_ms[config]
        if not math.isfinite(time_ms):
            return Failure(kind=FailureKind.RUNTIME, message="recorded as failed")
        return Measurement(metrics={"latency_ms": Samples((time_ms,) * passes)})


def _done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


def _body(problem: Problem, config: Config) -> Generator[Callable[[], None], None, None]:
    """Never run."""
    yield lambda: None


def _names(given: Sequence[str]) -> list[str]:
    """As they are where they can name a parameter, else changed so that they can."""
    names: list[str] = []
    for name in given:
        usable = re.sub(r"\W", "_", name)
        while not usable.isidentifier() or usable in RESERVED_NAMES or usable in names:
            usable = f"p_{usable}"
        names.append(usable)
    return names


def _scalar(value: Any) -> Scalar:
    return value if value is None or isinstance(value, (str, int, float, bool)) else repr(value)
