"""ModelSampler: the default strategy as an Optuna sampler; how it searches is in `search`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autotune.errors import UserError
from autotune.sampler.valid_sampler import FAILED, ValidSampler
from autotune.search import Prior, Search
from autotune.space.valid_set import ValidSet
from autotune.values import Config


class ModelSampler(ValidSampler):
    """Learns from every trial of its study, those of other processes and of an earlier run included.

    A trial that Optuna calls failed, or that breaks the constraint `failed`, is a configuration that does not work.
    Other constraints are bounds of the objective, by which share they are exceeded. Any number of trials may run.
    """

    def __init__(self, valid: ValidSet, *, seed: int = 0, prior: Prior | None = None) -> None:
        super().__init__(valid)
        self._seed, self._prior = seed, prior
        self._known: dict[int, Config] = {}
        """What the search was told to be pending or done, by the numbers of their trials."""
        self._settled = 0
        """Trials before this number are known and finished."""

    @cached_property
    def _search(self) -> Search:
        """Made when first needed, since a prior may come until then."""
        return Search(self._valid, seed=self._seed, prior=self._prior)

    @property
    def learns_from_priors(self) -> bool:
        """It does."""
        return True

    def warm_start(self, prior: Prior | None) -> None:
        """Begin from what was measured of siblings; before the first proposal."""
        self._prior = prior

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Learn from it."""
        with self._lock:
            self._learn(study, trial, state, values)

    def _choose(self, study: Study, trial: FrozenTrial) -> Config | None:
        self._catch_up(study, trial.number)
        config = self._search.ask()
        while config is not None and config in self.asked:  # it was lost, and is with whoever retries it
            config = self._search.ask()
        return config

    def _announce(self, number: int, config: Config) -> None:
        self._known[number] = config
        self._search.announce(config)

    def _catch_up(self, study: Study, number: int) -> None:
        """Take in the trials that this sampler did not propose; those that are running are pending."""
        if len(study.directions) > 1:
            raise UserError("the sampler 'auto' searches for one objective; --sampler nsga2 searches for several.")
        for trial in study.get_trials(deepcopy=False)[self._settled :]:
            if trial.number not in self._known and trial.number != number and trial.state is not TrialState.WAITING:
                self._take_in(study, trial)
            if trial.number == self._settled and trial.state.is_finished():
                self._settled += 1

    def _take_in(self, study: Study, trial: FrozenTrial) -> None:
        config = self.config(trial.params)
        if config is None:
            return
        self.asked.add(config)
        if trial.state.is_finished():
            self._learn(study, trial, trial.state, trial.values)
        else:
            self._search.announce(config)

    def _learn(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        proposed = self._known.get(trial.number)
        config = self.config(trial.params)
        if proposed is not None and (trial.number in self._lost or config != proposed):
            self._search.forget(proposed)  # a trial that was enqueued keeps the values that it was enqueued with
        if config is None or trial.number in self._lost:
            return
        self._known[trial.number] = config
        self.asked.add(config)
        excess = dict(trial.constraints)
        if state is TrialState.FAIL or excess.pop(FAILED, 0.0) > 0 or not values:
            self._search.tell(config, None)
        else:
            value = values[0] if study.direction is StudyDirection.MINIMIZE else -values[0]
            self._search.tell(config, value, max(excess.values(), default=0.0))
