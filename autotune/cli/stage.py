"""Stage: a recording on which samplers are tried out, its values and the studies of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from autotune.errors import RecordingError, UserError
from autotune.executors.noise import Noise
from autotune.executors.recording import Recording, load
from autotune.executors.replay import ReplayExecutor
from autotune.rehearsal import Rehearsal, rehearse
from autotune.scorecard import Scorecard, scorecard
from autotune.scoring import MeasuredSpace
from autotune.search import Prior
from autotune.values import Config
from autotune.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How studies are run."""

    trials: int
    in_flight: int = 1
    """Trials under way at once."""
    noise: Noise | None = None
    """Of readings."""
    prior: Prior | None = None
    """What is known beforehand."""


@dataclass(frozen=True, kw_only=True)  # without slots: what is made of the recording is kept
class Stage:
    """A recording with at least one value."""

    recording: Recording

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises RecordingError, also where there is nothing to score."""
        stage = cls(recording=load(path))
        try:
            _ = stage.space
        except ValueError as error:
            raise RecordingError(f"{path} cannot be replayed: {error}.") from error
        return stage

    @property
    def name(self) -> str:
        """The file's, its endings left out."""
        return self.recording.path.name.partition(".json")[0]

    @cached_property
    def space(self) -> MeasuredSpace:
        """The recorded values."""
        return MeasuredSpace(self.recording.values, self.recording.objective.direction)

    @cached_property
    def workload(self) -> Workload:
        """What is tuned."""
        return self.recording.workload()

    @cached_property
    def position(self) -> dict[Config, int]:
        """Of each configuration's value."""
        return {config: place for place, config in enumerate(self.recording.configs)}

    def check(self, noise: Noise | None) -> None:
        """Raises UserError where the recorded noise is asked for and there is none."""
        if noise is not None and noise.share is None and not self.recording.has_spread:
            raise UserError(
                f"{self.recording.path} holds one reading of each configuration and no spread; "
                "give the noise as a share: --noise 0.05."
            )

    def study(self, sampler: str, seed: int, way: Way) -> Rehearsal:
        """One study, as `autotune study` would run it."""
        with ReplayExecutor(recording=self.recording, slots=way.in_flight, noise=way.noise, seed=seed) as executor:
            return rehearse(self.workload, executor, sampler=sampler, seed=seed, trials=way.trials, prior=way.prior)

    @property
    def outcomes(self) -> dict[Config, float | None]:
        """As a search is told them: to be minimised, None where it failed."""
        sign = 1.0 if self.recording.objective.direction == "minimize" else -1.0
        values = zip(self.recording.configs, map(float, self.space.values), strict=True)
        return {config: None if math.isnan(value) else sign * value for config, value in values}

    def picks(self, study: Rehearsal) -> list[int]:
        """Where the values of what it would have picked stand."""
        return [self.position[config] for config in study.picks]

    def scorecard(self, sampler: str, studies: Sequence[Rehearsal], trials: int) -> Scorecard:
        """Of studies of so many trials."""
        return scorecard(self.name, sampler, self.space, self.position, studies, trials)
