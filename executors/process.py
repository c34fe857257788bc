"""WorkerProcess: the parent's end of a worker: its start, messages and output, and the end of all that it started."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import autotune
from autotune.errors import ExecutorError

from . import proc, worker

TAIL_BYTES = CHUNK_BYTES = 64 * 1024
LAST_CHUNKS = 16
"""A dead process leaves at most a full pipe, 64 KiB or 1 MiB; what outlived it must not keep us reading."""
REAP_S = 30.0
"""A killed process that is not gone after this hangs in the kernel, as in a driver, and holds its device."""
DUMP_S = 0.2
"""How long to wait for a hanging process to print where it stands."""

# The worker must run the very code that its parent runs, without the parent's folder in front of its imports, where
# a user's random.py would shadow the standard library's.
_BOOTSTRAP = (
    "import sys; sys.path.insert(0, sys.argv[1]); import autotune; del sys.path[0]; "
    "from importlib import import_module; "
    "import_module(f'autotune.executors.{sys.argv[4]}').main(int(sys.argv[2]), int(sys.argv[3]))"
)
_ROOT = str(Path(autotune.__file__).parents[1])


class WorkerProcess:
    """A worker in a session of its own, with its environment on top of ours.

    program: the module beside this one whose `main` it runs.
    """

    def __init__(self, environment: Mapping[str, str | None], *, show_output: bool, program: str = "worker") -> None:
        self.hung_up = False
        """Whether its end of the messages is closed: it died, or the workload closed it."""
        self._program, self._show_output = program, show_output
        self._unread = b""
        self._tail = bytearray()
        try:
            with contextlib.ExitStack() as theirs:
                self._start(environment, theirs)
        except OSError as error:
            raise ExecutorError(f"a worker process cannot be started: {error}.") from error

    @property
    def pid(self) -> int:
        """Also of its process group and session."""
        return self._process.pid

    @property
    def tail(self) -> str:
        """The end of what it printed since `forget_output`."""
        return self._tail.decode(errors="replace")

    @property
    def alive(self) -> bool:
        """Whether it has not ended; a dead one is left unreaped, so that its number stays its own until `kill`."""
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:  # somebody else in this process waits for every child
            return False

    def forget_output(self) -> None:
        """Drop what it printed so far."""
        self.receive(0)
        self._tail.clear()

    def send(self, message: Mapping[str, Any]) -> None:
        """Where nobody listens any more, `hung_up` comes to say so."""
        with contextlib.suppress(OSError):
            self._messages.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout_s: float) -> list[dict[str, Any]]:
        """The messages that have come, after waiting for something to happen; keeps what it printed meanwhile."""
        for key, _ in self._selector.select(max(0.0, timeout_s)):
            if key.data == "output":
                self._read_output()
            else:
                self._read_messages()
        *lines, self._unread = self._unread.split(b"\n")
        try:
            return [json.loads(line) for line in lines]
        except ValueError:  # the workload wrote into our descriptor; nothing after it can be trusted
            self.hung_up = True
            return []

    def dump_stack(self) -> None:
        """Have it print where its main thread stands, and take that in."""
        os.kill(self.pid, worker.DUMP_SIGNAL)
        until = time.monotonic() + DUMP_S
        while self.alive and time.monotonic() < until and worker.DUMP_ENDS not in self._tail[-1000:]:
            self.receive(until - time.monotonic())

    def kill(self) -> int:
        """Kill it and all that it started, take in its last words, release it; its return code as of `subprocess`.

        Raises ExecutorError where it cannot be killed.
        """
        descendants = proc.members(self.pid)
        for pid in (-self.pid, *(process.pid for process in descendants)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            return self._process.wait(REAP_S)
        except subprocess.TimeoutExpired:
            raise ExecutorError(
                f"process {self.pid} cannot be killed: it hangs in the kernel, as in a GPU's driver, and holds its "
                f"device. Look at `dmesg`; the device or the host may need a reset."
            ) from None
        finally:
            self._release()

    def _start(self, environment: Mapping[str, str | None], theirs: contextlib.ExitStack) -> None:
        """Everything that is opened here for the child is closed with `theirs`."""
        self._messages, their_messages = socket.socketpair()
        their_lifeline, self._lifeline = os.pipe()
        self._output, their_output = os.pipe()
        theirs.callback(their_messages.close)
        theirs.callback(os.close, their_lifeline)
        theirs.callback(os.close, their_output)
        descriptors = (their_messages.fileno(), their_lifeline)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._messages, selectors.EVENT_READ, "messages")
        self._selector.register(self._output, selectors.EVENT_READ, "output")
        os.set_blocking(self._output, False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOTSTRAP, _ROOT, *map(str, descriptors), self._program],
                stdin=subprocess.DEVNULL,
                stdout=their_output,
                stderr=their_output,
                pass_fds=descriptors,
                start_new_session=True,
                env=_merged(environment),
            )
        except OSError:
            self._release()
            raise

    def _read_messages(self) -> None:
        try:
            data = self._messages.recv(CHUNK_BYTES)
        except OSError:
            data = b""
        self._unread += data
        if not data:
            self.hung_up = True
            self._selector.unregister(self._messages)

    def _read_output(self) -> None:
        if not self._keep_output(os.read(self._output, CHUNK_BYTES)):
            self._selector.unregister(self._output)

    def _keep_output(self, data: bytes) -> bool:
        """False at the end of the output."""
        if self._show_output:
            sys.stderr.write(data.decode(errors="replace"))  # stdout may carry our JSON
            sys.stderr.flush()
        self._tail += data
        del self._tail[:-TAIL_BYTES]
        return bool(data)

    def _release(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(LAST_CHUNKS):
                self._keep_output(os.read(self._output, CHUNK_BYTES))
        self._selector.close()
        self._messages.close()
        os.close(self._lifeline)
        os.close(self._output)


def _merged(environment: Mapping[str, str | None]) -> dict[str, str]:
    """Our environment with theirs on top; None takes a variable away."""
    merged: dict[str, str | None] = {**os.environ, **environment}
    return {name: value for name, value in merged.items() if value is not None}
