"""ReplayExecutor: answers trials from a recording, at once and without a device; recordings live in `recording`."""

from __future__ import annotations

import random
import shlex
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from autotune.device import Device, select
from autotune.errors import DeviceError, ExecutorError, UserError
from autotune.executor import ExecutorOptions
from autotune.measurement import Measurement, Outcome, Samples
from autotune.round import Round
from autotune.trial import Trial

from .in_flight import InFlight
from .noise import Noise
from .recording import Recording, load


class ReplayExecutor:
    """Gives for each trial what was recorded for its configuration; one that was not recorded is INVALID.

    The options' argument is the path of the recording, unless a Recording itself is given. slots: how many trials a
    study shall hold at once; with several, a result is known only after as many others were asked for, see `in_flight`.
    noise: readings are drawn around what was recorded. seed: of both.

    A trial of another workload or problem is a mistake that spoils a whole study, so `submit` raises UserError; the
    workload's version may differ, since a recording is replayed to work on the workload.
    """

    def __init__(
        self,
        options: ExecutorOptions | None = None,
        *,
        recording: Recording | None = None,
        slots: int = 1,
        noise: Noise | None = None,
        seed: int = 0,
    ) -> None:
        options = options or ExecutorOptions()
        self._recording = recording or _load(options.argument)
        device, count = self._recording.device, max(1, self._recording.gpus)
        self._devices = select([replace(device, index=index) for index in range(count)], options.device)
        self._slots, self._noise, self._seed = slots, noise, seed
        self._in_flight = InFlight(slots, seed) if slots > 1 else None
        self._closed = False

    @property
    def recording(self) -> Recording:
        """What is replayed."""
        return self._recording

    def devices(self) -> Sequence[Device]:
        """The recorded device, as often as a trial needs it."""
        return self._devices

    def expect(self, path: Path) -> None:
        """Nothing is run."""

    def slots(self, sku: str) -> int:
        """As many as it was made with on the recorded SKU, none on another."""
        if self._in_flight:
            self._in_flight.look_for_room()
        return self._slots if sku == self._recording.sku else 0

    def submit(self, trial: Trial) -> Future[Outcome]:
        """A Future that is done already, unless several are to be in flight."""
        self._check(trial)
        outcome = self._read(trial, self._seed, passes=1)
        if self._in_flight:
            return self._in_flight.hold(outcome)
        future: Future[Outcome] = Future()
        future.set_result(outcome)
        return future

    def submit_round(self, round: Round) -> Future[tuple[Outcome, ...]]:  # noqa: A002 - the word
        """The recorded outcomes; each pass draws from the recorded readings, or noise, by the trials' seed."""
        for trial in round.trials:
            self._check(trial)
        future: Future[tuple[Outcome, ...]] = Future()
        future.set_result(
            tuple(
                self._read(trial, trial.seed, round.passes)
                if self._noise
                else _drawn(self._recording.outcome(trial.config), trial, round.passes)
                for trial in round.trials
            )
        )
        return future

    def close(self) -> None:
        """Nothing runs, so there is nothing to stop."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, trial: Trial, seed: int, passes: int) -> Outcome:
        """What was recorded, or with noise so many readings around it."""
        recorded = self._recording.outcome(trial.config)
        if self._noise is None or not isinstance(recorded, Measurement):
            return recorded
        chance = random.Random(f"noise {seed} {passes} {trial.config.text}")
        spread_ms = self._recording.spread_ms.get(trial.config)
        metrics = {
            name: self._noise.readings(name, samples, spread_ms, passes, chance)
            for name, samples in recorded.metrics.items()
        }
        return replace(recorded, metrics=metrics)

    def _check(self, trial: Trial) -> None:
        if self._closed:
            raise ExecutorError("the executor is closed; make a new one.")
        held = self._recording
        if trial.workload.name != held.name or trial.problem != held.problem:
            asked, there = (
                f"{name} {problem.text}".rstrip()
                for name, problem in ((trial.workload.name, trial.problem), (held.name, held.problem))
            )
            words = ["--workload", held.name, *(["--problem", held.problem.text] if held.problem else [])]
            raise UserError(f"{held.path} holds {there}, not {asked}; tune that alone: {shlex.join(words)}")
        if trial.sku != held.sku:
            raise DeviceError(f"{held.path} was recorded on {held.sku}, not on {trial.sku}.")


def _drawn(recorded: Outcome, trial: Trial, passes: int) -> Outcome:
    """As many readings of each metric as there are passes: what was read together is drawn together where it can be."""
    if not isinstance(recorded, Measurement):
        return recorded
    chance = random.Random(f"{trial.seed} {trial.config.text}")
    places = [chance.random() for _ in range(passes)]
    metrics = {
        name: Samples(tuple(samples.values[int(place * len(samples.values))] for place in places))
        for name, samples in recorded.metrics.items()
    }
    return replace(recorded, metrics=metrics)


def _load(argument: str | None) -> Recording:
    if not argument:
        raise UserError("replay needs a recording; name its file: --executor replay:FILE.json.")
    return load(Path(argument))
