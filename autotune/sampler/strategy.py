"""Strategies: the samplers that can be named; `auto` is ours, the others are Optuna's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, QMCSampler, TPESampler

from autotune.errors import UserError, did_you_mean
from autotune.sampler.model_sampler import ModelSampler
from autotune.sampler.snapping_sampler import STARTUP_TRIALS, SnappingSampler
from autotune.sampler.valid_sampler import ValidSampler
from autotune.space.valid_set import ValidSet


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)


def _gp(seed: int) -> BaseSampler:
    if find_spec("torch") is None:  # Optuna would only say so after the first trials
        raise UserError("the sampler 'gp' needs torch; pip install 'gpu-autotune[gp]'.")
    return GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS)


OPTUNA: dict[str, Callable[[int], BaseSampler | None]] = {
    "tpe": _tpe,
    "random": lambda seed: None,
    "gp": _gp,
    "nsga2": lambda seed: NSGAIISampler(seed=seed),
    "qmc": lambda seed: QMCSampler(seed=seed),
}
STRATEGIES = ("auto", *OPTUNA)


def strategy(name: str, valid: ValidSet, seed: int) -> ValidSampler:
    """The sampler of that name over the valid set. Raises UserError where there is none, or it lacks a package."""
    if name == "auto":
        return ModelSampler(valid, seed=seed)
    if name not in OPTUNA:
        raise UserError(f"there is no sampler {name!r}; {did_you_mean(name, STRATEGIES)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return SnappingSampler(valid, OPTUNA[name](seed), seed=seed)
