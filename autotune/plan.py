"""Plan and Budget: everything that a study is asked for, and its identity; how it is carried out is in `study`."""

from __future__ import annotations

from dataclasses import dataclass, field

from autotune.device import Device, Toolchain
from autotune.measurement import Measurement
from autotune.registry.records import RecordedTrial, StudyKey
from autotune.trial import Effort, Trial
from autotune.values import Config, Problem
from autotune.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """When a study ends: whichever comes first. Earlier runs of the same study count."""

    trials: int | None = 100
    seconds: float | None = None
    plateau: int | None = None
    """Trials in a row in which the best did not improve by 1 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is tuned, where, and how hard: everything that a study is asked for."""

    workload: Workload
    problem: Problem
    device: Device
    budget: Budget = field(default_factory=Budget)
    effort: Effort = Effort.FULL
    sampler: str = "auto"
    seed: int = 0
    warm_start: str = "auto"
    """Where knowledge of other studies comes from: `auto`, `none`, or a study's number or digest."""

    @property
    def key(self) -> StudyKey:
        """The study's identity: measurements are comparable, and a study is resumed, only where all of it is equal."""
        return StudyKey(
            workload=self.workload.name,
            version=self.workload.version,
            space_fingerprint=self.workload.space.fingerprint,
            problem=self.problem,
            sku=self.device.sku,
            gpus=self.gpus,
            objective=self.workload.objective.text,
            effort=self.effort.value,
            toolchain=Toolchain.current(self.device).to_json(),
            cache=self.workload.cache,
        )

    @property
    def gpus(self) -> int:
        """GPUs of one trial; 0 on the CPU."""
        return 0 if self.device.kind == "cpu" else (self.workload.gpus or 1)

    def trial(
        self, config: Config, *, rival: float | None = None, known_throttle: tuple[str, ...] | None = None
    ) -> Trial:
        """The question to a worker about one configuration."""
        return Trial(
            workload=self.workload.reference,
            problem=self.problem,
            config=config,
            sku=self.device.sku,
            gpus=self.gpus,
            timeout_s=self.workload.timeout_s,
            effort=self.effort,
            seed=self.seed,
            environment=self.workload.space.environment(config),
            rival=rival,
            known_throttle=known_throttle,
        )

    def value(self, trial: RecordedTrial | None) -> float | None:
        """The objective's value of a trial; None where it failed or there is none."""
        if trial is None or not isinstance(trial.outcome, Measurement):
            return None
        return trial.outcome.medians[self.workload.objective.metric]

    def feasible(self, trial: RecordedTrial | None) -> bool:
        """Whether it was measured and keeps the objective's bounds."""
        measured = trial.outcome if trial else None
        return isinstance(measured, Measurement) and self.workload.objective.feasible(measured.medians)

    def speedup(self, trial: RecordedTrial | None, over: RecordedTrial | None) -> float | None:
        """How many times better `trial` is than `over`; None where a ratio makes no sense.

        A trial that has no value or breaks a bound is no yardstick.
        """
        value, baseline = self.value(trial), self.value(over)
        if value is None or baseline is None or not self.feasible(over):
            return None
        return self.workload.objective.speedup(value, baseline)
