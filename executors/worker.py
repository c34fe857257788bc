"""The isolated process: performs one trial or round at a time and reports over a socket; process.py starts it."""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from autotune.bench import must_replace, perform, perform_round
from autotune.bench.seat import blamed
from autotune.device import Device
from autotune.errors import DeviceError, UserError, WorkloadChanged
from autotune.measurement import Failure, FailureKind, Outcome
from autotune.round import Round
from autotune.trial import Trial, WorkloadReference
from autotune.workload import Workload, load, load_one

OUT_OF_REACH = 900
"""Descriptors of ours are moved up here: what closes "all descriptors" usually stops at 256 or so."""
DUMP_SIGNAL = signal.SIGUSR1
"""Prints where the main thread stands, even while native code holds the interpreter's lock."""
DUMP_ENDS = b" in <module>\n"
"""The last line of that."""
CHANNEL_CLOSED = 97
"""The exit code where a message cannot be sent: the workload closed the socket, or the parent is gone."""

# Waits for the end of the lifeline, its input, and kills its group, the worker's. It is nobody's child, for a workload
# may wait for all of its own, and heeds no signal that a workload may send to the group.
_GUARD = (
    "import os, signal; os.fork() and os._exit(0); signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); "
    "os.read(0, 1); os.killpg(0, signal.SIGKILL)"
)


def main(messages: int, lifeline: int) -> NoReturn:
    """Serve trials until the parent closes its end.

    messages: a socket, one JSON document per line. lifeline: a pipe whose other end the parent alone holds.
    """
    settle(lifeline)
    errors = open(out_of_reach(os.dup(2)), "w", closefd=False)  # noqa: SIM115 - open for good, also when fd 2 is closed
    faulthandler.enable(errors, all_threads=False)
    faulthandler.register(DUMP_SIGNAL, errors, all_threads=False)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # or a crash loses what was printed
    Worker(Channel(out_of_reach(messages))).serve()
    os._exit(0)  # whatever the workload registered to run at exit would only delay the next one


def settle(lifeline: int) -> None:
    """What every process that runs users' code owes its parent: to end with it, and to be the first without memory."""
    _die_with_parent(out_of_reach(lifeline))
    _yield_memory_first()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle


class Worker:
    """Answers trials and rounds, keeping the workloads that it has loaded."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._loaded: dict[WorkloadReference, Workload] = {}
        self._folder = Path.cwd()
        self._turn = 0

    def serve(self) -> None:
        """Answer every request in turn."""
        for request in self._channel:
            if "load" in request:
                self._load_ahead(Path(request["load"]))
                continue
            answer = self._answer(request, Device(**request["device"]))
            damaged = not self._mend()
            self._channel.send({**answer, "replace": answer.get("replace", False) or damaged})

    def _answer(self, request: Mapping[str, Any], device: Device) -> dict[str, Any]:
        asked = Round.from_json(request["round"]) if "round" in request else Trial.from_json(request["trial"])
        trials = asked.trials if isinstance(asked, Round) else (asked,)
        self._on_phase("load")
        try:
            workload = self._load(trials[0].workload)
        except WorkloadChanged as error:
            return {"changed": str(error)}
        except UserError as error:
            failure = Failure(kind=FailureKind.RUNTIME, message=str(error), phase="load")
            return {"outcomes": [failure.to_json()] * len(trials)}
        try:
            outcomes = self._perform(workload, asked, device)
        except DeviceError as error:
            return {"refused": str(error)}
        return {"outcomes": [outcome.to_json() for outcome in outcomes], "replace": any(map(must_replace, outcomes))}

    def _perform(self, workload: Workload, asked: Trial | Round, device: Device) -> tuple[Outcome, ...]:
        self._turn = 0
        try:
            if isinstance(asked, Round):
                return perform_round(workload, asked, device, self._on_phase, self._on_turn)
            return (perform(workload, asked, device, self._on_phase),)
        except KeyboardInterrupt:  # SIGINT is ignored here, so the workload raised it
            message = "it raised KeyboardInterrupt; raise an Exception instead."
            failure = Failure(kind=FailureKind.RUNTIME, message=message)
            trials = asked.trials if isinstance(asked, Round) else (asked,)
            return blamed(failure, trials, self._turn)

    def _load_ahead(self, path: Path) -> None:
        """All that the file declares. What goes wrong goes wrong again when a trial asks for it."""
        with contextlib.suppress(UserError):
            self._loaded.update({workload.reference: workload for workload in load(path)})
        self._mend()

    def _load(self, reference: WorkloadReference) -> Workload:
        if reference not in self._loaded:
            self._loaded[reference] = load_one(reference)
        return self._loaded[reference]

    def _on_phase(self, name: str) -> None:
        self._channel.send({"phase": name})

    def _on_turn(self, index: int) -> None:
        self._turn = index
        self._channel.send({"turn": index})

    def _mend(self) -> bool:
        """Undo what a trial may have done to the process's folder and output; False where that is not possible."""
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        try:
            os.chdir(self._folder)
            for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
                os.fstat(descriptor)
                if stream:
                    stream.flush()
        except (OSError, ValueError):
            return False
        return True


class Channel:
    """JSON documents over a socket, one per line."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._owner = os.getpid()

    def send(self, message: Mapping[str, Any]) -> None:
        """Ends the process where there is no way to send, and one that a workload forked and forgot to end."""
        if os.getpid() != self._owner:
            os._exit(1)
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            os._exit(CHANNEL_CLOSED)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with self._socket.makefile("rb") as lines:
            yield from map(json.loads, lines)


def out_of_reach(descriptor: int) -> int:
    """The descriptor moved to a high number, and closed in programs that are started from here."""
    floor = min(OUT_OF_REACH, os.sysconf("SC_OPEN_MAX") - 8)
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, floor)
    os.close(descriptor)
    return moved


def _die_with_parent(lifeline: int) -> None:
    """Have this process group killed once the parent is gone: by the kernel, or where that is refused by a guard."""
    if not _killed_by_kernel(lifeline):
        # check: better no worker than one that nothing would end
        subprocess.run([sys.executable, "-ISc", _GUARD], stdin=lifeline, stdout=subprocess.DEVNULL, check=True)


def _killed_by_kernel(lifeline: int) -> bool:
    """Have the kernel itself send the signal when the other end of the pipe closes; False where it will not.

    That needs no thread, which could not run while native code holds the interpreter's lock, and it reaches the
    processes that a workload started. The parent-death signal of prctl would leave those behind, and is sent already
    when the parent's thread ends that started this process.
    """
    try:
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
        # A sandbox may also accept all this and do nothing.
        killer = fcntl.fcntl(lifeline, fcntl.F_GETSIG) == signal.SIGKILL
        armed = killer and bool(fcntl.fcntl(lifeline, fcntl.F_GETFL) & os.O_ASYNC)
    except OSError:
        return False
    if armed and select.select([lifeline], [], [], 0)[0]:  # it was gone already, and the kernel signals only a change
        os.killpg(0, signal.SIGKILL)
    return armed


def _yield_memory_first() -> None:
    """Let the kernel choose this process, not the study, when the host's memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
