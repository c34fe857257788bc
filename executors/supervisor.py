"""Supervisor: keeps one device's worker and holds it to a trial's limits; queues and threads are in local.py."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any

from autotune.device import Device
from autotune.errors import ExecutorError, WorkloadChanged
from autotune.measurement import Failure, FailureKind, Outcome, outcome_from_json
from autotune.trial import Trial

from . import proc
from .memory_guard import MemoryGuard
from .process import WorkerProcess
from .worker import CHANNEL_CLOSED

START_LIMIT_S = 300.0
"""For starting the process and loading the workload's file, which may import much from a slow disk."""
LOOK_S = 0.05
"""Between two looks at the clock and the memory."""
DETAILS_CHARACTERS = 4000

DOING = {
    "start": "starting its process",
    "load": "loading the workload's file",
    "prepare": "preparing",
    "warm_up": "warming up (its first calls)",
    "measure": "measuring",
    "verify": "verifying or cleaning up",
}


class Course:
    """Where a trial stands: its phase, the time of each, and the deadline."""

    def __init__(self, trial: Trial) -> None:
        self.phase = "start"
        self._trial = trial
        self._since_s = time.monotonic()
        self._phase_s: dict[str, float] = {}
        self._deadline_s = self._since_s + START_LIMIT_S

    def enter(self, phase: str) -> None:
        """The clock of the trial's own limit starts with what comes after loading."""
        now_s = time.monotonic()
        self._phase_s[self.phase] = now_s - self._since_s
        if self.phase == "load":
            self._deadline_s = now_s + self._trial.timeout_s
        self.phase, self._since_s = phase, now_s

    @property
    def left_s(self) -> float:
        """Until the deadline."""
        return self._deadline_s - time.monotonic()

    @property
    def limit_s(self) -> float:
        """The limit that holds in this phase."""
        return START_LIMIT_S if self.phase in ("start", "load") else self._trial.timeout_s

    def failure(self, kind: FailureKind, message: str, output: str) -> Failure:
        """With the times so far."""
        phase_s = {**self._phase_s, self.phase: time.monotonic() - self._since_s}
        rounded = {name: round(seconds, 6) for name, seconds in phase_s.items()}
        return Failure(
            kind=kind, message=message, details=output[-DETAILS_CHARACTERS:], phase=self.phase, phase_s=rounded
        )


class Supervisor:
    """Runs trials on one device, one at a time, in a worker that is replaced when it must be."""

    def __init__(
        self, device: Device, stopping: threading.Event, *, show_output: bool, memory_limit_bytes: int | None
    ) -> None:
        self._device, self._stopping = device, stopping
        self._show_output, self._memory_limit_bytes = show_output, memory_limit_bytes
        self._worker: WorkerProcess | None = None
        self._serves: tuple[object, ...] = ()

    def run(self, trial: Trial) -> Outcome:
        """Raises WorkloadChanged where the file is another version now, ExecutorError where no worker can run."""
        outcome = None
        while outcome is None:  # a fresh worker always gives one
            worker, fresh = self._worker_for(trial)
            outcome = self._supervise(worker, trial, fresh=fresh)
        return outcome

    def close(self) -> int | None:
        """Kill the worker, if there is one; its return code."""
        worker, self._worker = self._worker, None
        return worker.kill() if worker else None

    def _worker_for(self, trial: Trial) -> tuple[WorkerProcess, bool]:
        """The running worker where it can serve the trial, else a new one, and whether it is new.

        A worker serves one version of one file: the modules beside two files, or two versions, may have equal names.
        """
        serves = (trial.workload.path, trial.workload.version, frozenset(trial.environment.items()))
        if self._worker and serves == self._serves and self._worker.alive and not self._worker.hung_up:
            self._worker.forget_output()
            return self._worker, False
        self.close()
        self._worker = WorkerProcess({**_visible(self._device), **trial.environment}, show_output=self._show_output)
        self._serves = serves
        return self._worker, True

    def _supervise(self, worker: WorkerProcess, trial: Trial, *, fresh: bool) -> Outcome | None:
        """None where a worker from before turned out to be dead before it took the trial up."""
        course = Course(trial)
        guard = MemoryGuard(worker.pid, self._memory_limit_bytes)
        oom_kills = proc.oom_kills()
        worker.send({"trial": trial.to_json(), "device": self._device.to_json()})
        while True:
            for message in worker.receive(min(LOOK_S, course.left_s)):
                if "phase" in message:
                    course.enter(message["phase"])
                else:
                    return self._conclude(message)
            if worker.hung_up or not worker.alive:
                if course.phase == "start" and not fresh:
                    self.close()
                    return None
                return self._death(worker, course, trial, oom_kills)
            if failure := self._breach(worker, course, trial, guard):
                return failure

    def _conclude(self, message: Mapping[str, Any]) -> Outcome:
        if message.get("replace"):
            self.close()
        if "changed" in message:
            self.close()
            raise WorkloadChanged(message["changed"])
        return outcome_from_json(message["outcome"])

    def _breach(self, worker: WorkerProcess, course: Course, trial: Trial, guard: MemoryGuard) -> Failure | None:
        """The failure of a trial that must be ended now, ended."""
        doing = DOING[course.phase]
        if self._stopping.is_set():
            self.close()
            return course.failure(FailureKind.LOST, f"the executor was closed while {doing}.", worker.tail)
        if course.left_s <= 0:
            if course.phase != "start":
                worker.dump_stack()
            self.close()
            place = _place(worker.tail, trial)
            advice = "a longer run needs a larger timeout_s in @workload."
            message = f"killed after {course.limit_s:g} s while {doing}{place}; {advice}"
            return course.failure(FailureKind.TIMEOUT, message, worker.tail)
        if objection := guard.objection():
            self.close()
            message = f"killed while {doing}: {objection}; {_MEMORY_ADVICE}"
            return course.failure(FailureKind.OUT_OF_MEMORY, message, worker.tail)
        return None

    def _death(self, worker: WorkerProcess, course: Course, trial: Trial, oom_kills: int) -> Failure:
        """The failure of a trial whose process ended, or closed its end of the messages."""
        # Its descriptors close on the way out, so that it may still be ending; it has no memory any more by then.
        closed = worker.alive and proc.resident_bytes(worker.pid) > 0
        code = self.close() or 0
        if course.phase == "start" and code >= 0 and not trial.environment:
            raise ExecutorError(
                f"a worker process cannot start (exit code {code}): {worker.tail[-DETAILS_CHARACTERS:]}"
            )
        if closed or code == CHANNEL_CLOSED:
            advice = "it closed descriptors that are not its own; close what it opened, no more."
            return course.failure(FailureKind.RUNTIME, f"while {DOING[course.phase]}, {advice}", worker.tail)
        doing = DOING[course.phase] + _place(worker.tail, trial)
        kind, message = _cause(code, doing, oom_killed=proc.oom_kills() > oom_kills)
        return course.failure(kind, message, worker.tail)


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


def _place(output: str, trial: Trial) -> str:
    """Where the workload's file stood, as of the stack that a hanging or dying process printed last."""
    _, found, stack = output.rpartition("(most recent call first):\n")
    folder = re.escape(str(trial.workload.path.parent))
    frame = re.search(rf'File "{folder}/(.+)", line (\d+) in (\S+)', stack) if found else None
    return f" at {frame[1]}:{frame[2]} ({frame[3]})" if frame else ""


def _visible(device: Device) -> dict[str, str | None]:
    """What hides the other devices from the worker: a trial for the CPU must not find a GPU."""
    return {"CUDA_VISIBLE_DEVICES": device.uuid if device.kind == "gpu" else ""}
