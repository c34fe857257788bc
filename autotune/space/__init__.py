"""SearchSpace: parameters, the constraints among them and the default; what of it is valid is found in `valid_set`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from autotune.errors import SpaceError, UserError, did_you_mean
from autotune.space.constraint import Assignment, Constraint, ConstraintFault, arguments_of, name_of
from autotune.space.decision_diagram import Layout, Node
from autotune.space.listing import Listing
from autotune.space.parameter import Parameter, boolean, choice, env, integer, power_of_two
from autotune.space.solver import build
from autotune.values import Config, Problem, Scalar

if TYPE_CHECKING:
    from autotune.device import Device
    from autotune.space.valid_set import ValidSet

__all__ = ["Constraint", "Parameter", "SearchSpace", "boolean", "choice", "env", "integer", "power_of_two"]

DefaultSource = Mapping[str, Any] | Callable[..., Mapping[str, Any]]
"""Values for some parameters, or a function of any of (problem, device) that gives them."""


class SearchSpace:
    """What may be chosen, and what must hold of it: `SearchSpace(block=power_of_two(16, 256)).where(fits)`.

    It never changes: `where`, `with_default` and `|` make a new one.
    """

    parameters: Mapping[str, Parameter]
    """By name, parents before their conditional children, else in the order declared."""
    constraints: tuple[Constraint, ...]

    def __init__(self, /, **parameters: Parameter) -> None:
        self._fill(parameters, (), (), ())

    @classmethod
    def of(cls, configs: Iterable[Mapping[str, Any]]) -> SearchSpace:
        """The space of exactly these configurations, the first of which is the default."""
        listing = Listing.of(configs)
        return cls.__new__(cls)._fill(listing.parameters, (), (), (listing,))

    def where(self, *predicates: Callable[..., Any] | Constraint, reason: str | None = None) -> SearchSpace:
        """The same space with more constraints: predicates of any of (config, problem, device), by these names.

        Why a predicate rejects is told by the first line of its docstring, else by `reason`, else by its name.
        """
        added = tuple(p if isinstance(p, Constraint) else Constraint.of(p, reason) for p in predicates)
        return self._with(constraints=tuple(dict.fromkeys(self.constraints + added)))

    def with_default(self, source: DefaultSource | None = None, /, **values: Any) -> SearchSpace:
        """The same space with another default for some parameters: values, or a function of (problem, device)."""
        added: list[DefaultSource] = []
        if callable(source):
            arguments_of(source, ("problem", "device"), "a default")
            added.append(source)
        elif source is not None:
            added.append(self.checked(source))
        return self._with(defaults=(*self._defaults, *added, self.checked(values)))

    def __or__(self, other: SearchSpace) -> SearchSpace:
        """Both together: constraints and defaults are joined, of equal names the right one counts."""
        if not isinstance(other, SearchSpace):
            return NotImplemented
        shared = self.parameters.keys() & other.parameters.keys()
        listed = {name for listing in self._listings + other._listings for name in listing.parameters}
        for name in sorted(shared & listed):
            raise SpaceError(f"both spaces have a {name!r}, and one lists its configurations; give one another name.")
        kept = tuple(
            {name: value for name, value in source.items() if name not in shared}
            if isinstance(source, Mapping)
            else source
            for source in self._defaults
        )
        return self._with(
            parameters={**self.parameters, **other.parameters},
            constraints=tuple(dict.fromkeys(self.constraints + other.constraints)),
            defaults=kept + other._defaults,
            listings=self._listings + other._listings,
        )

    @property
    def default(self) -> Config:
        """The declared default, so far as it depends on no problem; it may break a constraint."""
        return self.without_inactive(self._declared(source for source in self._defaults if isinstance(source, Mapping)))

    def default_for(self, problem: Problem, device: Device | None) -> Config:
        """The declared default for the problem on the device; it may break a constraint."""
        return self.without_inactive(self.declared_values(problem, device))

    def declared_values(self, problem: Problem, device: Device | None) -> dict[str, Scalar]:
        """What every parameter is by default, those included that are inactive in the default configuration."""
        return self._declared(_mapping(source, problem, device) for source in self._defaults)

    def without_inactive(self, values: Mapping[str, Scalar]) -> Config:
        """The configuration that values for every parameter make."""
        chosen: dict[str, Scalar] = {}
        for name, parameter in self.parameters.items():
            if name in values and parameter.active(chosen):
                chosen[name] = values[name]
        return Config(chosen)

    @property
    def size(self) -> int:
        """How many configurations there are, constraints left out."""
        return self.diagram.count

    @cached_property
    def diagram(self) -> Node:
        """All configurations, constraints left out."""
        root = build(self.layout, ())
        assert root is not None, "only constraints can empty a space"
        return root

    @cached_property
    def layout(self) -> Layout:
        """What diagrams of this space are over."""
        tables = {next(iter(listing.parameters)): listing.table for listing in self._listings if listing.parameters}
        return Layout(parameters=self.parameters, tables=tables, rows=sum(len(x.rows) for x in self._listings))

    def checked(self, values: Mapping[str, Any]) -> dict[str, Scalar]:
        """The values as they were declared, of any parameters; SpaceError where a name or a value was not."""
        for name in values:
            if name not in self.parameters:
                raise SpaceError(f"there is no parameter {name!r}; {did_you_mean(str(name), self.parameters)}")
        return {name: self.parameters[name].take(name, value) for name, value in values.items()}

    def config(self, values: Mapping[str, Any]) -> Config:
        """The values as a configuration of this space, constraints left out.

        Raises SpaceError where a name or value is not of this space, or a parameter is missing or inactive.
        """
        chosen, missing = self.checked(values), []
        listed = {name for listing in self._listings for name in listing.parameters}
        for name, parameter in self.parameters.items():
            inactive = self._inactive_because(parameter, chosen)
            if inactive and name in chosen:
                raise SpaceError(
                    f"{name}={values[name]!r} is set, but {name} is active only where {inactive}; leave it out."
                )
            if not (inactive or name in chosen or name in listed):
                missing.append(f"{name} (one of {parameter.text})")
        if missing:
            raise SpaceError(f"the configuration lacks {' and '.join(missing)}.")
        for listing in self._listings:
            if not listing.holds(chosen):
                text = Config({name: chosen[name] for name in listing.parameters if name in chosen}).text
                raise SpaceError(f"{text} is none of the {len(listing.rows)} configurations that the space lists.")
        return Config({name: chosen[name] for name in self.parameters if name in chosen})

    def rejection(self, config: Mapping[str, Scalar], problem: Problem, device: Device | None) -> str | None:
        """The reason of the first constraint that rejects the configuration; None where all allow it."""
        assignment = Assignment.complete(self.parameters, config)
        fault: ConstraintFault | None = None
        for constraint in self.constraints:
            try:
                if not constraint.judge(assignment, problem, device):
                    return constraint.reason
            except ConstraintFault as error:  # unless another constraint rejects what this one cannot take
                fault = fault or error
        if fault:
            raise fault
        return None

    def environment(self, config: Mapping[str, Scalar]) -> dict[str, str | None]:
        """The environment variables that carry the configuration; None where one is to be unset."""
        carried = {p.env: config[name] for name, p in self.parameters.items() if p.env and name in config}
        return {variable: _environment_text(value) for variable, value in carried.items()}

    @cached_property
    def fingerprint(self) -> str:
        """12 hexadecimal digits over parameters, listed configurations, and the constraints' names and reasons."""
        parts = [
            [[name, p.fingerprint(self.parameters)] for name, p in self.parameters.items()],
            [listing.rows for listing in self._listings],
            [[constraint.name, constraint.reason] for constraint in self.constraints],
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    def bind(self, problem: Mapping[str, Any], device: Device | None) -> ValidSet:
        """The configurations that are valid for a problem on a device; SpaceError where there are none."""
        from autotune.space.valid_set import ValidSet

        return ValidSet(self, problem if isinstance(problem, Problem) else Problem(problem), device)

    def __repr__(self) -> str:
        shown = "; ".join(f"{name}: {parameter.text}" for name, parameter in self.parameters.items())
        return f"<SearchSpace {shown}; {len(self.constraints)} constraints>"

    def _fill(
        self,
        parameters: Mapping[str, Parameter],
        constraints: tuple[Constraint, ...],
        defaults: tuple[DefaultSource, ...],
        listings: tuple[Listing, ...],
    ) -> SearchSpace:
        _check(parameters)
        self.parameters = MappingProxyType({name: parameters[name] for name in _ordered(parameters, listings)})
        self.constraints, self._defaults, self._listings = constraints, defaults, listings
        return self

    def _with(self, **changes: Any) -> SearchSpace:
        fields = {
            "parameters": self.parameters,
            "constraints": self.constraints,
            "defaults": self._defaults,
            "listings": self._listings,
        }
        return type(self).__new__(type(self))._fill(**(fields | changes))

    def _declared(self, sources: Iterable[Mapping[str, Any]]) -> dict[str, Scalar]:
        given: dict[str, Scalar] = {}
        for source in sources:
            given |= self.checked(source)
        listed = {name for listing in self._listings for name in listing.parameters}
        declared = {name: p.default for name, p in self.parameters.items() if name not in listed} | given
        for listing in self._listings:
            declared |= listing.default(given)
        return declared

    def _inactive_because(self, parameter: Parameter, chosen: Mapping[str, Scalar]) -> str | None:
        for condition in parameter.conditions:
            if condition.parent not in chosen or not condition.holds(chosen[condition.parent]):
                return condition.text
        return None


def _check(parameters: Mapping[str, Parameter]) -> None:
    try:
        Config(dict.fromkeys(parameters))
    except UserError as error:
        raise SpaceError(str(error)) from None
    variables: dict[str, str] = {}
    for name, parameter in parameters.items():
        if not isinstance(parameter, Parameter):
            raise SpaceError(f"{name}={parameter!r} is no parameter; expected one such as choice(16, 32, 64).")
        for condition in parameter.conditions:
            if condition.parent not in parameters:
                raise SpaceError(
                    f"{name} is active when {condition.text}, but there is no parameter {condition.parent!r}; "
                    f"{did_you_mean(condition.parent, parameters)}"
                )
            condition.check(name, parameters[condition.parent])
        if parameter.env and variables.setdefault(parameter.env, name) != name:
            raise SpaceError(
                f"{variables[parameter.env]} and {name} both set {parameter.env}; give each its own variable."
            )


def _ordered(parameters: Mapping[str, Parameter], listings: Iterable[Listing]) -> Iterator[str]:
    """Parents before children, and the parameters of a listing in one piece; else as they come."""
    pieces = {name: tuple(listing.parameters) for listing in listings for name in listing.parameters}
    placed: dict[str, None] = {}

    def place(name: str, children: tuple[str, ...]) -> None:
        if name in children:
            cycle = " -> ".join((*children[children.index(name) :], name))
            raise SpaceError(f"the conditions run in a circle: {cycle}; a parameter cannot depend on itself.")
        if name not in placed:
            for condition in parameters[name].conditions:
                place(condition.parent, (*children, name))
            placed.update(dict.fromkeys(pieces.get(name, (name,))))

    for name in parameters:
        place(name, ())
    return iter(placed)


def _mapping(source: DefaultSource, problem: Problem, device: Device | None) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        return source
    given = {"problem": problem, "device": device}
    try:
        values = source(**{name: given[name] for name in arguments_of(source, ("problem", "device"), "a default")})
    except Exception as error:
        raise SpaceError(
            f"the default {name_of(source)} raised {type(error).__name__}: {error} for {problem.text}."
        ) from error
    if not isinstance(values, Mapping):
        raise SpaceError(
            f"the default {name_of(source)} returned {values!r}; expected a mapping, such as {{'block_m': 128}}."
        )
    return values


def _environment_text(value: Scalar) -> str | None:
    if value is None:
        return None
    return str(int(value)) if isinstance(value, bool) else str(value)
