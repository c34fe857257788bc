"""CompilePool: the parent's end of the compile server: its queue, time limits, and its replacement after a death."""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autotune.ahead import Compiled
from autotune.bench.phases import COMPILE
from autotune.device import Device
from autotune.errors import ExecutorError
from autotune.measurement import Failure, FailureKind
from autotune.trial import Trial

from .compile_limit import CompileLimit
from .process import WorkerProcess

LOAD_LIMIT_S = 300.0
"""For loading the workload's file and making the compiler ready."""
LOOK_S = 0.05
"""Between two looks at the clock and at what was cancelled."""
KILL_LIMIT_S = 2.0
"""A server that has not buried a child this long after it was told to kill it is replaced."""
FOUND_S = 0.1
"""What a hook answers sooner it found in a cache: it says nothing about how long its compiler takes."""
MOST_DEATHS = 3
"""A server that died so often is not started again."""
MOST_HANGS = 2
"""Bodies that hang for their trials' whole time before no other is tried."""
JOIN_S = 5.0

# A fork copies one thread: the pools of numeric libraries, which start with their import, must have none.
_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
}
_NOT_AHEAD = Compiled()


@dataclass(slots=True, eq=False)
class _Task:
    trial: Trial
    future: Future[Compiled]
    cancelled: Callable[[], bool]
    started_s: float = 0.0
    killed_s: float | None = None
    overdue: str = ""
    """Why it was killed, where that was for its time."""


