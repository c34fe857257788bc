"""Supervisor: keeps one device's worker and holds it to its trials' limits; queues and threads are in local.py."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autotune.bench.phases import WAIT
from autotune.device import Device
from autotune.errors import DeviceError, ExecutorError, WorkloadChanged
from autotune.measurement import Failure, FailureKind, Outcome, outcome_from_json
from autotune.round import Round
from autotune.trial import Trial
from autotune.workload import source_version

from . import proc
from .course import DETAILS_CHARACTERS, DOING, Course
from .memory_guard import MemoryGuard
from .process import WorkerProcess
from .relay import relay
from .worker import CHANNEL_CLOSED

LOOK_S = 0.05
"""Between two looks at the clock and the memory."""

Environment = Mapping[str, str | None]
Serves = tuple[Path, str, frozenset[tuple[str, str | None]]]
"""What a worker can serve: one version of one file, in one environment."""


class Supervisor:
    """Runs trials and rounds on one device, one at a time, in a worker that is replaced when it must be."""

    def __init__(
        self, device: Device, stopping: threading.Event, *, show_output: bool, memory_limit_bytes: int | None
    ) -> None:
        self._device, self._stopping = device, stopping
        self._show_output, self._memory_limit_bytes = show_output, memory_limit_bytes
        self._worker: WorkerProcess | None = None
        self._serves: Serves | None = None
        self._spare: tuple[Serves, WorkerProcess] | None = None
        self._faulty = False
        self._course: Course | None = None
        self.replaced = False
        """Whether the worker was ended by what was run last."""

    @property
    def waits(self) -> bool:
        """Whether what it runs waits for the device, on which another study measures."""
        course = self._course
        return course is not None and course.phase == WAIT

    def run(self, trial: Trial) -> Outcome:
        """Raises WorkloadChanged where the file is another version now, ExecutorError where no worker can run."""
        return self._run((trial,), {"trial": trial.to_json()})[0]

    def run_round(self, asked: Round) -> tuple[Outcome, ...]:
        """An outcome for each of its trials; raises what `run` raises."""
        if len({frozenset(trial.environment.items()) for trial in asked.trials}) > 1:
            return relay(asked, self.run_round)
        return self._run(asked.trials, {"round": asked.to_json()})

    def expect(self, path: Path, version: str, environment: Environment) -> None:
        """Where no process runs, start the one that trials of the file will need; it loads the file meanwhile."""
        if self._worker is None:
            worker, fresh = self._worker_for(path, version, environment)
            if fresh:
                worker.send({"load": str(path)})

    def close(self) -> None:
        """Kill what runs."""
        spare, self._spare = self._spare, None
        try:
            self._end()
        finally:
            if spare:
                spare[1].kill()

    def _run(self, trials: Sequence[Trial], request: Mapping[str, Any]) -> tuple[Outcome, ...]:
        outcomes = None
        try:
            while outcomes is None:  # a fresh worker always gives them
                worker, fresh = self._worker_for(*_needs(trials[0]))
                self._course = Course(trials)
                outcomes = self._supervise(worker, self._course, request, fresh=fresh)
        finally:
            self.replaced, self._course = self._worker is None, None
        with contextlib.suppress(ExecutorError):  # the next trial will say so
            self._make_ready(trials[0])
        return outcomes

    def _end(self) -> int | None:
        """Kill the worker, if there is one; its return code."""
        worker, self._worker = self._worker, None
        return worker.kill() if worker else None

    def _make_ready(self, trial: Trial) -> None:
        """After a fault, have a process started and the file loaded before the next trial comes; then one more.

        Importing torch takes seconds, which the next fault is not to cost again. On the CPU it would disturb what is
        measured.
        """
        if self._device.kind == "cpu" or self._stopping.is_set():
            return
        if self._worker is None:
            self._faulty = True
            self.expect(*_needs(trial))
        elif self._faulty and self._spare is None and self._serves:
            self._spare = self._serves, self._started(trial.environment)
            self._spare[1].send({"load": str(trial.workload.path)})

    def _worker_for(self, path: Path, version: str, environment: Environment) -> tuple[WorkerProcess, bool]:
        """The running worker where it can serve the trial, else a new one, and whether it is new.

        A worker serves one version of one file: the modules beside two files, or two versions, may have equal names.
        """
        serves = (path, version, frozenset(environment.items()))
        if self._worker and self._loaded(serves) and _is_well(self._worker):
            self._serves = serves
            self._worker.forget_output()
            return self._worker, False
        self._end()
        spare = self._taken_spare(serves)
        self._worker = spare or self._started(environment)
        self._guard = MemoryGuard(self._worker.pid, self._memory_limit_bytes)
        self._serves = serves
        return self._worker, spare is None

    def _loaded(self, serves: Serves) -> bool:
        """Whether the worker serves this; what was expected by its text may turn out to name its version itself."""
        path, _, environment = serves
        return serves == self._serves or (path, source_version(path), environment) == self._serves

    def _started(self, environment: Environment) -> WorkerProcess:
        return WorkerProcess({**_visible(self._device), **environment}, show_output=self._show_output)

    def _taken_spare(self, serves: Serves) -> WorkerProcess | None:
        """The spare process, if it can serve; one that cannot is ended."""
        spare, self._spare = self._spare, None
        if spare is None:
            return None
        if spare[0] == serves and _is_well(spare[1]):
            spare[1].forget_output()
            return spare[1]
        spare[1].kill()
        return None

    def _supervise(
        self, worker: WorkerProcess, course: Course, request: Mapping[str, Any], *, fresh: bool
    ) -> tuple[Outcome, ...] | None:
        """None where a worker from before turned out to be dead before it took the request up."""
        oom_kills = proc.oom_kills()
        worker.send({**request, "device": self._device.to_json()})
        while True:
            for message in worker.receive(min(LOOK_S, course.left_s)):
                if "phase" in message:
                    course.enter(message["phase"])
                elif "turn" in message:
                    course.take_turn(message["turn"])
                else:
                    return self._conclude(message)
            if worker.hung_up or not worker.alive:
                if course.phase == "start" and not fresh:
                    self._end()
                    return None
                return self._death(worker, course, oom_kills)
            if failures := self._breach(worker, course):
                return failures

    def _conclude(self, message: Mapping[str, Any]) -> tuple[Outcome, ...]:
        if message.get("replace"):
            self._end()
        if "changed" in message:
            self._end()
            raise WorkloadChanged(message["changed"])
        if "refused" in message:
            raise DeviceError(message["refused"])
        return tuple(map(outcome_from_json, message["outcomes"]))

    def _breach(self, worker: WorkerProcess, course: Course) -> tuple[Failure, ...] | None:
        """The failures where the worker must be ended now, which it is."""
        doing = DOING[course.phase]
        if self._stopping.is_set():
            self._end()
            return course.failures(FailureKind.LOST, f"the executor was closed while {doing}.", worker.tail)
        if course.left_s <= 0:
            if course.phase != "start":
                worker.dump_stack()
            self._end()
            place = _place(worker.tail, course.trials[0])
            advice = "a longer run needs a larger timeout_s in @workload."
            message = f"killed after {course.limit_s:g} s while {doing}{place}; {advice}"
            return course.failures(FailureKind.TIMEOUT, message, worker.tail)
        if objection := self._guard.objection():
            self._end()
            message = f"killed while {doing}: {objection}; {_MEMORY_ADVICE}"
            return course.failures(FailureKind.OUT_OF_MEMORY, message, worker.tail)
        return None

    def _death(self, worker: WorkerProcess, course: Course, oom_kills: int) -> tuple[Failure, ...]:
        """The failures where the process ended, or closed its end of the messages."""
        # Its descriptors close on the way out, so that it may still be ending; it has no memory any more by then.
        closed = worker.alive and proc.resident_bytes(worker.pid) > 0
        code = self._end() or 0
        if course.phase == "start" and code >= 0 and not course.trials[0].environment:
            raise ExecutorError(
                f"a worker process cannot start (exit code {code}): {worker.tail[-DETAILS_CHARACTERS:]}"
            )
        if closed or code == CHANNEL_CLOSED:
            advice = "it closed descriptors that are not its own; close what it opened, no more."
            return course.failures(FailureKind.RUNTIME, f"while {DOING[course.phase]}, {advice}", worker.tail)
        doing = DOING[course.phase] + _place(worker.tail, course.trials[0])
        kind, message = _cause(code, doing, oom_killed=proc.oom_kills() > oom_kills)
        return course.failures(kind, message, worker.tail)


def _is_well(worker: WorkerProcess) -> bool:
    return worker.alive and not worker.hung_up


_MEMORY_ADVICE = "a constraint (space.where) can reject such configurations beforehand."


def _cause(code: int, doing: str, *, oom_killed: bool) -> tuple[FailureKind, str]:
    """What a return code means."""
    if code >= 0:
        advice = "something called os._exit or a library ended the process; raise an exception instead."
        return FailureKind.RUNTIME, f"the process ended with exit code {code} while {doing}: {advice}"
    if -code != signal.SIGKILL:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        advice = "native code that it called crashed, or it was sent the signal."
        return FailureKind.RUNTIME, f"the process died of {name} while {doing}: {advice}"
    if oom_killed:
        message = f"the kernel killed it for want of host memory while {doing}; {_MEMORY_ADVICE}"
        return FailureKind.OUT_OF_MEMORY, message
    return FailureKind.LOST, f"the process was killed from outside (SIGKILL) while {doing}."


def _needs(trial: Trial) -> tuple[Path, str, Environment]:
    """Of a worker that is to serve the trial."""
    return trial.workload.path, trial.workload.version, trial.environment


def _place(output: str, trial: Trial) -> str:
    """Where the workload's file stood, as of the stack that a hanging or dying process printed last."""
    _, found, stack = output.rpartition("(most recent call first):\n")
    folder = re.escape(str(trial.workload.path.parent))
    frame = re.search(rf'File "{folder}/(.+)", line (\d+) in (\S+)', stack) if found else None
    return f" at {frame[1]}:{frame[2]} ({frame[3]})" if frame else ""


def _visible(device: Device) -> dict[str, str | None]:
    """What hides the other devices from the worker: a trial for the CPU must not find a GPU."""
    return {"CUDA_VISIBLE_DEVICES": device.uuid if device.kind == "gpu" else ""}
