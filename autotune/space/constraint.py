"""Constraint, a predicate with its reason, and how it is judged on values that may be incomplete; no search here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, ItemsView, Iterator, KeysView, Mapping, ValuesView
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from autotune.errors import SpaceError, did_you_mean
from autotune.values import RESERVED_NAMES, Config, Problem, Scalar

if TYPE_CHECKING:
    from autotune.device import Device

INACTIVE = object()
"""Stands in an Assignment for the value of an inactive parameter."""


class _Unread(BaseException):
    """Ends a predicate at a parameter without a value; no Exception, so that `except Exception` does not swallow it."""


class _UnknownParameter(SpaceError):
    """A predicate reads a name that the space does not have."""


class ConstraintFault(SpaceError):
    """A predicate raised instead of returning True or False."""

    def __init__(self, message: str, constraint: Constraint) -> None:
        super().__init__(message)
        self.constraint = constraint


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A predicate of any of (config, problem, device) that a valid configuration satisfies.

    It does not apply to a configuration in which a parameter that it reads is inactive; `name in config` and
    `config.get(name)` ask without reading. It must return the same for the same arguments.
    """

    predicate: Callable[..., Any]
    reason: str
    """Why it rejects, in one line."""
    name: str

    @classmethod
    def of(cls, predicate: Callable[..., Any], reason: str | None = None) -> Constraint:
        """The reason is the first line of the predicate's docstring, else the one given, else its name."""
        arguments_of(predicate, ("config", "problem", "device"), "a constraint")
        function = predicate
        while isinstance(function, partial):
            function = function.func
        documented = inspect.getdoc(function) if inspect.isroutine(function) else type(function).__doc__
        name = name_of(function)
        first_line = (documented or "").strip().partition("\n")[0]
        return cls(predicate=predicate, reason=first_line or reason or name, name=name)

    def bound(self, problem: Problem, device: Device | None) -> Callable[..., Any]:
        """The predicate as a function of the keyword `config` alone."""
        names = arguments_of(self.predicate, ("config", "problem", "device"), "a constraint")
        given = {name: value for name, value in (("problem", problem), ("device", device)) if name in names}
        fixed = partial(self.predicate, **given) if given else self.predicate
        return fixed if "config" in names else lambda config: fixed()

    def allows(self, config: Mapping[str, Scalar], problem: Problem, device: Device | None) -> bool:
        """Whether the configuration satisfies it; a parameter that the configuration lacks counts as inactive."""
        try:
            return self.judge(Assignment(config, config), problem, device)
        except _UnknownParameter:
            return True

    def judge(self, assignment: Assignment, problem: Problem, device: Device | None) -> bool:
        """Whether a complete assignment satisfies it; raises ConstraintFault where the predicate raises."""
        try:
            return assignment.judge(self.bound(problem, device)) is True
        except SpaceError:
            raise
        except Exception as error:
            raise self.fault(error, assignment) from error

    def fault(self, error: Exception, assignment: Assignment) -> ConstraintFault:
        """What to raise where the predicate itself raised `error`."""
        seen = assignment.chosen.text or "no values"
        return ConstraintFault(
            f"constraint {self.name} raised {type(error).__name__}: {error} for {seen}; "
            f"it must return True or False for every configuration.",
            self,
        )


class Assignment:
    """The values that are chosen so far, and what a predicate reads of them."""

    __slots__ = ("config", "names", "read", "stopped_at", "values")

    def __init__(self, names: Collection[str], values: Mapping[str, Any]) -> None:
        self.names = names
        """Every parameter of the space, with a value or not."""
        self.values = dict(values)
        """By parameter; INACTIVE where it takes none."""
        self.read: set[str] = set()
        """The parameters with a value (or inactive) that the last predicate looked at."""
        self.stopped_at: list[str] = []
        """The parameter whose lack of a value ended the last predicate."""
        self.config = _config_class(tuple(names))(self)

    @classmethod
    def complete(cls, names: Collection[str], config: Mapping[str, Scalar]) -> Assignment:
        """Of a whole configuration: what it lacks is inactive."""
        return cls(names, {name: config.get(name, INACTIVE) for name in names})

    @property
    def chosen(self) -> Config:
        """The configuration so far."""
        return Config({name: value for name, value in self.values.items() if value is not INACTIVE})

    def judge(self, predicate: Callable[..., Any]) -> bool | None:
        """What the predicate says of every completion of these values; None where that depends on `stopped_at`.

        Leaves in `read` what the answer rests on. Raises what the predicate raises.
        """
        self.read.clear()
        self.stopped_at.clear()
        verdict = None
        try:
            verdict = predicate(config=self.config)
            if verdict is None:
                raise TypeError("it returned None, not True or False")
            verdict = bool(verdict)
        except _Unread:
            pass
        except Exception:
            if not self.stopped_at:  # else it is only how the predicate took being ended
                raise
        if self.stopped_at:
            return True if self.stopped_at[0] in self.values else None
        return verdict


