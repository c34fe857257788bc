"""use_tuned: launches of a kernel under `@triton.autotune` take what was tuned, at no cost to those that follow.

How a tuned configuration is found is in `lookup`; how it is tuned begins in `drop_in` itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from autotune.drop_in.kernel import AutotunedKernel
from autotune.errors import UserError
from autotune.lookup import best_config
from autotune.values import Config

Kernel = TypeVar("Kernel")
Fallback = Literal["autotune", "first"]
FurtherValues = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def use_tuned(
    kernel: Kernel, workload: str, *, problem: FurtherValues | None = None, fallback: Fallback = "autotune"
) -> Kernel:
    """Let launches of the kernel take the workload's tuned configurations from now on, and give the kernel back.

    The first launch with new values of the kernel's `key` asks for the configuration tuned for exactly these values on
    this device and leaves it in Triton's own memory, where later launches find it: they cost what they cost before.
    problem: what the problem holds beside the key's values, as a function of the launch's arguments by name:
    `lambda arguments: {"dtype": arguments["a"].dtype}`; it may depend only on the key's values and the tensors' dtypes.
    fallback: where nothing is tuned Triton benchmarks, as ever ("autotune"), or takes the first of its list ("first").
    Called again, it forgets what was taken and what was benchmarked.
    """
    if fallback not in ("autotune", "first"):
        raise UserError(f"use_tuned: fallback is {fallback!r}; expected 'autotune' or 'first'.")
    launches = _Launches(AutotunedKernel.of(kernel), workload, problem, fallback)
    launches.install()
    return kernel


class _Launches:
    """Stands in for two methods of the Autotuner that it calls only where a launch's key is not in its memory."""

    def __init__(
        self, kernel: AutotunedKernel, workload: str, problem: FurtherValues | None, fallback: Fallback
    ) -> None:
        self._kernel, self._workload, self._problem, self._fallback = kernel, workload, problem, fallback
        self._settled: Any = None
        """The configuration that needs no benchmark."""

    def install(self) -> None:
        autotuner = self._kernel.autotuner
        autotuner.prune_configs, autotuner._bench = self.prune_configs, self.bench
        autotuner.cache.clear()
        if len(autotuner.configs) == 1:  # alone, it would be launched without a look into the memory
            autotuner.configs = autotuner.configs * 2

    def prune_configs(self, arguments: Mapping[str, Any]) -> list[Any]:
        """Called by `Autotuner.run` on a miss, with the launch's keywords: what is to be benchmarked."""
        autotuner, listed = self._kernel.autotuner, self._kernel.given
        tuned = self._tuned({**(autotuner.nargs or {}), **arguments})
        if tuned is None and (self._fallback == "first" or len(listed) == 1):
            tuned = next(iter(listed.values()))
        self._settled = tuned
        return type(autotuner).prune_configs(autotuner, arguments) if tuned is None else [tuned]

    def bench(self, *arguments: Any, config: Any, **keywords: Any) -> list[float]:
        """Triton 3.6 benchmarks also where there is no choice."""
        if config is self._settled:
            return [0.0, 0.0, 0.0]
        autotuner = self._kernel.autotuner
        return type(autotuner)._bench(autotuner, *arguments, config=config, **keywords)  # type: ignore[no-any-return]

    def _tuned(self, arguments: Mapping[str, Any]) -> Any:
        """The `triton.Config` for a launch; None, with a warning where it is a mistake, where there is none."""
        values = {name: arguments[name] for name in self._kernel.keys if name in arguments}
        try:
            found = best_config(
                self._workload, default=None, **values, **(self._problem(arguments) if self._problem else {})
            )
        except UserError as error:
            self._warn(str(error))
            return None
        if found is None:
            return None
        if misfit := self._misfit(found):
            self._warn(f"{found.text} does not fit the kernel ({misfit}); tune it again")
            return None
        return self._kernel.triton_config(found)

    def _misfit(self, found: Config) -> str:
        """Why the configuration cannot be launched, which is so where the kernel has changed since it was tuned."""
        kernel, parameters = self._kernel, self._kernel.parameters
        faults = {
            "it lacks": [name for name in parameters if name not in found and name not in kernel.incomplete],
            "there is no": [name for name in found if name not in kernel.takes],
            "not listed": [name for name in kernel.labelled if name in found and found[name] not in parameters[name]],
        }
        return "; ".join(f"{what} {', '.join(names)}" for what, names in faults.items() if names)

    def _warn(self, why: str) -> None:
        warnings.warn(f"{self._kernel.name} is not launched as {self._workload} was tuned: {why}", stacklevel=5)
