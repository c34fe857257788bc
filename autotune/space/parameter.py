"""Parameter and its kinds: choice, integer, power_of_two, boolean, env; how they make up a space lives elsewhere."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeGuard

from autotune.errors import SpaceError, UserError
from autotune.space.constraint import name_of
from autotune.values import Scalar, to_scalar

ValueTest = Callable[[Any], Any]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SHOWN_VALUES = 12
_MOST_OUTCOMES = 10_000


@dataclass(frozen=True, slots=True)
class Condition:
    """When a parameter is active: its parent has one of some values, or one that a predicate accepts."""

    parent: str
    test: tuple[Scalar, ...] | ValueTest

    def holds(self, value: Scalar) -> bool:
        """Whether the parent's value makes the parameter active."""
        if isinstance(self.test, tuple):
            return value in self.test
        try:
            return bool(self.test(value))
        except Exception as error:
            raise SpaceError(
                f"the condition {self.text} raised {type(error).__name__}: {error} for {value!r}; "
                f"it must return True or False for every value of {self.parent}."
            ) from error

    def check(self, child: str, parent: Parameter) -> None:
        """Raises SpaceError where it names a value that the parent never takes."""
        for value in self.test if isinstance(self.test, tuple) else ():
            if value not in parent.values:
                raise SpaceError(
                    f"{child} is active when {self.text}, but {self.parent} is never {value!r}; "
                    f"{self.parent} is one of {parent.text}."
                )

    def outcomes(self, parent: Parameter) -> list[int] | str:
        """The indices of the parent's values for which it holds; its text where these are too many to tell."""
        if len(parent.values) > _MOST_OUTCOMES:
            return self.text
        return [i for i, value in enumerate(parent.values) if self.holds(value)]

    @property
    def text(self) -> str:
        """`mode is 'a' or 'b'`, `num_workers passes is_positive`."""
        if isinstance(self.test, tuple):
            return f"{self.parent} is {' or '.join(map(repr, self.test))}"
        return f"{self.parent} passes {name_of(self.test)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What may be chosen for one name of a space; made by `choice`, `integer`, `power_of_two`, `boolean` or `env`."""

    values: Sequence[Scalar]
    """A tuple, or a `range` for integers; distinct."""
    default: Scalar
    ordinal: bool
    """Whether neighbouring values are alike."""
    env: str | None = None
    """The environment variable that carries the value, set before the process starts."""
    conditions: tuple[Condition, ...] = ()
    """All must hold for it to be active; an inactive parameter is absent from the configuration."""

    def when(self, /, **parents: Scalar | Collection[Scalar] | ValueTest) -> Self:
        """The same, active only where each parent has the value, one of the values, or one that a predicate accepts."""
        if not parents:
            raise SpaceError("when() names no parent; expected one such as when(num_workers=lambda n: n > 0).")
        added = tuple(Condition(parent, _test(parent, wanted)) for parent, wanted in parents.items())
        return replace(self, conditions=self.conditions + added)

    def active(self, chosen: Mapping[str, Scalar]) -> bool:
        """Whether the values chosen for its parents make it active; an inactive parent never does."""
        return all(c.parent in chosen and c.holds(chosen[c.parent]) for c in self.conditions)

    def index(self, value: Scalar) -> int:
        """The place of the value among `values`; raises ValueError where it is none of them."""
        if isinstance(self.values, range) and isinstance(value, float) and value.is_integer():
            value = int(value)  # a range finds an int at once, but looks for a float one by one
        return self.values.index(value)

    def take(self, name: str, value: Any) -> Scalar:
        """The declared value that equals the one given; SpaceError with the allowed ones where none does."""
        try:
            return self.values[self.index(_scalar(name, value))]
        except ValueError:
            raise SpaceError(f"{name}={value!r} is not allowed; {name} is one of {self.text}.") from None

    def fingerprint(self, parameters: Mapping[str, Parameter]) -> list[Any]:
        """What tells it from any other, as plain values for JSON: values, variable, and when it is active."""
        values = (
            ["range", self.values.start, self.values.stop, self.values.step]
            if isinstance(self.values, range)
            else list(self.values)
        )
        return [values, self.env, [[c.parent, c.outcomes(parameters[c.parent])] for c in self.conditions]]

    @property
    def text(self) -> str:
        """The values as a person reads them: `16, 32, 64`, `1 to 8`, `0 to 100 step 10`."""
        if isinstance(self.values, range) and len(self.values) > 2:
            step = f" step {self.values.step}" if self.values.step != 1 else ""
            return f"{self.values[0]} to {self.values[-1]}{step}"
        shown = [repr(value) for value in self.values[:_SHOWN_VALUES]]
        more = [f"… {len(self.values)} in all"] if len(self.values) > _SHOWN_VALUES else []
        return ", ".join(shown + more)


