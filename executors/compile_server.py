"""The compile server: a process without GPU that loads a workload's file once and forks a child for each compilation.

It keeps no queue and no time: compile_pool.py, in the parent, tells it what to compile and what to kill.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from autotune.ahead import AheadCompiler, Compiled
from autotune.device import Device
from autotune.trial import Trial

from . import proc
from .worker import CHANNEL_CLOSED, out_of_reach, settle

OUTPUT_BYTES = 4096
"""Of what a child printed that is kept where it dies."""
CHUNK_BYTES = 64 * 1024

_BODY, _COMPILER = b"b", b"c"
"""The first byte of a child's report: what is at work in it."""


def main(messages: int, lifeline: int) -> NoReturn:
    """Serve until the parent closes its end.

    messages: a socket, one JSON document per line. lifeline: a pipe whose other end the parent alone holds.
    """
    settle(lifeline)
    CompileServer(out_of_reach(messages)).serve()
    os._exit(0)


@dataclass(frozen=True, slots=True)
class _Child:
    number: int
    report: int
    """A file in memory: one byte for what is at work, then the result. It outlives the child whatever ends it."""
    output: int


class CompileServer:
    """One thread throughout: a fork copies no other, and a lock that another holds stays locked in the child."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._unread = b""
        self._compiler: AheadCompiler | None = None
        self._children: dict[int, _Child] = {}
        self._ended, waker = socket.socketpair()
        for end in (self._ended, waker):
            end.setblocking(False)
        self._waker = waker
        signal.signal(signal.SIGCHLD, lambda *_: None)  # with a handler, the signal is also written to the descriptor
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)

    def serve(self) -> None:
        """Take up requests and report what has ended, as either comes."""
        while True:
            ready, _, _ = select.select([self._socket, self._ended], [], [])
            if self._ended in ready:
                self._ended.recv(CHUNK_BYTES)
                self._reap()
            if self._socket in ready:
                data = self._socket.recv(CHUNK_BYTES)
                if not data:
                    return
                *lines, self._unread = (self._unread + data).split(b"\n")
                for line in lines:
                    self._handle(json.loads(line))

    def _handle(self, request: Mapping[str, Any]) -> None:
        if "expect" in request:
            with contextlib.suppress(Exception):  # it is told when a trial is there
                self._compiler_for(Path(request["expect"]), Device(**request["device"]))
        elif "load" in request:
            self._send({"loaded": self._load(Trial.from_json(request["load"]), Device(**request["device"]))})
        elif "compile" in request:
            self._fork(request["compile"], Trial.from_json(request["trial"]))
        elif "kill" in request:
            self._kill(request["kill"])

    def _load(self, trial: Trial, device: Device) -> str:
        """Why nothing can be compiled here; empty where it can. What the file does wrong is told where it is timed."""
        try:
            compiler = self._compiler_for(trial.workload.path, device)
            compiler.load(trial.workload)
            if not compiler.serves:
                return "it uses no compiler that is known"
        except BaseException as error:
            return f"{type(error).__name__}: {error}"
        threads = proc.threads() - 1
        if threads:
            return f"loading it starts {threads} threads, which a fork would leave behind with what they hold"
        gc.collect()
        gc.freeze()  # or each child's first collection would copy every page
        return ""

    def _compiler_for(self, path: Path, device: Device) -> AheadCompiler:
        """One file in the life of a server."""
        self._compiler = self._compiler or AheadCompiler(path, device)
        return self._compiler

    def _fork(self, number: int, trial: Trial) -> None:
        child = _Child(number, os.memfd_create("report"), os.memfd_create("output"))
        pid = os.fork()
        if pid == 0:
            self._compile(child, trial)
        self._children[pid] = child

    def _compile(self, child: _Child, trial: Trial) -> NoReturn:
        """The life of a child."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._socket.close()
            for stream in (1, 2):
                os.dup2(child.output, stream)
            faulthandler.enable(sys.__stderr__ or 2, all_threads=False)
            if "torch" in sys.modules:
                sys.modules["torch"].set_num_threads(1)
            compiled = self._compiler.compile(trial, lambda at_work: _mark(child, at_work)) if self._compiler else None
            _report(child, compiled or Compiled())
        finally:
            os._exit(0)  # nothing that the body left behind is waited for

    def _reap(self) -> None:
        for pid in list(self._children):
            with contextlib.suppress(ChildProcessError):  # a workload's own handler may have taken it
                ended, status = os.waitpid(pid, os.WNOHANG)
                if not ended:
                    continue
                self._conclude(self._children.pop(pid), os.waitstatus_to_exitcode(status))

    def _conclude(self, child: _Child, code: int) -> None:
        """Tell the parent what came of it: the result, or what was at work when the child died."""
        at_work, result = os.pread(child.report, 1, 0), os.pread(child.report, os.fstat(child.report).st_size, 1)
        size = os.fstat(child.output).st_size
        output = os.pread(child.output, OUTPUT_BYTES, max(0, size - OUTPUT_BYTES)).decode(errors="replace")
        os.close(child.report)
        os.close(child.output)
        if output:
            print(output, end="", file=sys.stderr, flush=True)
        self._send(
            {
                "ended": child.number,
                "compiled": json.loads(result) if result else None,
                "signal": max(0, -code),
                "by_compiler": at_work == _COMPILER,
                "output": output,
            }
        )

    def _kill(self, number: int) -> None:
        for pid in (pid for pid, child in self._children.items() if child.number == number):
            for process in proc.members(pid):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process.pid, signal.SIGKILL)

    def _send(self, message: Mapping[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            os._exit(CHANNEL_CLOSED)


def _mark(child: _Child, at_work: bool) -> None:
    os.pwrite(child.report, _COMPILER if at_work else _BODY, 0)


def _report(child: _Child, compiled: Compiled) -> None:
    """In one piece, so that it is there whole or not at all."""
    os.pwrite(child.report, _BODY + json.dumps(compiled.to_json()).encode(), 0)
