"""Optuna's samplers by themselves, each proposal moved to the nearest valid configuration that is new."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import islice

import optuna
from optuna.distributions import CategoricalDistribution

from autotune.errors import UserError, did_you_mean
from autotune.space.valid_set import ValidSet
from autotune.values import Config

Evaluate = Callable[[Config], float | None]
"""The value that is to be small; None where it fails. Raises once the budget is spent."""

NEAREST_TRIED = 64
SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "tpe_univariate": lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=False),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
}


def search(name: str, valid: ValidSet, evaluate: Evaluate, trials: int, seed: int) -> None:
    """One search; a failure is told as the worst value seen, since its samplers ignore failed trials."""
    if name not in SAMPLERS:
        raise UserError(f"there is no peer optuna:{name}; {did_you_mean(name, SAMPLERS)}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=SAMPLERS[name](seed))
    space = {n: CategoricalDistribution(tuple(p.values)) for n, p in valid.space.parameters.items()}
    known: set[Config] = set()
    worst = 0.0
    for _ in range(min(trials, valid.size)):
        asked = study.ask(dict(space))
        found = next((c for c in islice(valid.nearest(asked.params), NEAREST_TRIED) if c not in known), None)
        config = found or next(c for c in valid if c not in known)
        known.add(config)
        value = evaluate(config)
        worst = max(worst, value or 0.0)
        told = optuna.trial.create_trial(
            params={n: config.get(n, d.choices[0]) for n, d in space.items()},
            distributions=dict(space),
            value=worst if value is None else value,
        )
        study.tell(asked, state=optuna.trial.TrialState.FAIL)  # what counts is what it was moved to
        study.add_trial(told)
