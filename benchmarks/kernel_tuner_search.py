"""Kernel Tuner's strategies, each on a space of which every value is known; only this file knows Kernel Tuner."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from autotune.errors import UserError, did_you_mean
from autotune.values import Config, Scalar

Evaluate = Callable[[Config], float | None]
"""The value that is to be small; None where it fails. Raises once the budget is spent."""


def search(strategy: str, configs: Sequence[Config], evaluate: Evaluate, trials: int, seed: int) -> None:
    """One search, with a Searchspace of its own: what one remembers would tell the next of optima found before."""
    try:
        from kernel_tuner import util
        from kernel_tuner.interface import Options, strategy_map
        from kernel_tuner.searchspace import Searchspace
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed; pip install 'gpu-autotune[bench]'.") from error
    if strategy not in strategy_map:
        raise UserError(f"Kernel Tuner has no strategy {strategy!r}; {did_you_mean(strategy, strategy_map)}")
    values = {name: list(dict.fromkeys(config[name] for config in configs)) for name in configs[0]}
    cache = {str(place): dict(config) for place, config in enumerate(configs)}
    space = Searchspace(None, None, None, from_cache={"tune_params": _ordered(values), "cache": cache})
    options = Options(
        strategy=strategy,
        strategy_options=Options(max_fevals=trials),
        objective=["time"],
        objective_higher_is_better=[False],
        budget=util.TuningBudget(None, min(trials, len(configs))),
        cache={},
        metrics=None,
        seed=seed,
        tune_params=values,
        verbose=False,
    )
    random.seed(seed)
    np.random.seed(seed)
    with contextlib.redirect_stdout(io.StringIO()):
        strategy_map[strategy].tune(space, _runner(list(values), evaluate, util), options)


def _ordered(values: dict[str, list[Scalar]]) -> dict[str, list[Scalar]]:
    """Numbers ascending, as they are declared to it: its strategies step to the next value of a list."""
    return {
        name: sorted(listed) if all(isinstance(v, (int, float)) for v in listed) else listed  # type: ignore[type-var]
        for name, listed in values.items()
    }


def _runner(names: Sequence[str], evaluate: Evaluate, util: Any) -> Any:
    from kernel_tuner.runners.runner import Runner

    class Recorded(Runner):  # type: ignore[misc]
        """Answers from what is known; a configuration costs once."""

        def __init__(self) -> None:
            super().__init__()
            self._seen: dict[tuple[Scalar, ...], dict[str, Any]] = {}

        def get_device_info(self) -> None:
            return None

        def get_environment(self, tuning_options: Any) -> dict[str, Any]:
            return {}

        def run(self, parameter_space: Iterable[Sequence[Scalar]], tuning_options: Any) -> list[dict[str, Any] | None]:
            return [self._one(tuple(row), tuning_options.budget) for row in parameter_space]

        def _one(self, row: tuple[Scalar, ...], budget: Any) -> dict[str, Any] | None:
            if row not in self._seen and budget.is_done():
                return None
            if row not in self._seen:
                budget.add_evaluations(1)
                config = dict(zip(names, row, strict=True))
                value = evaluate(Config(config))
                said = {"__error__": util.RuntimeFailedConfig()} if value is None else {"time": value}
                self._seen[row] = {**config, **said}
            return dict(self._seen[row])

    return Recorded()
