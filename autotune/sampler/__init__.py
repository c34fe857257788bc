"""Sampler: what to measure next, valid and never asked before; Optuna is known here and in `importance`."""

from __future__ import annotations

import random
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from autotune.errors import UserError, did_you_mean
from autotune.measurement import Failure, FailureKind, Measurement, Outcome
from autotune.objective import Objective
from autotune.space import Parameter
from autotune.space.valid_set import ValidSet
from autotune.values import Config

Origin = Literal["default", "seed", "search"]

STARTUP_TRIALS = 10
"""Uniform draws before a model is asked; Optuna's own default for its TPE."""
NEAREST_TRIED = 32
"""How many configurations around a model's wish are looked at before a uniform draw replaces it."""
POLISH_FROM = 50
"""From here on every second proposal is a new neighbour of the best, while there is one: it costs no model, whose asks
grow slow with the number of trials, and searches the floor of the basin that the model found."""
DRAWS_TRIED = 1000
MAX_CHOICES = 64
"""Above this a range of integers is told to Optuna as such; its models slow down with the number of choices."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A configuration to be measured, and where the wish for it came from."""

    config: Config
    origin: Origin
    number: int
    """Counts the proposals of a study from 0."""


class Sampler:
    """Asks and is told; the default and the seeds come first, then what the named strategy wishes for.

    Every proposal is valid and none is made twice, whatever the strategy: a wish that is invalid or known is replaced
    by the nearest valid new configuration.
    """

    def __init__(self, valid: ValidSet, objective: Objective, *, name: str = "auto", seed: int = 0) -> None:
        self._valid, self._objective = valid, objective
        self._random = random.Random(seed)
        self._polishes = name != "random"
        self._queue: deque[tuple[Config, Origin]] = deque()
        self._asked: set[Config] = set()
        self._open: dict[int, optuna.Trial] = {}
        self._worst: float | None = None
        self._best: float | None = None
        self._neighbours: list[Config] = []
        self._distributions = {
            parameter: _distribution(declared) for parameter, declared in valid.space.parameters.items()
        }
        self._bridge = _Bridge(_strategy(name, seed), self._distributions, self._next_config)
        self._optuna = optuna.create_study(direction=objective.direction, sampler=self._bridge)

    @property
    def optuna_study(self) -> optuna.Study:
        """Optuna's view of the search, for its plots and importances."""
        return self._optuna

    def enqueue(self, configs: Iterable[Config], origin: Origin) -> None:
        """Propose these before anything else, in this order; those already asked or queued are left out."""
        known = self._asked | {config for config, _ in self._queue}
        self._queue.extend((config, origin) for config in configs if config not in known)

    def ask(self) -> Proposal | None:
        """A configuration to measure, or None when every valid one has been asked."""
        while self._queue and self._queue[0][0] in self._asked:
            self._queue.popleft()
        origin: Origin = "search"
        if self._queue:
            self._bridge.forced, origin = self._queue.popleft()
        elif self._exhausted():
            return None
        else:
            self._bridge.forced = self._neighbour()
        return self._propose(origin)

    def tell(self, proposal: Proposal, outcome: Outcome) -> None:
        """Learn from the outcome. LOST teaches nothing; every other failure is a broken constraint."""
        trial = self._open.pop(proposal.number)
        if isinstance(outcome, Failure) and outcome.kind is FailureKind.LOST:
            self._optuna.tell(trial, state=TrialState.FAIL)
            return
        self._constrain(trial, outcome)
        self._follow(proposal.config, outcome)
        value = self._value(outcome)
        if value is None:
            self._optuna.tell(trial, state=TrialState.PRUNED)
        else:
            self._optuna.tell(trial, value)

    def remember(self, config: Config, origin: Origin, outcome: Outcome) -> None:
        """Learn an outcome of an earlier run, without asking again for its configuration."""
        if config not in self._asked and config in self._valid:
            self._bridge.forced = config
            proposal = self._propose(origin)
            if proposal:
                self.tell(proposal, outcome)

    def _propose(self, origin: Origin) -> Proposal | None:
        self._bridge.proposed = None
        trial = self._optuna.ask(self._distributions)
        _ = trial.relative_params  # where every parameter has one value Optuna would not ask the bridge
        config = self._bridge.proposed
        if config is None:
            self._optuna.tell(trial, state=TrialState.FAIL)
            return None
        self._asked.add(config)
        self._open[trial.number] = trial
        return Proposal(config, origin, trial.number)

    def _neighbour(self) -> Config | None:
        """In every second proposal of a later search, a new neighbour of the best, those a step away first."""
        if not self._polishes or len(self._asked) < POLISH_FROM or len(self._asked) % 2:
            return None
        while self._neighbours:
            config = self._neighbours.pop()
            if config not in self._asked:
                return config
        return None

    def _exhausted(self) -> bool:
        return self._valid.exact and len(self._asked) >= self._valid.size

    def _next_config(self, wish: Config | None) -> Config | None:
        """The wish where it is valid and new, else the nearest that is, else a uniform draw, else None."""
        if wish is not None and len(self._asked) >= STARTUP_TRIALS:
            for config in islice(self._valid.nearest(wish), NEAREST_TRIED):
                if config not in self._asked:
                    return config
        for _ in range(DRAWS_TRIED):
            config = self._valid.sample(self._random)
            if config not in self._asked:
                return config
        return next((config for config in self._valid if config not in self._asked), None)

    def _value(self, outcome: Outcome) -> float | None:
        """What Optuna is told: a failure counts as the worst seen, for models that ignore constraints."""
        if isinstance(outcome, Failure):
            return self._worst
        value = outcome.medians[self._objective.metric]
        if self._worst is None or self._objective.better(self._worst, value):
            self._worst = value
        return value

    def _follow(self, config: Config, outcome: Outcome) -> None:
        """Remember the best, and what lies around it."""
        if isinstance(outcome, Failure) or not self._objective.feasible(outcome.medians):
            return
        value = outcome.medians[self._objective.metric]
        if self._best is None or self._objective.better(value, self._best):
            self._best = value
            self._neighbours = self._valid.neighbours(config) if self._polishes else []
            self._random.shuffle(self._neighbours)
            self._neighbours.sort(key=lambda other: self._steps(config, other), reverse=True)  # the nearest is popped

    def _steps(self, config: Config, other: Config) -> int:
        """How many values apart two neighbours are; 1 where the parameter is not ordinal."""
        parameters = self._valid.space.parameters
        differing = [name for name in config.keys() & other.keys() if config[name] != other[name]]
        return max(
            (
                abs(parameters[name].index(config[name]) - parameters[name].index(other[name]))
                for name in differing
                if parameters[name].ordinal
            ),
            default=1,
        )

    def _constrain(self, trial: optuna.Trial, outcome: Outcome) -> None:
        failed = isinstance(outcome, Failure)
        trial.set_constraint("failed", 1.0 if failed else 0.0)
        medians = outcome.medians if isinstance(outcome, Measurement) else {}
        for bound, excess in self._objective.violations(medians).items():
            trial.set_constraint(bound, 1.0 if failed else excess)


