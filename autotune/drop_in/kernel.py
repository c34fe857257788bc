"""AutotunedKernel: what a kernel under `@triton.autotune` lists and keys on, as plain values; `pin` has it launch one.

Triton is never imported: whatever is needed of it comes with the kernel that is given.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from autotune.drop_in.pin import Pin
from autotune.errors import UserError, WorkloadError
from autotune.values import Config, Scalar, to_scalar

ALWAYS = ("num_warps", "num_stages")
"""Settings of a `triton.Config` beside its keyword arguments; these two are always parameters."""
WHERE_THEY_VARY = ("num_ctas", "maxnreg", "ir_override")
SETTINGS = (*ALWAYS, *WHERE_THEY_VARY)

_AUTOTUNER = ("configs", "keys", "cache", "arg_names", "prune_configs", "restore_value", "run", "fn")
"""What an `Autotuner` has and no other decorator of Triton."""
_MOST_DECORATORS = 16
_NONE: Any = inspect.Parameter.empty


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AutotunedKernel:
    """A kernel under `@triton.autotune`, its configurations as plain values."""

    autotuner: Any
    name: str
    keys: tuple[str, ...]
    """The arguments whose values name the problem."""
    given: Mapping[Config, Any]
    """The listed `triton.Config` objects by their plain values, in the order of the list; of equal ones the first.

    An argument that a configuration leaves out has the kernel's own default; where the kernel has none, the plain
    values lack it as well.
    """
    originals: Mapping[tuple[str, Scalar], Any]
    """What the list holds for a plain value, where these differ: `tl.float16` for ("dtype", "fp16")."""
    file: Path
    """Where the kernel is written."""

    @classmethod
    def of(cls, kernel: Any) -> Self:
        """Of what is launched, `@triton.heuristics` on either side of `@triton.autotune` included."""
        autotuner = _autotuner(kernel)
        function = list(_layers(autotuner))[-1]
        return cls(
            autotuner=autotuner,
            name=function.__name__,
            keys=tuple(autotuner.keys),
            given=_by_values(autotuner.configs, function),
            originals=_originals(function, autotuner.configs),
            file=Path(function.__code__.co_filename).resolve(),
        )

    @property
    def listed(self) -> tuple[Config, ...]:
        """The distinct configurations of the list, in its order."""
        return tuple(self.given)

    @property
    def parameters(self) -> dict[str, list[Scalar]]:
        """Each with the values that occur in the list: ascending where all are numbers, else as they come."""
        seen: dict[str, dict[Scalar, None]] = {}
        for config in self.given:
            for name, value in config.items():
                seen.setdefault(name, {})[value] = None
        return {name: _ordered(list(values)) for name, values in seen.items()}

    @property
    def takes(self) -> frozenset[str]:
        """What a configuration may set: the kernel's arguments and Triton's settings."""
        return frozenset((*self.autotuner.arg_names, *SETTINGS))

    @property
    def labelled(self) -> frozenset[str]:
        """The arguments whose values the list alone can give, since plain values only name them."""
        return frozenset(name for name, _ in self.originals)

    @property
    def incomplete(self) -> list[str]:
        """The arguments that some listed configurations lack."""
        return [name for name in self.parameters if any(name not in config for config in self.given)]

    @property
    def hooks_differ(self) -> bool:
        """Whether the listed configurations have different pre_hooks, so that no other has one of its own."""
        return len({_hook_identity(config.pre_hook) for config in self.given.values()}) > 1

    @property
    def reset_to_zero(self) -> tuple[str, ...]:
        """The arguments that are to be zero before each timed launch."""
        return tuple(self.autotuner.reset_to_zero)

    @property
    def restore_value(self) -> tuple[str, ...]:
        """The arguments that are to be as they were before each timed launch."""
        return tuple(self.autotuner.restore_value)

    @property
    def prune(self) -> Callable[..., Any] | None:
        """Its `early_config_prune`."""
        return getattr(self.autotuner, "early_config_prune", None)

    def triton_config(self, config: Mapping[str, Scalar]) -> Any:
        """The `triton.Config`: the listed one itself where it is listed, else one like the first, pre_hook included."""
        if (listed := self.given.get(Config(config))) is not None:
            return listed
        first = next(iter(self.given.values()))
        settings = {name: getattr(first, name) for name in (*SETTINGS, "pre_hook") if hasattr(first, name)}
        settings |= {name: value for name, value in config.items() if name in SETTINGS}
        arguments = {n: self.originals.get((n, value), value) for n, value in config.items() if n not in SETTINGS}
        return type(first)(arguments, **settings)

    def pin(self, config: Mapping[str, Scalar]) -> Pin:
        """To make it launch that configuration, and benchmark none."""
        return Pin(self.autotuner, self.triton_config(config))

    def kept(self, configs: Iterable[Mapping[str, Scalar]], arguments: Mapping[str, Any]) -> frozenset[Config]:
        """Those that `early_config_prune` keeps as they are, for a launch with these arguments; all where it has none.

        The arguments are given both as positional ones (`named_args`) and as keywords, for a launch may do either.
        """
        asked = {Config(config): _copy(self.triton_config(config)) for config in configs}
        if self.prune is None:
            return frozenset(asked)
        before = {config: one.all_kwargs() for config, one in asked.items()}
        kept = list(self.prune(list(asked.values()), dict(arguments), **_accepted(self.prune, arguments)))
        own = {id(one) for one in asked.values()}
        places, made = {id(one) for one in kept}, [one.all_kwargs() for one in kept if id(one) not in own]
        return frozenset(
            config
            for config, one in asked.items()
            if (id(one) in places and one.all_kwargs() == before[config]) or before[config] in made
        )


def _layers(kernel: Any) -> Iterator[Any]:
    """What is launched, then what each decorator holds, down to the Python function."""
    for _ in range(_MOST_DECORATORS):
        yield kernel
        if inspect.isfunction(kernel) or not hasattr(kernel, "fn"):
            return
        kernel = kernel.fn


def _autotuner(kernel: Any) -> Any:
    found = [one for one in _layers(kernel) if all(hasattr(one, name) for name in _AUTOTUNER)]
    if len(found) == 1:
        return found[0]
    name = getattr(kernel, "__name__", None) or getattr(getattr(kernel, "base_fn", None), "__name__", None)
    what = f"{name or 'it'} ({type(kernel).__name__})"
    if found:
        raise WorkloadError(f"{what} is under {len(found)} @triton.autotune; give it one of them.")
    raise WorkloadError(
        f"{what} is under no @triton.autotune of Triton 3.6 or later; give the kernel as it is launched: "
        f"@triton.autotune(configs=[…], key=[…]) over @triton.jit. A kernel without one is declared with "
        f"@autotune.workload(space=…)."
    )


def _by_values(configs: Iterable[Any], function: Any) -> dict[Config, Any]:
    configs = list(configs)
    names = dict.fromkeys(name for config in configs for name in config.kwargs)
    defaults = {name: default for name in names if (default := _default(function, name)) is not _NONE}
    varying = [n for n in WHERE_THEY_VARY if len({repr(getattr(config, n, None)) for config in configs}) > 1]
    plain: dict[Config, Any] = {}
    for config in configs:
        arguments = {**defaults, **config.kwargs}
        values = {name: label(name, arguments[name]) for name in names if name in arguments}
        values |= {name: getattr(config, name) for name in (*ALWAYS, *varying)}
        plain.setdefault(Config(values), config)
    return plain


def _originals(function: Any, configs: Collection[Any]) -> dict[tuple[str, Scalar], Any]:
    """Raises WorkloadError where the list tells values apart that read the same."""
    seen: dict[tuple[str, Scalar], Any] = {}
    given = [pair for config in configs for pair in config.kwargs.items()]
    left_out = {name for name, _ in given if any(name not in config.kwargs for config in configs)}
    defaults = [(name, value) for name in left_out if (value := _default(function, name)) is not _NONE]
    for name, value in given + defaults:
        plain = label(name, value)
        if seen.setdefault((name, plain), value) != value:
            raise WorkloadError(
                f"{function.__name__} lists {name}={value!r} and {name}={seen[name, plain]!r}, which both read "
                f"{plain!r}; give it numbers, strings or booleans."
            )
    return {(name, plain): value for (name, plain), value in seen.items() if plain is not value}


def _copy(config: Any) -> Any:
    """For a function that may change what it is given, which must not change the list."""
    twin = copy.copy(config)
    twin.kwargs = dict(config.kwargs)
    return twin


def label(name: str, value: Any) -> Scalar:
    """A configuration's value as a plain one: itself, the value of a `tl.constexpr`, else its name or text."""
    if type(value).__name__ == "constexpr":
        value = value.value
    try:
        return to_scalar(name, value)
    except UserError:
        text = str(getattr(value, "__name__", None) or value)
    if " at 0x" in text:
        raise WorkloadError(
            f"{name}={text} has no text that is the same in every process; list numbers, strings or booleans."
        )
    return text


def _default(function: Any, name: str) -> Any:
    """The argument's default in the kernel's signature; _NONE where there is none."""
    parameter = inspect.signature(function).parameters.get(name)
    return _NONE if parameter is None else parameter.default


def _ordered(values: list[Scalar]) -> list[Scalar]:
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return [*sorted(numbers)] if len(numbers) == len(values) else values


def _hook_identity(hook: Any) -> object:
    """Equal for hooks that do the same: a lambda that a comprehension makes anew for each configuration is one hook."""
    if isinstance(hook, partial):
        return (_hook_identity(hook.func), repr(hook.args), repr(hook.keywords))
    if inspect.isfunction(hook) and not (hook.__closure__ or hook.__defaults__ or hook.__kwdefaults__):
        return hook.__code__
    return hook


def _accepted(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a pruning function takes by keyword, after its first two."""
    parameters = list(inspect.signature(function).parameters.values())
    taken = {p.name for p in parameters[:2]}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return {name: value for name, value in arguments.items() if name not in taken}
    names = {p.name for p in parameters[2:]}
    return {name: value for name, value in arguments.items() if name in names}
