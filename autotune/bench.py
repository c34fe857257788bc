"""Bench: performs one trial in this process, from preparation to verification; time limits live in `executors/`."""

from __future__ import annotations

import gc
import math
import random
import sys
import time
import traceback
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from autotune.clock import Call, Clock, clock_for
from autotune.device import Device, conditions
from autotune.diagnosis import LEFT_RUNNING, VERIFY, ProtocolError, diagnose
from autotune.diagnosis import must_replace as must_replace
from autotune.leftovers import Present
from autotune.measurement import Conditions, Failure, FailureKind, Measurement, Outcome, Samples
from autotune.objective import LATENCY_MS
from autotune.trial import Effort, Trial
from autotune.workload import Workload

OnPhase = Callable[[str], None]
OnError = Callable[[BaseException], None]
Metrics = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Limits:
    cap_s: float
    """Measuring ends after this."""
    precision: float
    """Or when half the interval of the median is narrower than this share of it."""
    least: int
    """Samples that are taken all the same."""
    least_when_long: int
    """The same where a single call takes longer than the cap."""


LIMITS = {
    Effort.FULL: _Limits(cap_s=1.0, precision=0.01, least=5, least_when_long=2),
    Effort.QUICK: _Limits(cap_s=0.25, precision=0.03, least=3, least_when_long=1),
}
MOST_SAMPLES = 500
"""More would weigh on the registry and gain nothing: drift then outweighs chance."""
BATCH = 50
"""Calls between two looks at the precision, at most."""
BATCH_SHARE, WARM_UP_SHARE = 0.1, 0.1
"""Of the cap: how long a batch may take, and how long calls are repeated to warm up."""
LEAST_WARM_UP = 2
"""The first call compiles; the second may still fill caches."""


def perform(
    workload: Workload, trial: Trial, device: Device, on_phase: OnPhase, on_error: OnError = lambda _: None
) -> Outcome:
    """Prepare, warm up, measure, verify; whatever the workload raises becomes a Failure, save KeyboardInterrupt.

    on_phase: called at the start of each phase. on_error: called with what the workload raised while its frames are
    alive, for a debugger. Ask `must_replace` whether this process may measure again after the outcome.
    """
    present, phases = Present.now(), _Phases(on_phase)
    outcome = _attempt(workload, trial, device, phases, on_error)
    left = present.left_over(workload.path)
    if left:
        outcome = _with_leftovers(outcome, left)
    _release_memory(failed=isinstance(outcome, Failure))
    return outcome


def _attempt(workload: Workload, trial: Trial, device: Device, phases: _Phases, on_error: OnError) -> Outcome:
    try:
        metrics, state = _run(workload, trial, device, phases, on_error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        failure = diagnose(error, phases.current, device)
        traceback.clear_frames(error.__traceback__)  # their locals hold tensors, and a cycle may hold the error
        return replace(failure, phase_s=phases.end())
    return Measurement(metrics=metrics, conditions=state, phase_s=phases.end())


def _run(
    workload: Workload, trial: Trial, device: Device, phases: _Phases, on_error: OnError
) -> tuple[dict[str, Samples], Conditions]:
    phases.start("prepare")
    _seed(trial.seed)
    body = workload(trial.problem, trial.config)
    clock: Clock | None = None
    try:
        call = _yielded(body)
        clock = clock_for(device)
        phases.start("warm_up")
        each_ms = _warm_up(call, clock, LIMITS[trial.effort])
        phases.start("measure")
        metrics = _measure(call, clock, LIMITS[trial.effort], each_ms, workload.objective.metrics)
        state = conditions(device)
        phases.start(VERIFY)
        _resume(body)
        clock.finish()
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt):
            on_error(error)
        _clean_up(body, clock, error)
        raise
    return metrics, state


def _yielded(body: Generator[Call, None, None]) -> Call:
    try:
        call = next(body)
    except StopIteration:
        raise ProtocolError(
            "it returned without a yield; yield the callable to be timed, once, on every path."
        ) from None
    if not callable(call):
        raise ProtocolError(
            f"it yielded a {type(call).__name__}, which cannot be called; yield what is to be timed: lambda: kernel(…)."
        )
    return call


def _resume(body: Generator[Call, None, None]) -> None:
    """Verify and clean up."""
    try:
        next(body)
    except StopIteration:
        return
    raise ProtocolError("it yielded twice; yield one callable, once: another one to be timed is another workload.")


def _clean_up(body: Generator[Call, None, None], clock: Clock | None, error: BaseException) -> None:
    """Run the body's `with` and `finally`; what fails there is noted on the first error and does not replace it."""
    for end in (body.close, clock.finish if clock else None):
        try:
            if end:
                end()
        except KeyboardInterrupt:
            raise
        except BaseException as second:
            error.add_note(f"Then the clean-up failed: {type(second).__name__}: {second}")