class _Bridge(BaseSampler):
    """An Optuna sampler that lets a strategy wish and `choose` decide; or, for one call, gives what is `forced`."""

    def __init__(
        self,
        strategy: BaseSampler | None,
        distributions: dict[str, BaseDistribution],
        choose: Callable[[Config | None], Config | None],
    ) -> None:
        self._strategy, self._distributions, self._choose = strategy, distributions, choose
        self.forced: Config | None = None
        self.proposed: Config | None = None

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        config, self.forced = self.forced, None
        self.proposed = config if config is not None else self._choose(self._wish(study, trial))
        # Optuna wants a value for every parameter; an inactive one shows its first, and its parent tells it apart.
        values: dict[str, Any] = dict(self.proposed or {})
        return {name: values.get(name, _first(d)) for name, d in self._distributions.items()}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return _first(param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        if self._strategy and state is not TrialState.FAIL:
            self._strategy.after_trial(study, trial, state, values)

    def _wish(self, study: optuna.Study, trial: FrozenTrial) -> Config | None:
        if self._strategy is None or trial.number < STARTUP_TRIALS:
            return None
        self._strategy.before_trial(study, trial)
        space = self._strategy.infer_relative_search_space(study, trial)
        wish = self._strategy.sample_relative(study, trial, space)
        for name, distribution in self._distributions.items():
            if name not in wish:
                wish[name] = self._strategy.sample_independent(study, trial, name, distribution)
        return Config(wish)


def _distribution(parameter: Parameter) -> BaseDistribution:
    values = parameter.values
    if isinstance(values, range) and len(values) > MAX_CHOICES:
        return IntDistribution(values[0], values[-1], step=values.step)
    return CategoricalDistribution(tuple(values))


def _first(distribution: BaseDistribution) -> Any:
    return distribution.low if isinstance(distribution, IntDistribution) else distribution.choices[0]  # type: ignore[attr-defined]


def _tpe(seed: int) -> BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)


def _gp(seed: int) -> BaseSampler:
    missing = [package for package in ("scipy", "torch") if find_spec(package) is None]
    if missing:  # Optuna would only say so after the first trials
        raise UserError(f"the sampler 'gp' needs {' and '.join(missing)}; pip install 'gpu-autotune[gp]'.")
    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS)


def _uniform(seed: int) -> None:
    """No strategy: every proposal is a uniform draw from the valid set."""


STRATEGIES: dict[str, Callable[[int], BaseSampler | None]] = {
    "auto": _tpe,
    "tpe": _tpe,
    "random": _uniform,
    "gp": _gp,
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "qmc": lambda seed: optuna.samplers.QMCSampler(seed=seed),
}


def _strategy(name: str, seed: int) -> BaseSampler | None:
    if name not in STRATEGIES:
        raise UserError(f"there is no sampler {name!r}; {did_you_mean(name, STRATEGIES)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return STRATEGIES[name](seed)
