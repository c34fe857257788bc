"""Body: the life of one trial's generator, from preparation to clean-up, and the clock that goes with it."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass

from autotune.bench.clock import Call, Clock
from autotune.bench.clock_choice import clock_for
from autotune.bench.diagnosis import ProtocolError
from autotune.device import Device
from autotune.restoring import Restoring
from autotune.trial import Trial
from autotune.workload import Workload

OnError = Callable[[BaseException], None]
"""Called with what a workload raised while its frames are alive, for a debugger."""


@dataclass(frozen=True, slots=True)
class Body:
    """A generator that stands at its yield: call it through its clock, then verify it, or close it after an error."""

    generator: Generator[Call, None, None]
    call: Call
    """What it yielded."""
    clock: Clock
    """For what it has loaded by then."""

    @classmethod
    def prepare(cls, workload: Workload, trial: Trial, device: Device) -> Body:
        """Run it up to the yield, with the trial's seed."""
        seed(trial.seed)
        generator = workload(trial.problem, trial.config)
        try:
            return cls(generator, _yielded(generator), clock_for(device, cache=workload.cache))
        except BaseException as error:
            _end(generator.close, error)
            raise

    def verify(self) -> None:
        """What follows the yield, its clean-up included; it sees the effect of exactly one call on what is restored."""
        if isinstance(self.call, Restoring):
            self.call.restore()
            self.call()
        _resume(self.generator)
        self.clock.finish()

    def close(self, error: BaseException | None = None) -> None:
        """Run its `with` and `finally`; what fails there is noted on the error and does not replace it."""
        _end(self.generator.close, error)
        _end(self.clock.finish, error)


def _yielded(generator: Generator[Call, None, None]) -> Call:
    try:
        call = next(generator)
    except StopIteration:
        raise ProtocolError(
            "it returned without a yield; yield the callable to be timed, once, on every path."
        ) from None
    if not callable(call):
        raise ProtocolError(
            f"it yielded a {type(call).__name__}, which cannot be called; yield what is to be timed: lambda: kernel(…)."
        )
    return call


def _resume(generator: Generator[Call, None, None]) -> None:
    try:
        next(generator)
    except StopIteration:
        return
    raise ProtocolError("it yielded twice; yield one callable, once: another one to be timed is another workload.")


def _end(end: Callable[[], None], error: BaseException | None) -> None:
    try:
        end()
    except KeyboardInterrupt:
        raise
    except BaseException as second:
        if error is not None:
            error.add_note(f"Then the clean-up failed: {type(second).__name__}: {second}")


def seed(number: int) -> None:
    """Every source of random numbers that is loaded: a body may draw what it launches, also where it only compiles."""
    random.seed(number)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(number % 2**32)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(number)