def choice(*values: Any, default: Any = ...) -> Parameter:
    """One of the values, in the order given; ordinal where they are ascending or descending numbers."""
    if not values:
        raise SpaceError("choice() has no values; expected some, such as choice(16, 32, 64).")
    if len(values) == 1 and isinstance(values[0], (list, tuple, set, frozenset, range)):
        raise SpaceError(f"choice({values[0]!r}) holds a collection; give the values themselves, as in choice(16, 32).")
    return listed(values, default)


def listed(values: Sequence[Any], default: Any = ...) -> Parameter:
    """The parameter that takes exactly these values; the first is the default unless one is given."""
    scalars = tuple(_scalar("a value of choice()", value) for value in values)
    seen: set[Scalar] = set()
    for value in scalars:
        if value in seen:
            raise SpaceError(f"choice() has {value!r} twice (1, 1.0 and True are the same); give each value once.")
        seen.add(value)
    return _with_default(Parameter(values=scalars, default=scalars[0], ordinal=_monotonic(scalars)), default, "choice")


def integer(low: int, high: int, step: int = 1, default: Any = ...) -> Parameter:
    """A whole number from `low` to `high`, both allowed, in steps from `low`."""
    low, high, step = (_whole(name, n, "integer") for name, n in (("low", low), ("high", high), ("step", step)))
    if low > high:
        raise SpaceError(f"integer({low}, {high}) is empty; expected low <= high.")
    if step < 1:
        raise SpaceError(f"integer({low}, {high}, step={step}): the step must be at least 1.")
    values = range(low, high + 1, step)
    return _with_default(Parameter(values=values, default=low, ordinal=True), default, "integer")


def power_of_two(low: int, high: int, default: Any = ...) -> Parameter:
    """A power of two from `low` to `high`, both allowed and powers of two themselves."""
    low, high = _whole("low", low, "power_of_two"), _whole("high", high, "power_of_two")
    for bound in (low, high):
        if bound < 1 or bound & (bound - 1):
            below = 1 << max(1, bound).bit_length() - 1
            near = f"did you mean {below} or {below * 2}?"
            raise SpaceError(f"power_of_two({low}, {high}): {bound} is no power of two; {near}")
    if low > high:
        raise SpaceError(f"power_of_two({low}, {high}) is empty; expected low <= high.")
    values = tuple(1 << e for e in range(low.bit_length() - 1, high.bit_length()))
    return _with_default(Parameter(values=values, default=low, ordinal=True), default, "power_of_two")


def boolean(default: bool = False) -> Parameter:
    """False or True."""
    return _with_default(Parameter(values=(False, True), default=False, ordinal=False), default, "boolean")


def env(variable: str, parameter: Parameter) -> Parameter:
    """The same parameter, handed over in an environment variable: `env("NCCL_NTHREADS", choice(None, 128, 256))`.

    None leaves the variable unset; True and False are written as 1 and 0.
    """
    if not isinstance(variable, str) or not _VARIABLE.match(variable):
        raise SpaceError(f"env({variable!r}, …): expected the name of a variable, such as 'NCCL_NTHREADS'.")
    if not isinstance(parameter, Parameter):
        raise SpaceError(f"env({variable!r}, {parameter!r}): expected a parameter, such as choice(None, 128, 256).")
    return replace(parameter, env=variable)


def _with_default(parameter: Parameter, default: Any, kind: str) -> Parameter:
    if default is ...:
        return parameter
    try:
        return replace(parameter, default=parameter.take("default", default))
    except SpaceError:
        raise SpaceError(f"{kind}(…, default={default!r}): the default must be one of {parameter.text}.") from None


def _scalar(what: str, value: Any) -> Scalar:
    try:
        scalar = to_scalar(what, value)
    except UserError as error:
        raise SpaceError(str(error)) from None
    if isinstance(scalar, float) and math.isnan(scalar):
        raise SpaceError(f"{what} is NaN, which equals nothing, itself included; leave it out.")
    return scalar


def _whole(name: str, value: Any, kind: str) -> int:
    number = _scalar(f"{name} of {kind}()", value)
    if isinstance(number, bool) or not isinstance(number, int):
        raise SpaceError(f"{kind}() has {name}={value!r}; expected a whole number.")
    return number


def is_number(value: Scalar) -> TypeGuard[int | float]:
    """Whether it is a number, which True and False are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _monotonic(values: Sequence[Scalar]) -> bool:
    numbers = [value for value in values if is_number(value)]
    return len(numbers) == len(values) and numbers in (sorted(numbers), sorted(numbers, reverse=True))


def _test(parent: str, wanted: Any) -> tuple[Scalar, ...] | ValueTest:
    if isinstance(wanted, (tuple, list, set, frozenset, range)):
        values = tuple(_scalar(f"when({parent}=…)", value) for value in wanted)
        if not values:
            raise SpaceError(f"when({parent}={wanted!r}) never holds; give the values that make the parameter active.")
        return tuple(sorted(values, key=repr)) if isinstance(wanted, (set, frozenset)) else values
    if callable(wanted):
        return wanted  # type: ignore[no-any-return]
    return (_scalar(f"when({parent}=…)", wanted),)
