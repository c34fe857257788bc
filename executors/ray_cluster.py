"""RayExecutor: runs trials on the nodes of a Ray cluster, a LocalExecutor on each; the only file that knows Ray.

Which job goes where is decided in `dispatch.py`, what happens on a node in `cluster_node.py`. One thread decides and
sends; another looks at the cluster, and everything that either hears goes through the first one's inbox.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

import autotune
from autotune.device import Device
from autotune.errors import DeviceError, ExecutorError, UserError, WorkloadChanged, did_you_mean
from autotune.event import Event, EventKind
from autotune.executor import ExecutorOptions
from autotune.measurement import Failure, FailureKind, Outcome, outcome_from_json
from autotune.round import Round
from autotune.trial import Trial

from .cluster_node import ClusterNode
from .dispatch import MOST_ATTEMPTS, Dispatch, Job, Node
from .shipment import Shipment

CONNECT_S = 20.0
POLL_S = 0.2
MOST_OVERHEARD_BYTES = 1 << 16
REACH_S = 5.0
"""For the head's port to accept a connection at all."""
START_S = 90.0
"""For a node's process to start, import autotune and find its devices."""
SILENCE_S = 20.0
"""A node that leaves a question unanswered for so long is given up: it answers while trials run."""
BACKOFF_S = 1.0
"""Before a node's process is started anew; doubled with each failure that follows another one closely."""
MOST_BACKOFF_S = 60.0
CLOSE_S = 3.0
"""For the nodes to end their workers and remove what was shipped, before they are killed."""
PATIENCE_S = 300.0
"""How long a trial waits for a node of its SKU after the last one left."""
LOOK_S = 1.0
"""Between two looks at the cluster."""


@dataclass(slots=True, eq=False)
class _Actor:
    """A node's process: its handle, and what it has been asked and has not answered yet."""

    key: str
    name: str
    handle: Any
    asked_s: float | None
    limit_s: float


@dataclass(slots=True)
class _Past:
    """What is remembered of a node whose process failed."""

    failures: int
    again_s: float