class PartialConfig(Mapping[str, Any]):
    """What a predicate gets for `config`: it reads like a Config, and ends the predicate where a value is lacking."""

    # Mangled names: any attribute without two underscores may be a parameter's.
    __slots__ = ("__assignment", "__read", "__values")

    def __init__(self, assignment: Assignment) -> None:
        self.__assignment = assignment
        self.__values = assignment.values
        self.__read = assignment.read

    def __getitem__(self, name: str) -> Any:
        value = self.__values.get(name, _Unread)
        if value is _Unread:
            self.__stop(name)
        self.__read.add(name)
        if value is INACTIVE:
            self.__stop(name)
        return value

    def __getattr__(self, name: str) -> Any:
        if name in RESERVED_NAMES or name.startswith("__"):
            return getattr(Config(self), name)
        return self[name]

    def __contains__(self, name: object) -> bool:
        if name not in self.__assignment.names:
            return False
        if name not in self.__values:
            self.__stop(str(name))
        self.__read.add(str(name))
        return self.__values[str(name)] is not INACTIVE

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or `default` where the parameter is inactive or there is none of that name."""
        return self[name] if name in self else default  # noqa: SIM401 - that would be this very method

    def __iter__(self) -> Iterator[str]:
        return iter(self.__all())

    def __len__(self) -> int:
        return len(self.__all())

    def keys(self) -> KeysView[str]:
        """The active parameters."""
        return self.__all().keys()

    def values(self) -> ValuesView[Any]:
        """The values of the active parameters."""
        return self.__all().values()

    def items(self) -> ItemsView[str, Any]:
        """The active parameters with their values."""
        return self.__all().items()

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self, **other}

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**other, **self}

    def __hash__(self) -> int:
        return hash(Config(self))

    def __repr__(self) -> str:
        return repr(Config(self))

    def __all(self) -> dict[str, Any]:
        names, values = self.__assignment.names, self.__values
        if len(values) < len(names):
            self.__stop([name for name in names if name not in values][-1])  # the last, for all are needed
        self.__read.update(names)
        return {name: value for name, value in values.items() if value is not INACTIVE}

    def __stop(self, name: str) -> NoReturn:
        names = self.__assignment.names
        if name not in names:
            raise _UnknownParameter(f"there is no parameter {name!r}; {did_you_mean(str(name), names)}")
        self.__assignment.stopped_at.append(name)
        raise _Unread


@lru_cache(maxsize=64)
def _config_class(names: tuple[str, ...]) -> type[PartialConfig]:
    """PartialConfig with a property for each name: five times as fast to read as through `__getattr__`."""
    return type("PartialConfig", (PartialConfig,), {"__slots__": (), **{n: property(itemgetter(n)) for n in names}})


def name_of(function: Any) -> str:
    """What to call a function in a message; a lambda by its place, for it has no name."""
    name = str(getattr(function, "__name__", type(function).__name__))
    if name != "<lambda>":
        return name
    return f"lambda at {Path(function.__code__.co_filename).name}:{function.__code__.co_firstlineno}"


def arguments_of(function: Callable[..., Any], known: tuple[str, ...], what: str) -> list[str]:
    """The names among `known` that the function takes; SpaceError where it needs anything else."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise SpaceError(f"{function!r} is no plain function; {what} is one of any of {', '.join(known)}.") from None
    for parameter in parameters:
        by_name = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if not by_name or (parameter.name not in known and parameter.default is parameter.empty):
            raise SpaceError(
                f"{name_of(function)}{inspect.signature(function)} takes {str(parameter)!r}; "
                f"{what} takes any of {', '.join(known)}, by these names."
            )
    return [parameter.name for parameter in parameters if parameter.name in known]