class CompilePool:
    """Compiles trials of one version of one workload for one device, `workers` at a time, in the order of submission.

    Its futures give a Compiled whatever happens to it; an empty one means that the trial's own device compiles.
    room: whether what is compiled now will be wanted soon.
    """

    def __init__(
        self, device: Device, workers: int, *, show_output: bool = False, room: Callable[[], bool] = lambda: True
    ) -> None:
        self._device, self._workers, self._show_output, self._room = device, workers, show_output, room
        self._limit = CompileLimit()
        self._waiting: deque[_Task] = deque()
        self._running: dict[int, _Task] = {}
        self._settled: deque[tuple[_Task, Compiled]] = deque()
        self._changing, self._stopping = threading.Lock(), threading.Event()
        self._server: WorkerProcess | None = None
        self._load_by_s = math.inf
        self._deaths = self._hung = self._last = 0
        self._thread: threading.Thread | None = None
        self._path: Path | None = None
        self._first: Trial | None = None
        """Has the server load the file, once there is one."""
        self.serves: bool | None = None
        """Whether the workload is compiled here; None until that is known."""
        self.reason = ""
        """Why it is not."""

    def expect(self, path: Path) -> None:
        """Start the server and what a file such as this one will need, before the first trial is there."""
        with self._changing:
            self._path = path
            self._begin()

    def submit(self, trial: Trial, cancelled: Callable[[], bool] = lambda: False) -> Future[Compiled]:
        """All trials of a pool are of the same workload. cancelled: asked now and then whether it is still wanted."""
        task = _Task(trial, Future(), cancelled)
        with self._changing:
            if self._stopping.is_set() or self.serves is False:
                task.future.set_result(_NOT_AHEAD)
                return task.future
            self._waiting.append(task)
            if self._first is None:
                self._path, self._first = trial.workload.path, trial
                self._ask_to_load()
            self._begin()
            self._dispatch()
        return task.future

    def close(self) -> None:
        """Kill the server with all that it started; what is not compiled yet is left to the device."""
        with self._changing:
            self._stopping.set()
        if self._thread is not None:
            self._thread.join(JOIN_S)

    def _begin(self) -> None:
        if self._thread is None and not self._stopping.is_set():
            self._thread = threading.Thread(target=self._run, name="autotune-compile", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        """The life of the pool's thread, the only one that receives, and that resolves futures: under no lock."""
        try:
            while not self._stopping.is_set() and self.serves is not False:
                self._turn()
        except ExecutorError as error:
            self.reason = str(error)
        finally:
            with self._changing:
                self.serves = False
                left = [*self._running.values(), *self._waiting]
                self._settled.extend((task, _NOT_AHEAD) for task in left)
                self._running.clear()
                self._waiting.clear()
            self._settle()
            self._kill_server()

    def _turn(self) -> None:
        server = self._server or self._start()
        for message in server.receive(LOOK_S):
            with self._changing:
                self._take(message)
        with self._changing:
            self._check(server)
            self._dispatch()
        self._settle()

    def _start(self) -> WorkerProcess:
        server = WorkerProcess(_ENVIRONMENT, show_output=self._show_output, program="compile_server")
        with self._changing:
            self._server = server
            server.send({"expect": str(self._path), "device": self._device.to_json()})
            self._ask_to_load()
        return server

    def _ask_to_load(self) -> None:
        """Where there are both a server and a trial; under the lock."""
        if self._server is not None and self._first is not None:
            self._load_by_s = time.monotonic() + LOAD_LIMIT_S
            self._server.send({"load": self._first.to_json(), "device": self._device.to_json()})

    def _take(self, message: Mapping[str, Any]) -> None:
        if "loaded" in message:
            self.reason = message["loaded"]
            self.serves = not self.reason
            if self.reason and self._show_output:
                print(f"nothing is compiled ahead: {self.reason}", file=sys.stderr)
        else:
            task = self._running.pop(message["ended"])
            self._settled.append((task, self._conclude(task, message)))

    def _conclude(self, task: _Task, message: Mapping[str, Any]) -> Compiled:
        seconds = time.monotonic() - task.started_s
        if message["compiled"] is not None:
            compiled = Compiled.from_json(message["compiled"])
            if compiled.fresh and seconds >= FOUND_S:
                self._limit.note(seconds)
            failure = compiled.failure
        elif message["by_compiler"] and (task.killed_s is None or task.overdue):
            compiled, failure = _NOT_AHEAD, _death(message["signal"], task.overdue, message["output"])
        else:
            self._note_hang(task)
            return _NOT_AHEAD
        timed = replace(failure, phase_s={COMPILE: round(seconds, 6)}) if failure else None
        return replace(compiled, failure=timed)

    def _note_hang(self, task: _Task) -> None:
        """A body that took all its time and came to no compiler lacks the device; so will the others, each as long."""
        self._hung += bool(task.overdue) and self._limit.seconds(task.trial.timeout_s) == task.trial.timeout_s
        if self._hung >= MOST_HANGS:
            self.serves, self.reason = False, f"its body hung {self._hung} times without a device"

    def _check(self, server: WorkerProcess) -> None:
        """Kill what takes too long or is not wanted any more; bury a server that ended or does not answer."""
        now_s = time.monotonic()
        for number, task in self._running.items():
            if task.killed_s is None and self._must_end(task, now_s):
                task.killed_s = now_s
                server.send({"kill": number})
        stuck = any(task.killed_s and now_s - task.killed_s > KILL_LIMIT_S for task in self._running.values())
        if self.serves is None and now_s > self._load_by_s:
            self.serves, self.reason = False, f"its file was not loaded within {LOAD_LIMIT_S:g} s"
        elif server.hung_up or not server.alive or stuck:
            self._bury()

    def _must_end(self, task: _Task, now_s: float) -> bool:
        limit_s, took_s = self._limit.seconds(task.trial.timeout_s), now_s - task.started_s
        if took_s > limit_s:
            reason = self._limit.reason(task.trial.timeout_s)
            task.overdue = f"killed after {took_s:.1f} s while compiling; the limit is {limit_s:.3g} s: {reason}."
        return took_s > limit_s or task.cancelled()

    def _bury(self) -> None:
        """What it was compiling goes to the device; another server takes its place, unless too many died."""
        for task in self._running.values():
            failure = _death(signal.SIGKILL, task.overdue, "") if task.overdue else None
            self._settled.append((task, Compiled(failure=failure)))
        self._running.clear()
        self._deaths += 1
        loading = self.serves is None and self._first is not None
        self.serves, self.reason = None, ""
        if loading:  # it would do so again, and every trial waits for it
            self.serves, self.reason = False, "its process died while it loaded the file"
        elif self._deaths > MOST_DEATHS:
            self.serves, self.reason = False, f"its process died {self._deaths} times"
        self._kill_server()

    def _dispatch(self) -> None:
        """Start what can be started; under the lock."""
        while self.serves and self._server and self._waiting and len(self._running) < self._workers and self._room():
            task = self._waiting.popleft()
            if task.cancelled():
                self._settled.append((task, _NOT_AHEAD))
                continue
            self._last += 1
            task.started_s = time.monotonic()
            self._running[self._last] = task
            self._server.send({"compile": self._last, "trial": task.trial.to_json()})

    def _settle(self) -> None:
        while self._settled:
            task, compiled = self._settled.popleft()
            task.future.set_result(compiled)

    def _kill_server(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            with contextlib.suppress(ExecutorError):  # it cannot be killed, and it holds no device
                server.kill()


def _death(number: int, overdue: str, output: str) -> Failure | None:
    """The failure of a configuration whose compiler ended without a result; None where it ended by itself."""
    if overdue:
        kind, message = FailureKind.TIMEOUT, overdue
    elif number == signal.SIGKILL:
        kind, message = FailureKind.LOST, "the compiler was killed from outside (SIGKILL), for want of memory perhaps."
    elif number:
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        kind, message = FailureKind.COMPILE, f"the compiler died of {name} while it compiled this configuration."
    else:
        return None
    return Failure(kind=kind, message=message, details=output, phase=COMPILE)
