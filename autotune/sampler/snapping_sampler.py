"""SnappingSampler: one of Optuna's own samplers, its wishes moved to the nearest valid configuration that is new."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import islice

from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from autotune.sampler.valid_sampler import ValidSampler
from autotune.space.valid_set import ValidSet
from autotune.values import Config

STARTUP_TRIALS = 10
"""Uniform draws before a model is asked; Optuna's own default for its TPE."""
NEAREST_TRIED = 32
"""How many configurations around a wish are looked at before a uniform draw replaces it."""
DRAWS_TRIED = 1000


class SnappingSampler(ValidSampler):
    """Lets another sampler wish. Without one, every proposal is a uniform draw from the valid set."""

    def __init__(self, valid: ValidSet, wishes: BaseSampler | None, *, seed: int = 0) -> None:
        super().__init__(valid)
        self._wishes = wishes
        self._random = random.Random(seed)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Let the other sampler know."""
        if self._wishes and trial.number not in self._lost:
            self._wishes.after_trial(study, trial, state, values)

    def _choose(self, study: Study, trial: FrozenTrial) -> Config | None:
        if self._wishes and trial.number >= STARTUP_TRIALS:
            wish = self._wish(self._wishes, study, trial)
            for config in islice(self._valid.nearest(wish), NEAREST_TRIED):
                if config not in self.asked:
                    return config
        return self._drawn()

    def _drawn(self) -> Config | None:
        for _ in range(DRAWS_TRIED):
            config = self._valid.sample(self._random)
            if config not in self.asked:
                return config
        return next((config for config in self._valid if config not in self.asked), None)

    def _wish(self, wishes: BaseSampler, study: Study, trial: FrozenTrial) -> Config:
        wishes.before_trial(study, trial)
        space = wishes.infer_relative_search_space(study, trial)
        wish = wishes.sample_relative(study, trial, space)
        for name, distribution in self.distributions.items():
            if name not in wish:
                wish[name] = wishes.sample_independent(study, trial, name, distribution)
        return Config(wish)
