"""Find the fastest correct configuration of a workload on the GPUs that are really there, and use it at run time."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

TYPE_CHECKING = False  # as type checkers know it; typing itself is half of what this import would cost
if TYPE_CHECKING:
    from typing import Any

    from autotune.drop_in import triton_autotuned as triton_autotuned
    from autotune.drop_in.launches import use_tuned as use_tuned
    from autotune.errors import AutotuneError as AutotuneError
    from autotune.errors import NoTunedConfig as NoTunedConfig
    from autotune.errors import UserError as UserError
    from autotune.lookup import add_snapshot_folder as add_snapshot_folder
    from autotune.lookup import best_config as best_config
    from autotune.lookup import lookup as lookup
    from autotune.objective import maximize as maximize
    from autotune.objective import minimize as minimize
    from autotune.restoring import Restoring as Restoring
    from autotune.restoring import restoring as restoring
    from autotune.space import SearchSpace as SearchSpace
    from autotune.space import boolean as boolean
    from autotune.space import choice as choice
    from autotune.space import env as env
    from autotune.space import integer as integer
    from autotune.space import power_of_two as power_of_two
    from autotune.values import Config as Config
    from autotune.values import Problem as Problem
    from autotune.workload import workload as workload

__version__ = "0.1.0"

_HOME = {
    "AutotuneError": "errors",
    "Config": "values",
    "NoTunedConfig": "errors",
    "Problem": "values",
    "Restoring": "restoring",
    "SearchSpace": "space",
    "UserError": "errors",
    "add_snapshot_folder": "lookup",
    "best_config": "lookup",
    "boolean": "space",
    "choice": "space",
    "env": "space",
    "integer": "space",
    "lookup": "lookup",
    "maximize": "objective",
    "minimize": "objective",
    "power_of_two": "space",
    "restoring": "restoring",
    "triton_autotuned": "drop_in",
    "use_tuned": "drop_in.launches",
    "workload": "workload",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'autotune' has no attribute {name!r}")
    module = import_module(f"autotune.{_HOME[name]}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


class _Package(ModuleType):
    """Keeps `autotune.workload` the decorator, `autotune.lookup` and `autotune.restoring` the functions.

    Importing the submodule of the same name would bind the module over them.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in _HOME):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