class RayExecutor:
    """Trials run where a node has a device of their SKU free; a gang never leaves its node.

    canary: see LocalExecutor; a path on every node. compile_workers: of each node. patience_s: how long a trial waits
    for a node of its SKU after the last one left. look_s: between two looks at the cluster.
    """

    def __init__(
        self,
        options: ExecutorOptions | None = None,
        *,
        canary: Path | None = None,
        compile_workers: int | None = None,
        patience_s: float = PATIENCE_S,
        look_s: float = LOOK_S,
    ) -> None:
        self._options = options or ExecutorOptions()
        _check_options(self._options)
        self._asked = {
            "version": autotune.__version__,
            "show_output": self._options.show_output,
            "shared": self._options.shared,
            "canary": str(canary) if canary else None,
            "compile_workers": compile_workers,
        }
        self._patience_s, self._look_s = patience_s, look_s
        self._dispatch, self._changing = Dispatch(), threading.Lock()
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._actors: dict[str, _Actor] = {}
        self._past: dict[str, _Past] = {}
        self._reasons: dict[str, str] = {}
        self._events: list[Event] = []
        self._shipments: dict[tuple[Path, str], Shipment] = {}
        self._settled, self._stopping = threading.Event(), threading.Event()
        self._address = self._options.argument or "auto"
        self._ray, self._connected_here = _connected(self._address, show_output=self._options.show_output)
        self._threads = [
            threading.Thread(target=self._decide, name="autotune-cluster", daemon=True),
            threading.Thread(target=self._watch, name="autotune-cluster-watch", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        try:
            self._await_devices()
        except BaseException:
            self.close()
            raise

    def devices(self) -> Sequence[Device]:
        """Of the nodes that can be used now."""
        with self._changing:
            return self._dispatch.devices()

    @property
    def events(self) -> list[Event]:
        """What happened to nodes, workers and devices, in the order in which it was heard of."""
        return list(self._events)

    def expect(self, path: Path) -> None:
        """Send the file to the nodes, the GPUs' where there are any, and have them start what takes time."""
        try:
            shipment = Shipment.pack(path)
        except Exception:  # it cannot be read, or not be understood: who loads it says so
            return
        if shipment.sources:
            self._shipments[shipment.path, shipment.version] = shipment
            self._inbox.put(partial(self._expect, shipment))

    def slots(self, sku: str) -> int:
        """Of all nodes together, as they say."""
        with self._changing:
            return sum(node.slots.get(sku, 0) for node in self._dispatch.nodes.values())

    def submit(self, trial: Trial) -> Future[Outcome]:
        """Queue the trial for the node with most room; a node that is lost meanwhile costs time, no result."""
        future: Future[Outcome] = Future()
        self._submit((trial,), {"trial": trial.to_json()}, future)
        return future

    def submit_round(self, round: Round) -> Future[tuple[Outcome, ...]]:  # noqa: A002 - the word
        """Queue the round; all of it runs on one device."""
        future: Future[tuple[Outcome, ...]] = Future()
        self._submit(round.trials, {"round": round.to_json()}, future)
        return future

    def close(self) -> None:
        """End every node's process with all that runs there; withdraw what is queued."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._inbox.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(CLOSE_S + self._look_s)
        self._end_actors()
        with self._changing:
            waiting = self._dispatch.waiting()
            running = [job for node in self._dispatch.nodes.values() for job in node.jobs.values()]
        for job in waiting:
            job.future.cancel()
            _finish(job, lambda: None)
        for job in running:
            _declare_lost(job, "the executor was closed while it ran.")
        if self._connected_here:
            self._ray.shutdown()
            _let_logs_through(True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What callers ask for, from any thread.

    def _submit(self, trials: tuple[Trial, ...], request: Mapping[str, Any], future: Future[Any]) -> None:
        job = Job(trials, request, self._shipment(trials[0]), future)
        with self._changing:
            self._check(job)
            self._dispatch.queue(job)
        future.add_done_callback(lambda _: self._inbox.put(partial(self._ended, job)))
        self._inbox.put(_nothing)

    def _shipment(self, trial: Trial) -> Shipment:
        """As the file is when its version is first asked for: a change meanwhile reaches no node."""
        known = (trial.workload.path.resolve(), trial.workload.version)
        if known not in self._shipments:
            try:
                self._shipments[known] = Shipment.pack(known[0])
            except OSError as error:
                raise UserError(f"{known[0]} cannot be read any more: {error.strerror}.") from None
        return self._shipments[known]

    def _check(self, job: Job) -> None:
        if self._stopping.is_set():
            raise ExecutorError("the executor is closed; make a new one.")
        if job.sku not in self._dispatch.known:
            raise DeviceError(
                f"there is no device {job.sku!r} in the cluster; {did_you_mean(job.sku, self._dispatch.known)}"
            )
        largest = self._dispatch.largest(job.sku)
        if largest is not None and largest.count(job.sku) < job.seats:
            raise DeviceError(
                f"{job.trials[0].workload.name} asks for {job.seats} GPUs in one node, and the largest with "
                f"{job.sku}, {largest.name}, has {largest.count(job.sku)}; lower gpus= in @workload."
            )

    def _await_devices(self) -> None:
        self._settled.wait(CONNECT_S + START_S)
        if not self.devices():
            said = "; ".join(f"{name}: {reason}" for name, reason in self._reasons.items()) or "no node answered"
            wanted = self._options.device or "device"
            raise DeviceError(
                f"the Ray cluster at {self._address} has no {wanted} that can be used ({said}). "
                f"Look at `ray status`, and add a node with `ray start --address=HOST:PORT`."
            )

    # What the deciding thread does.

    def _decide(self) -> None:
        while (message := self._inbox.get()) is not None:
            message()
            if not self._stopping.is_set():
                self._send()

    def _send(self) -> None:
        with self._changing:
            placed = list(self._dispatch.placed())
        for job, node in placed:
            if actor := self._actors.get(node.key):
                answer = actor.handle.run.remote(job.number, job.request, _source(job.shipment, node))
                self._when_done(answer, partial(self._answered, job, node))

    def _when_done(self, answer: Any, hear: Callable[[Future[Any]], None]) -> None:
        answer.future().add_done_callback(lambda done: self._inbox.put(partial(hear, done)))

    def _expect(self, shipment: Shipment) -> None:
        with self._changing:
            nodes = list(self._dispatch.nodes.values())
        with_gpu = [node for node in nodes if any(device.kind == "gpu" for device in node.devices)]
        for node in with_gpu or nodes:
            if actor := self._actors.get(node.key):
                actor.handle.expect.remote(_source(shipment, node))

    def _ended(self, job: Job) -> None:
        """Where it was withdrawn, a node that has it is told; until that answers, its room is taken."""
        if not job.future.cancelled():
            return
        _finish(job, lambda: None)
        with self._changing:
            nodes = [node for node in self._dispatch.nodes.values() if job.number in node.jobs]
        for node in nodes:
            if actor := self._actors.get(node.key):
                actor.handle.withdraw.remote(job.number)

    def _answered(self, job: Job, node: Node, done: Future[Any]) -> None:
        if self._dispatch.nodes.get(node.key) is not node or job.number not in node.jobs:
            return  # the node was given up meanwhile, and the job is elsewhere
        error = done.exception()
        if isinstance(error, self._ray.exceptions.RayTaskError):
            with self._changing:
                del node.jobs[job.number]
            _fail(job, ExecutorError(f"{node.name} cannot run trials: {error}"))
        elif error is not None:
            self._lose(node.key, _reason(error))
        else:
            self._conclude(job, node, done.result())

    def _conclude(self, job: Job, node: Node, answer: Mapping[str, Any]) -> None:
        self._note(node, answer)
        outcomes = tuple(_in_users_words(one, answer, job) for one in answer.get("outcomes", ()))
        lost = bool(outcomes) and all(isinstance(one, Failure) and one.kind is FailureKind.LOST for one in outcomes)
        if lost or "broken" in answer or ("withdrawn" in answer and not job.future.cancelled()):
            with self._changing:
                retried = self._dispatch.retry(job, node)
            if retried:
                return
        with self._changing:
            node.jobs.pop(job.number, None)
        if "broken" in answer:
            _fail(job, ExecutorError(answer["broken"]))
        elif "changed" in answer or "refused" in answer:
            kind = WorkloadChanged if "changed" in answer else DeviceError
            _fail(job, kind(_users_path(answer.get("changed") or answer["refused"], answer, job)))
        else:
            result = outcomes if "round" in job.request else next(iter(outcomes), None)
            _finish(job, lambda: job.future.set_result(result))

    def _note(self, node: Node, answer: Mapping[str, Any]) -> None:
        """What the node says of itself."""
        with self._changing:
            node.devices, node.slots = _devices(answer), answer["slots"]
        told = (replace(Event.from_json(event), node=node.name) for event in answer["events"])
        self._events.extend(told)

    def _lose(self, key: str, reason: str) -> None:
        """Give a node's process up; what ran there runs elsewhere, or there again, before everything else."""
        actor = self._actors.pop(key, None)
        if actor is not None:
            self._kill(actor)
            self._set_back(key)
        with self._changing:
            node = self._dispatch.nodes.get(key)
            jobs = self._dispatch.leave(key)
            given_up = [job for job in reversed(jobs) if node and not self._dispatch.retry(job, node)]
        if node is not None:
            self._tell(EventKind.LOST, node.name, f"{reason}; {len(jobs)} trials and rounds of it run elsewhere")
        for job in given_up:
            _declare_lost(job, f"it was begun {MOST_ATTEMPTS} times, and each time its node was lost: {reason}.")

    def _set_back(self, key: str) -> None:
        now_s, past = time.monotonic(), self._past.get(key)
        failures = past.failures + 1 if past and now_s < past.again_s + MOST_BACKOFF_S else 1
        wait_s = min(BACKOFF_S * 2 ** (failures - 1), MOST_BACKOFF_S)
        self._past[key] = _Past(failures, now_s + wait_s)

    def _tell(self, kind: EventKind, node: str, message: str) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self._events.append(Event(kind=kind, at=at, node=node, device="", message=message))

    def _looked(self, nodes: Sequence[Mapping[str, Any]], free_gpus: Mapping[str, float]) -> None:
        """Compare the cluster with what is known of it."""
        alive = {node["NodeID"]: node for node in nodes if node["Alive"]}
        now_s = time.monotonic()
        for key, actor in list(self._actors.items()):
            if key not in alive:
                self._lose(key, f"{actor.name} left the cluster")
                self._past.pop(key, None)
            elif actor.asked_s is not None and now_s - actor.asked_s > actor.limit_s:
                self._lose(key, f"{actor.name} has not answered for {actor.limit_s:g} s")
        for key, node in alive.items():
            past = self._past.get(key)
            if key not in self._actors and (past is None or now_s > past.again_s):
                self._start(key, node, free_gpus.get(key))
        self._ask_for_states(now_s)
        self._give_up_waiting(now_s)
        if all(actor.asked_s is None or key in self._dispatch.nodes for key, actor in self._actors.items()):
            self._settled.set()

    def _start(self, key: str, node: Mapping[str, Any], free_gpus: float | None) -> None:
        """With every GPU of the node that is free, and no core, so that it never waits for one."""
        total, name = int(node["Resources"].get("GPU", 0)), node["NodeManagerHostname"]
        gpus = 0 if self._options.device == "cpu" else min(total, int(free_gpus or 0))
        if total and not gpus and self._options.device != "cpu":
            self._reasons[name] = f"none of its {total} GPUs is free in Ray"
            return
        strategies = import_module("ray.util.scheduling_strategies")
        handle = (
            self._ray.remote(ClusterNode)
            .options(
                num_cpus=0,
                num_gpus=gpus,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(key, soft=False),
            )
            .remote()
        )
        actor = self._actors[key] = _Actor(key, name, handle, time.monotonic(), START_S)
        asked = {**self._asked, "device": self._options.device if gpus else self._options.device or "cpu"}
        self._when_done(handle.begin.remote(asked), partial(self._began, actor))

    def _began(self, actor: _Actor, done: Future[Any]) -> None:
        if self._actors.get(actor.key) is not actor:
            return
        error = done.exception()
        answer: Mapping[str, Any] = {"refused": _reason(error)} if error else done.result()
        if "refused" in answer:
            self._reasons[actor.name] = answer["refused"]
            self._lose(actor.key, answer["refused"])
            if error is None:  # it would say the same again
                self._past[actor.key].again_s = math.inf
            return
        actor.asked_s, actor.limit_s = None, SILENCE_S
        node = Node(actor.key, actor.name, _devices(answer), answer["slots"])
        with self._changing:
            self._dispatch.join(node)
        skus = ", ".join(device.sku for device in node.devices)
        if actor.key in self._past:
            self._tell(EventKind.REPLACED, actor.name, f"its process was started anew, with {skus}")
        elif self._settled.is_set():
            self._tell(EventKind.JOINED, actor.name, f"it is used from now on, with {skus}")

    def _ask_for_states(self, now_s: float) -> None:
        for key, actor in self._actors.items():
            if actor.asked_s is None and key in self._dispatch.nodes:
                actor.asked_s = now_s
                self._when_done(actor.handle.state.remote(), partial(self._stated, actor))

    def _stated(self, actor: _Actor, done: Future[Any]) -> None:
        node = self._dispatch.nodes.get(actor.key)
        if self._actors.get(actor.key) is not actor or node is None:
            return
        actor.asked_s = None
        if error := done.exception():
            self._lose(actor.key, _reason(error))
        elif done.result()["overdue"]:
            self._lose(actor.key, f"a trial on {actor.name} has outlived its limit")
        else:
            self._note(node, done.result())

    def _give_up_waiting(self, now_s: float) -> None:
        with self._changing:
            homeless = self._dispatch.homeless(now_s, self._patience_s)
            for job in homeless:
                self._dispatch.drop(job)
        for job in homeless:
            _declare_lost(job, f"no node has had {job.sku} for {self._patience_s:g} s; look at `ray status`.")

    # What the watching thread does.

    def _watch(self) -> None:
        while not self._stopping.wait(self._look_s if self._settled.is_set() else min(0.2, self._look_s)):
            with contextlib.suppress(Exception):  # the head is being restarted, or is gone: nodes tell by not answering
                self._inbox.put(partial(self._looked, self._ray.nodes(), _free_gpus(self._ray)))

    # The end.

    def _kill(self, actor: _Actor) -> None:
        with contextlib.suppress(Exception):  # it is dead already
            self._ray.kill(actor.handle, no_restart=True)

    def _end_actors(self) -> None:
        actors, self._actors = list(self._actors.values()), {}
        with contextlib.suppress(Exception):
            self._ray.wait([one.handle.close.remote() for one in actors], num_returns=len(actors), timeout=CLOSE_S)
        for actor in actors:
            self._kill(actor)


def _nothing() -> None:
    """Wakes the deciding thread."""


def _finish(job: Job, conclude: Callable[[], None]) -> None:
    """Once, in the deciding thread; whoever withdrew it is told that it is."""
    if job.ended:
        return
    job.ended = True
    if job.future.set_running_or_notify_cancel():
        conclude()


def _fail(job: Job, error: Exception) -> None:
    _finish(job, lambda: job.future.set_exception(error))


def _declare_lost(job: Job, message: str) -> None:
    failure = Failure(kind=FailureKind.LOST, message=message)
    result = (failure,) * len(job.trials) if "round" in job.request else failure
    _finish(job, lambda: job.future.set_result(result))


def _source(shipment: Shipment, node: Node) -> dict[str, Any]:
    """The text only where the node has not been sent it."""
    source: dict[str, Any] = {"key": shipment.key, "name": shipment.path.name}
    if shipment.key not in node.shipped:
        node.shipped.add(shipment.key)
        source["sources"] = dict(shipment.sources)
    return source


def _devices(answer: Mapping[str, Any]) -> tuple[Device, ...]:
    return tuple(Device(**device) for device in answer["devices"])


def _in_users_words(data: Mapping[str, Any], answer: Mapping[str, Any], job: Job) -> Outcome:
    outcome = outcome_from_json(data)
    if isinstance(outcome, Failure):
        message, details = (_users_path(text, answer, job) for text in (outcome.message, outcome.details))
        return replace(outcome, message=message, details=details)
    return outcome


def _users_path(text: str, answer: Mapping[str, Any], job: Job) -> str:
    """The user's own folder in place of the one on the node."""
    folder = answer.get("folder")
    return text.replace(folder, str(job.shipment.path.parent)) if folder else text


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"


def _check_options(options: ExecutorOptions) -> None:
    if options.post_mortem:
        raise UserError("the debugger needs the terminal, which a cluster has not: add --executor inline to --pdb.")
    if options.device and ":" in options.device:
        raise UserError(f"--device {options.device} says nothing in a cluster; name cpu, gpu or a SKU.")


def _connected(address: str, *, show_output: bool) -> tuple[Any, bool]:
    """The module, connected, and whether that was done here. Raises UserError with what to type."""
    try:
        ray = import_module("ray")
        import_module("ray.exceptions")
    except ImportError as error:
        raise UserError(f"executor 'ray' needs Ray ({error}): pip install 'gpu-autotune[ray]'.") from None
    if ray.is_initialized():
        return ray, False
    _reach(address)
    result: Future[None] = Future()
    threading.Thread(target=_connect, args=(ray, address, show_output, result), daemon=True).start()
    with _overheard() as said:
        reason = _why_not(result, said)
    if reason:
        raise UserError(_no_cluster(address, reason))
    _let_logs_through(show_output)
    return ray, True


def _let_logs_through(wanted: bool) -> None:
    """Ray prints a page of a dead node's log to standard output; what there is to say of it is among the events."""
    worker: Any = import_module("ray._private.worker")
    if hasattr(worker, "_worker_logs_enabled"):
        worker._worker_logs_enabled = wanted


def _why_not(result: Future[None], said: Callable[[], str]) -> str:
    """Empty once there is a connection. With the wrong token Ray tries on and on, and complains on stderr."""
    until_s = time.monotonic() + CONNECT_S
    while time.monotonic() < until_s:
        with contextlib.suppress(TimeoutError):
            error = result.exception(POLL_S)
            return _explained(error) if error else ""
        if "InvalidAuthToken" in said():
            return _WRONG_TOKEN
    return f"it did not let us in within {CONNECT_S:g} s; is that the port of its head, as `ray start` printed it?"


@contextlib.contextmanager
def _overheard() -> Iterator[Callable[[], str]]:
    """What native code prints on stderr meanwhile, kept from the terminal."""
    with tempfile.TemporaryFile() as kept:
        terminal = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield lambda: os.pread(kept.fileno(), MOST_OVERHEARD_BYTES, 0).decode(errors="replace")
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def _connect(ray: Any, address: str, show_output: bool, result: Future[None]) -> None:
    """In a thread of its own: it may hang, and it would take SIGTERM away from the command in the main one."""
    try:
        ray.init(address=address, log_to_driver=show_output, logging_level=logging.ERROR)
    except BaseException as error:
        result.set_exception(error)
    else:
        result.set_result(None)


def _reach(address: str) -> None:
    """Ray itself tries for long where nobody listens."""
    target = os.environ.get("RAY_ADDRESS", "") if address == "auto" else address
    host, _, port = target.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
    except OSError as error:
        raise UserError(_no_cluster(address, f"the port cannot be reached: {error.strerror or error}")) from None


def _explained(error: BaseException) -> str:
    text = str(error).strip()
    if "Version mismatch" in text:
        versions = " ".join(line.strip() for line in text.splitlines() if line.strip())
        return f"{versions} Install the cluster's versions here"
    if "uthenticat" in text or "token" in text.lower():
        return _WRONG_TOKEN
    return f"{type(error).__name__}: {text.splitlines()[0] if text else 'no reason given'}"


_WRONG_TOKEN = "its token is not ours; copy its head's ~/.ray/auth_token here, or point RAY_AUTH_TOKEN_PATH to a copy"


def _no_cluster(address: str, reason: str) -> str:
    where = "to be found from here" if address == "auto" else f"at {address} that can be used"
    advice = "" if reason == _WRONG_TOKEN else " Start one with `ray start --head`, and name it: --address HOST:PORT."
    return f"there is no Ray cluster {where}: {reason.rstrip('.?')}.{advice}"


def _free_gpus(ray: Any) -> Mapping[str, float]:
    """By node; through `ray://` only a task in the cluster can tell."""
    client = import_module("ray.util.client")
    if client.ray.is_connected():
        return dict(ray.get(ray.remote(_free_gpus_there).options(num_cpus=0).remote(), timeout=CONNECT_S))
    return _free_gpus_there()


def _free_gpus_there() -> dict[str, float]:
    state = import_module("ray._private.state")
    return {key: free.get("GPU", 0.0) for key, free in state.available_resources_per_node().items()}
