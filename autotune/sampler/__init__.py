"""Sampler: what to measure next, valid and never asked before; only this folder knows Optuna.

A study of ours asks a Sampler. It drives an Optuna study in memory with one of the samplers of `strategy`, each an
Optuna sampler that gives valid configurations only; the default one is `ModelSampler`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import optuna
from optuna.trial import TrialState

from autotune.measurement import Failure, FailureKind, Measurement, Outcome
from autotune.objective import Objective
from autotune.sampler.strategy import STRATEGIES, strategy
from autotune.sampler.valid_sampler import FAILED
from autotune.search import Prior
from autotune.space.valid_set import ValidSet
from autotune.values import Config

__all__ = ["STRATEGIES", "Origin", "Proposal", "Sampler"]

Origin = Literal["default", "seed", "search"]

MOST_EXCESS = 1e6
"""What a bound counts as exceeded by where its metric is absent: finite, for models that add excesses up."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A configuration to be measured, and where the wish for it came from."""

    config: Config
    origin: Origin
    number: int
    """Counts the proposals of a study from 0."""


class Sampler:
    """Asks and is told; the default and the seeds come first, then what the named strategy chooses.

    Every proposal is valid and none is made twice, whatever the strategy.
    """

    def __init__(self, valid: ValidSet, objective: Objective, *, name: str = "auto", seed: int = 0) -> None:
        self._objective = objective
        self._strategy = strategy(name, valid, seed)
        self._valid = valid
        self._queue: deque[tuple[Config, Origin]] = deque()
        self._open: dict[int, optuna.Trial] = {}
        self._worst: float | None = None
        self._optuna = optuna.create_study(direction=objective.direction, sampler=self._strategy)

    @property
    def optuna_study(self) -> optuna.Study:
        """Optuna's view of the search, for its plots and importances."""
        return self._optuna

    @property
    def learns_from_priors(self) -> bool:
        """Whether the strategy makes anything of what siblings measured."""
        return self._strategy.learns_from_priors

    def warm_start(self, prior: Prior | None) -> None:
        """Begin from what was measured of siblings; before anything else is asked, told or remembered."""
        self._strategy.warm_start(prior)

    def enqueue(self, configs: Iterable[Config], origin: Origin) -> None:
        """Propose these before anything else, in this order; those already asked or queued are left out."""
        known = self._strategy.asked | {config for config, _ in self._queue}
        self._queue.extend((config, origin) for config in configs if config not in known)

    def ask(self) -> Proposal | None:
        """A configuration to measure, or None when every valid one has been asked."""
        while self._queue:
            config, origin = self._queue.popleft()
            if config not in self._strategy.asked:
                return self._propose(origin, config)
        return None if self._strategy.exhausted else self._propose("search")

    def tell(self, proposal: Proposal, outcome: Outcome) -> None:
        """Learn from the outcome. LOST teaches nothing; every other failure is a broken constraint."""
        trial = self._open.pop(proposal.number)
        if isinstance(outcome, Failure) and outcome.kind is FailureKind.LOST:
            self._strategy.lose(trial.number)
            self._optuna.tell(trial, state=TrialState.FAIL)
            return
        self._constrain(trial, outcome)
        value = self._value(outcome)
        if value is None:
            self._optuna.tell(trial, state=TrialState.PRUNED)
        else:
            self._optuna.tell(trial, value)

    def remember(self, config: Config, origin: Origin, outcome: Outcome) -> None:
        """Learn an outcome of an earlier run, without asking again for its configuration."""
        if config not in self._strategy.asked and config in self._valid:
            proposal = self._propose(origin, config)
            if proposal:
                self.tell(proposal, outcome)

    def _propose(self, origin: Origin, config: Config | None = None) -> Proposal | None:
        """What is given, or else what the strategy chooses; None where that has nothing left."""
        self._strategy.force(config)
        trial = self._optuna.ask(self._strategy.distributions)
        _ = trial.relative_params  # where every parameter has one value Optuna would not ask the strategy
        proposed = self._strategy.proposed
        if proposed is None:
            self._strategy.lose(trial.number)
            self._optuna.tell(trial, state=TrialState.FAIL)
            return None
        self._open[trial.number] = trial
        return Proposal(proposed, origin, trial.number)

    def _value(self, outcome: Outcome) -> float | None:
        """What Optuna is told: a failure counts as the worst seen, for models that ignore constraints."""
        if isinstance(outcome, Failure):
            return self._worst
        value = outcome.medians[self._objective.metric]
        if self._worst is None or self._objective.better(self._worst, value):
            self._worst = value
        return value

    def _constrain(self, trial: optuna.Trial, outcome: Outcome) -> None:
        """Tell Optuna whether it failed, and by which share each bound of the objective is exceeded."""
        failed = isinstance(outcome, Failure)
        trial.set_constraint(FAILED, 1.0 if failed else 0.0)
        medians = outcome.medians if isinstance(outcome, Measurement) else {}
        for bound, excess in self._objective.violations(medians).items():
            share = excess / (abs(self._objective.subject_to[bound]) or 1.0)
            trial.set_constraint(bound, 1.0 if failed else min(share, MOST_EXCESS))
