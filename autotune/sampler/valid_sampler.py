"""ValidSampler: what all our Optuna samplers share: valid configurations only, and none twice."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from autotune.errors import SpaceError
from autotune.search import Prior
from autotune.space import Parameter
from autotune.space.valid_set import ValidSet
from autotune.values import Config

FAILED = "failed"
"""The constraint, in Optuna's sense, that a trial without a result breaks; the others are the objective's bounds."""
MAX_CHOICES = 64
"""Above this a range of integers is told to Optuna as such; its models slow down with the number of choices."""


class ValidSampler(BaseSampler):
    """An Optuna sampler over a valid set.

    It also serves a study that Optuna itself drives: `optuna.create_study(sampler=…)` with trials that suggest the
    parameters of `distributions`. An inactive parameter then shows its first value; what it depends on tells it apart.
    """

    def __init__(self, valid: ValidSet) -> None:
        self._valid = valid
        self._forced: Config | None = None
        self._lost: set[int] = set()
        self._lock = threading.RLock()
        self.distributions = {name: distribution(declared) for name, declared in valid.space.parameters.items()}
        self.asked: set[Config] = set()
        """All that were proposed, or seen in the study."""
        self.proposed: Config | None = None
        """The last proposal; None where there was nothing left."""

    @property
    def exhausted(self) -> bool:
        """Whether every valid configuration was asked."""
        return self._valid.exact and len(self.asked) >= self._valid.size

    @property
    def learns_from_priors(self) -> bool:
        """Whether it makes anything of what siblings measured; Optuna's samplers do not."""
        return False

    def warm_start(self, prior: Prior | None) -> None:
        """Begin from what was measured of siblings; before the first proposal."""

    def force(self, config: Config | None) -> None:
        """Let the next proposal be this one."""
        self._forced = config

    def lose(self, number: int) -> None:
        """That trial's end, which Optuna is about to hear of, says nothing about its configuration."""
        self._lost.add(number)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every parameter at once: they are not independent of each other."""
        return self.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A value for every parameter, those of one valid configuration."""
        with self._lock:  # Optuna's own studies may run trials in threads
            config, self._forced = self._forced, None
            config = config if config is not None else self._choose(study, trial)
            self.proposed = config
            if config is not None:
                self.asked.add(config)
                self._announce(trial.number, config)
        values: Mapping[str, Any] = self._valid.default if config is None else config
        return {name: values.get(name, first(d)) for name, d in self.distributions.items()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The first value: of a parameter that is not of the space, or has no other."""
        return first(param_distribution)

    def config(self, params: Mapping[str, Any]) -> Config | None:
        """The configuration that a trial's parameters show; None where it is not a valid one."""
        try:
            config = self._valid.space.without_inactive(self._valid.space.checked(params))
        except SpaceError:
            return None
        return config if config in self._valid else None

    @abstractmethod
    def _choose(self, study: Study, trial: FrozenTrial) -> Config | None:
        """A valid configuration that was not asked; None where there is none."""

    def _announce(self, number: int, config: Config) -> None:
        """The trial of that number is about this configuration, whoever chose it."""


def distribution(parameter: Parameter) -> BaseDistribution:
    """As Optuna declares the parameter."""
    values = parameter.values
    if isinstance(values, range) and len(values) > MAX_CHOICES:
        return IntDistribution(values[0], values[-1], step=values.step)
    return CategoricalDistribution(tuple(values))


def first(distribution: BaseDistribution) -> Any:
    """A value of it."""
    return distribution.low if isinstance(distribution, IntDistribution) else distribution.choices[0]  # type: ignore[attr-defined]