def _warm_up(call: Call, clock: Clock, limits: _Limits) -> float:
    """Milliseconds of one call once it is warm."""
    started, calls, wall_ms = time.perf_counter(), 0, math.nan
    while calls < LEAST_WARM_UP or time.perf_counter() - started < limits.cap_s * WARM_UP_SHARE:
        wall_ms = clock.warm_up(call)
        calls += 1
    return wall_ms


def _measure(call: Call, clock: Clock, limits: _Limits, each_ms: float, wanted: frozenset[str]) -> dict[str, Samples]:
    """Sample until the median is known well enough or the time is up."""
    cap_ms = limits.cap_s * 1e3
    least = limits.least if each_ms < cap_ms else limits.least_when_long
    batch = max(1, min(BATCH, int(cap_ms * BATCH_SHARE / max(each_ms, 1e-6))))
    latencies: list[float] = []
    reported: list[Metrics] = []
    started = time.perf_counter()
    while True:
        for reading in clock.take(call, batch, lambda result: _numbers(result, wanted)):
            latencies.append(float(f"{reading.ms:.6g}"))  # finer than any clock, and half the size as JSON
            reported.append(_finite(reading.kept, wanted))
        if len(latencies) >= least:
            late = time.perf_counter() - started >= limits.cap_s or len(latencies) >= MOST_SAMPLES
            if late or Samples(tuple(latencies)).relative_width < limits.precision:
                break
    return {LATENCY_MS: Samples(tuple(latencies)), **_columns(reported)}


def _numbers(result: Any, wanted: frozenset[str]) -> Metrics:
    """What a call returned that can be read as a number, still unread: reading a GPU's scalar would wait for it."""
    if not isinstance(result, Mapping):
        if wanted:
            names = ", ".join(f"{name!r}: …" for name in sorted(wanted))
            raise ProtocolError(
                f"the callable returned {_kind(result)}; the objective needs its metrics: return {{{names}}}."
            )
        return {}
    return {name: value for name, value in result.items() if name in wanted or _is_scalar(value)}


def _finite(reported: Metrics, wanted: frozenset[str]) -> Metrics:
    """The values as floats; those that the objective needs must be there and be finite numbers."""
    if LATENCY_MS in reported:
        raise ProtocolError(
            f"the callable returned {LATENCY_MS!r}, which autotune measures itself; give it another name."
        )
    numbers = {name: number for name, value in reported.items() if (number := _number(value)) is not None}
    for name in sorted(wanted - numbers.keys()):
        found = f"{_kind(reported[name])} ({reported[name]!r})" if name in reported else "nothing"
        raise ProtocolError(
            f"the callable returned {found:.200} for {name!r}, which the objective needs as a finite number."
        )
    return numbers


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (int, float)) or (hasattr(value, "item") and getattr(value, "ndim", None) == 0)


def _number(value: Any) -> float | None:
    """None for what is no number to us: booleans, strings, NaN, infinity."""
    if _is_scalar(value) and not isinstance(value, (int, float)):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _columns(rows: list[Metrics]) -> dict[str, Samples]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: Samples(tuple(row[name] for row in rows if name in row)) for name in names}


def _with_leftovers(outcome: Outcome, left: list[str]) -> Failure:
    """A failure of its own, or a line in the details of the one that is there."""
    found = f"{LEFT_RUNNING}{'; '.join(left[:5])}"
    if isinstance(outcome, Failure):
        return replace(outcome, details=f"{outcome.details}\n{found}")
    message = f"{found}; end what it starts in a finally block after the yield."
    return Failure(kind=FailureKind.RUNTIME, message=message, phase=VERIFY, phase_s=outcome.phase_s)


def _seed(seed: int) -> None:
    random.seed(seed)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(seed % 2**32)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(seed)


def _release_memory(*, failed: bool) -> None:
    """Start the next trial from an equal state: what torch caches is not there for CUDA libraries beside it."""
    if failed:
        gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        try:
            torch.cuda.empty_cache()
        except RuntimeError:  # the context is broken, which the outcome says already
            return


class _Phases:
    """The phase under way and how long each took."""

    def __init__(self, on_phase: OnPhase) -> None:
        self._on_phase = on_phase
        self._phase_s: dict[str, float] = {}
        self._since = time.perf_counter()
        self.current = ""

    def start(self, name: str) -> None:
        self.end()
        self.current = name
        self._since = time.perf_counter()
        self._on_phase(name)

    def end(self) -> dict[str, float]:
        if self.current:
            self._phase_s[self.current] = round(time.perf_counter() - self._since, 6)
        return self._phase_s
