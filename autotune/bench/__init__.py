"""Bench: performs one trial in this process, from preparation to verification; rounds of several are in `turns.py`.

Time limits live in `executors/`.
"""

from __future__ import annotations

import traceback
from dataclasses import replace

from autotune.bench.body import Body, OnError
from autotune.bench.compile_hook import compile_by_hook
from autotune.bench.diagnosis import diagnose
from autotune.bench.diagnosis import must_replace as must_replace
from autotune.bench.leftovers import Present, charged
from autotune.bench.memory import release_memory
from autotune.bench.phases import COMPILE, MEASURE, PREPARE, VERIFY, WAIT, WARM_UP, OnPhase, Phases
from autotune.bench.sampling import LIMITS, Rival, sample, sample_energy, warm_up
from autotune.bench.throttle import undisturbed
from autotune.bench.turns import perform_round as perform_round
from autotune.device import Device
from autotune.device.lock import exclusive
from autotune.measurement import Conditions, Failure, Measurement, Outcome, Samples
from autotune.objective import ENERGY_J
from autotune.trial import Trial
from autotune.workload import Workload

AGAIN_SHARE = 0.3
"""Of the cap: how much longer a trial may take to be measured again under conditions that are known."""


def perform(
    workload: Workload, trial: Trial, device: Device, on_phase: OnPhase, on_error: OnError = lambda _: None
) -> Outcome:
    """Prepare, warm up, measure, verify; whatever the workload raises becomes a Failure, save KeyboardInterrupt.

    Nobody else of this project measures on the device meanwhile; waiting for it is the phase `wait`.
    on_phase: called at the start of each phase. on_error: called with what the workload raised while its frames are
    alive, for a debugger. Ask `must_replace` whether this process may measure again after the outcome.
    Raises DeviceError where the device cannot be locked.
    """
    with exclusive(device, lambda holder: on_phase(WAIT)):
        present, phases = Present.now(), Phases(on_phase)
        outcome = _attempt(workload, trial, device, phases, on_error)
        outcome = charged(outcome, present.left_over(workload.path))
        release_memory(failed=isinstance(outcome, Failure))
        return outcome


def _attempt(workload: Workload, trial: Trial, device: Device, phases: Phases, on_error: OnError) -> Outcome:
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
    workload: Workload, trial: Trial, device: Device, phases: Phases, on_error: OnError
) -> tuple[dict[str, Samples], Conditions]:
    body: Body | None = None
    try:
        if workload.compile is not None:
            phases.start(COMPILE)
            compile_by_hook(workload, trial, device)
        phases.start(PREPARE)
        body = Body.prepare(workload, trial, device)
        phases.start(WARM_UP)
        each_ms = warm_up(body.call, body.clock)
        phases.start(MEASURE)
        metrics, state = _measure(body, workload, trial, device, each_ms)
        phases.start(VERIFY)
        body.verify()
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt):
            on_error(error)
        if body is not None:
            body.close(error)
        raise
    return metrics, state


def _measure(
    body: Body, workload: Workload, trial: Trial, device: Device, each_ms: float
) -> tuple[dict[str, Samples], Conditions]:
    limits, objective = LIMITS[trial.effort], workload.objective
    wanted, rival = objective.metrics - {ENERGY_J}, Rival.of(objective, trial.rival)
    metrics, state = undisturbed(
        lambda: sample(body.call, body.clock, limits, each_ms, wanted, rival),
        device,
        trial.known_throttle,
        limits.cap_s * AGAIN_SHARE,
    )
    if ENERGY_J in objective.metrics and ENERGY_J not in metrics:  # a workload may know better, and return its own
        metrics[ENERGY_J] = sample_energy(body.call, body.clock, device, limits.cap_s)
    return metrics, state
