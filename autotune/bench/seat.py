"""Seat: one trial of a round: its body while that is alive, its readings, its failure; `turns.py` calls it."""

from __future__ import annotations

import statistics
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from autotune.bench.body import Body, OnError
from autotune.bench.diagnosis import diagnose, kind_of, must_replace
from autotune.bench.metrics import reduced, timed
from autotune.bench.phases import MEASURE, PREPARE, VERIFY, WARM_UP, OnPhase, Phases
from autotune.bench.sampling import MOST_CALLS, sample_energy, warm_up
from autotune.device import Device
from autotune.measurement import Conditions, Failure, FailureKind, Measurement, Outcome, Samples
from autotune.objective import ENERGY_J
from autotune.trial import Trial
from autotune.workload import Workload

OnTurn = Callable[[int], None]
_T = TypeVar("_T")


class NoRoom(Exception):
    """The bodies of a round do not fit into memory together."""


class Broken(Exception):
    """After this failure nothing more can be measured in this process."""

    def __init__(self, trial: Trial, failure: Failure) -> None:
        super().__init__(failure.message)
        self.trial, self.failure = trial, failure


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who hears what of a round."""

    on_phase: OnPhase
    on_turn: OnTurn
    """Called with the index of the trial that is worked on next."""
    on_error: OnError


class Seat:
    """A failure of its trial is kept, and takes it out of the round; NoRoom and Broken are about the round itself."""

    def __init__(self, index: int, trial: Trial, workload: Workload, device: Device, watchers: Watchers) -> None:
        self.index, self.readings = index, list[dict[str, float]]()
        self.body: Body | None = None
        self.failure: Failure | None = None
        self.verified = False
        self.company: Sequence[Seat] = ()
        """The others of the round: while a body of theirs is alive, a want of memory may be their doing."""
        self._trial, self._workload, self._device = trial, workload, device
        self._watchers, self._phases = watchers, Phases(watchers.on_phase)
        self._each_ms = 0.0

    @property
    def alive(self) -> bool:
        """Whether nothing has failed."""
        return self.failure is None

    @property
    def reads_energy(self) -> bool:
        """Whether each of its readings holds one of the energy."""
        return ENERGY_J in self._workload.objective.metrics

    @property
    def each_s(self) -> float:
        """Wall seconds of one call, about."""
        return self._each_ms / 1e3

    def open(self) -> None:
        """Prepare it and warm it up."""
        self.body = self._do(PREPARE, lambda: Body.prepare(self._workload, self._trial, self._device))
        if self.body is not None:
            self._do(WARM_UP, self._warm_up)

    def time(self, about_s: float) -> dict[str, float] | None:
        """The median of the calls that fit into that time, for each metric, to be dropped; None where it fails."""
        return self._do(WARM_UP, lambda: self._time(about_s))

    def read(self, about_s: float, energy_s: float) -> None:
        """Add one reading, of that many seconds or of one call; energy_s: for that of the energy, at most."""
        row = self._do(MEASURE, lambda: self._read(about_s, energy_s)) if self.alive else None
        if row is not None:
            self.readings.append(row)

    def verify(self) -> None:
        """To the end of its body."""
        if self.alive:
            self.verified = bool(self._do(VERIFY, self._verify))

    def close(self) -> None:
        """End its body, whatever that says."""
        body, self.body = self.body, None
        if body is not None:
            body.close()

    def lose(self, broken: Broken) -> None:
        """Somebody else's failure took the process with it."""
        self.failure = self.failure or _lost_to(broken.trial, broken.failure)

    def outcome(self, state: Conditions) -> Outcome:
        """What became of it; state: of the whole round."""
        if self.failure is not None:
            return replace(self.failure, phase_s=self._phases.end())
        # A call may leave out a metric that the objective does not need: then its readings do not pair.
        everywhere = set.intersection(*(set(row) for row in self.readings))
        names = [name for name in self.readings[0] if name in everywhere]
        metrics = {name: Samples(tuple(row[name] for row in self.readings)) for name in names}
        return Measurement(metrics=metrics, conditions=state, phase_s=self._phases.end())

    def _do(self, phase: str, step: Callable[[], _T]) -> _T | None:
        """Take a step in that phase; what it raises becomes the failure, and there is no result."""
        self._watchers.on_turn(self.index)
        self._phases.start(phase)
        try:
            return step()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._fail(error)
            return None
        finally:
            self._phases.end()

    def _fail(self, error: BaseException) -> None:
        memory = kind_of(error, self._phases.current) is FailureKind.OUT_OF_MEMORY
        no_room = memory and any(other.body for other in self.company)
        if not no_room:
            self._watchers.on_error(error)
        body, self.body = self.body, None
        if body is not None:
            body.close(error)
        failure = diagnose(error, self._phases.current, self._device)
        del body
        traceback.clear_frames(error.__traceback__)  # their locals hold tensors
        if no_room:
            raise NoRoom from None
        self.failure = failure
        if must_replace(failure):
            raise Broken(self._trial, failure) from None

    @property
    def _present(self) -> Body:
        assert self.body is not None, "a body is called between its preparation and its end"
        return self.body

    def _warm_up(self) -> None:
        self._each_ms = warm_up(self._present.call, self._present.clock)

    def _time(self, about_s: float) -> dict[str, float]:
        body, wanted = self._present, self._workload.objective.metrics - {ENERGY_J}
        count = max(1, min(MOST_CALLS, int(about_s * 1e3 / max(self._each_ms, 1e-6))))
        return reduced(timed(body.call, body.clock, count, wanted), statistics.median)

    def _read(self, about_s: float, energy_s: float) -> dict[str, float]:
        row, body = self._time(about_s), self._present
        if self.reads_energy and ENERGY_J not in row:
            row[ENERGY_J] = sample_energy(body.call, body.clock, self._device, energy_s).median
        return row

    def _verify(self) -> bool:
        self._present.verify()
        self.body = None
        return True


def blamed(failure: Failure, trials: Sequence[Trial], turn: int) -> tuple[Failure, ...]:
    """The outcomes of the trials of a round when the one whose turn it was took the process with it."""
    lost = _lost_to(trials[turn], failure)
    return tuple(failure if index == turn else lost for index in range(len(trials)))


def _lost_to(trial: Trial, failure: Failure) -> Failure:
    message = f"it was measured in one round with {trial.config.text}, which ended the process: {failure.message}"
    return Failure(kind=FailureKind.LOST, message=message, phase=failure.phase)
