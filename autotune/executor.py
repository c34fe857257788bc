"""The Executor protocol, a way to run trials, and how one is found by name; implementations are in `executors/`."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, cast

from autotune.device import Device
from autotune.errors import UserError, did_you_mean
from autotune.measurement import Outcome
from autotune.round import Round
from autotune.trial import Trial

ENTRY_POINT_GROUP = "autotune.executors"

BUILT_IN = {
    "inline": "autotune.executors.inline:InlineExecutor",
    "local": "autotune.executors.local:LocalExecutor",
    "ray": "autotune.executors.ray_cluster:RayExecutor",
    "replay": "autotune.executors.replay:ReplayExecutor",
}


class Executor(Protocol):
    """Runs trials on devices.

    The law of `submit`: its Future gives an Outcome, whatever the workload does. It raises only when the executor
    itself is broken (ExecutorError) or the user must mend something first (UserError). A trial owns its devices alone.
    """

    def devices(self) -> Sequence[Device]:
        """The devices that it can use now, one entry each; equal GPUs appear as often as they are there."""

    def expect(self, path: Path) -> None:
        """Trials of this file's workloads will come: start now what takes time. It may come to nothing."""

    def slots(self, sku: str) -> int:
        """How many trials on that SKU it can usefully hold at once, now; more where it compiles ahead of the device."""

    def submit(self, trial: Trial) -> Future[Outcome]:
        """Run the trial on a device of its SKU. Cancelling the Future withdraws a trial that has not started."""

    def submit_round(self, round: Round) -> Future[tuple[Outcome, ...]]:  # noqa: A002 - the word
        """Measure the round's trials in turn on one device of their SKU; an outcome for each, in their order.

        The Measurements among them have equally many samples, and their i-th samples come from the same pass.
        """

    def close(self) -> None:
        """Stop at once: kill what runs, release every device. Idempotent."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Calls `close`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorOptions:
    """What the command line can say to any executor."""

    device: str | None = None
    """Use only these devices: `cpu`, `gpu`, `gpu:1`, or a SKU."""
    argument: str | None = None
    """What follows the colon of `--executor name:argument`, such as a recording's path."""
    post_mortem: bool = False
    """Drop into the debugger where a trial raises (inline only)."""
    show_output: bool = False
    """Let the workload's own output through to the terminal."""
    shared: bool = False
    """Measure also on a GPU on which other processes run."""


class ExecutorFactory(Protocol):
    """An executor class: called with the options."""

    def __call__(self, options: ExecutorOptions) -> Executor:
        """The executor, ready for trials."""


def load_executor(name: str, options: ExecutorOptions | None = None) -> Executor:
    """The executor called `name`, one of ours or of an installed package's `autotune.executors` entry points.

    `name` may carry an argument after a colon: `replay:recording.json.gz`.
    """
    kind, _, argument = name.partition(":")
    options = options or ExecutorOptions()
    if argument:
        options = replace(options, argument=argument)
    return _factory(kind)(options)


def _factory(kind: str) -> ExecutorFactory:
    if kind in BUILT_IN:
        module, _, attribute = BUILT_IN[kind].partition(":")
        return cast("ExecutorFactory", getattr(import_module(module), attribute))
    plugins = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if kind in plugins:
        return cast("ExecutorFactory", plugins[kind].load())
    raise UserError(f"there is no executor {kind!r}; {did_you_mean(kind, [*BUILT_IN, *plugins])}")
