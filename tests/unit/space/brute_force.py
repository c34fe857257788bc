"""Small random spaces, and what is valid in them by trying everything; shared by the tests of the valid set."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from autotune.space import SearchSpace, boolean, choice, integer
from autotune.values import Config, Problem

NAMES = "abcde"

RELAXED = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)


class Inactive(Exception):
    """A predicate reads an inactive parameter."""


class Complete(dict[str, Any]):
    """A configuration as the predicates of `programs` read it, without any of the machinery under test."""

    def __missing__(self, name):
        raise Inactive


@dataclass
class Declared:
    """A space, how it was declared, and its valid configurations by brute force, in order."""

    space: SearchSpace
    programs: list[Any]
    configs: list[Config] = field(init=False)
    valid: list[Config] = field(init=False)

    def __post_init__(self):
        self.configs = [Config(c) for c in every(self.space)]
        self.valid = [c for c in self.configs if all(allows(program, c) for program in self.programs)]

    def bind(self):
        return self.space.bind(Problem(), None)


def every(space):
    """All configurations, by the definition of when a parameter is active; listed spaces list their own."""
    chosen = [{}]
    for name, parameter in space.parameters.items():
        grown = []
        for config in chosen:
            active = all(c.parent in config and c.holds(config[c.parent]) for c in parameter.conditions)
            grown += [{**config, name: value} for value in parameter.values] if active else [config]
        chosen = grown
    return chosen


def allows(program, config):
    try:
        return bool(run(program, Complete(config)))
    except Inactive:
        return True


def run(program, config):
    """Interpret a predicate: it short-circuits as Python does, so what it reads depends on what it has read."""
    kind, *rest = program
    match kind:
        case "at_most":
            return number(config[rest[0]]) <= rest[1]
        case "same":
            return number(config[rest[0]]) % 2 == number(config[rest[1]]) % 2
        case "sum":
            return sum(number(config[name]) for name in rest[0]) <= rest[1]
        case "total":
            return sum(map(number, config.values())) % 3 != rest[0]
        case "active":
            return rest[0] in config
        case "get":
            return number(config.get(rest[0], 2)) >= rest[1]
        case "fewer":
            return len(config) <= rest[0]
        case "not":
            return not run(rest[0], config)
        case "and":
            return run(rest[0], config) and run(rest[1], config)
        case "or":
            return run(rest[0], config) or run(rest[1], config)
        case "if":
            return run(rest[1 if run(rest[0], config) else 2], config)
    raise AssertionError(kind)


def number(value):
    return len(value) if isinstance(value, str) else int(value or 0)


def predicate(program):
    return lambda config: run(program, config)


def programs(names):
    name, limit = st.sampled_from(names), st.integers(0, 4)
    leaves = st.one_of(
        st.tuples(st.just("at_most"), name, limit),
        st.tuples(st.just("same"), name, name),
        st.tuples(st.just("sum"), st.lists(name, min_size=1, max_size=4), st.integers(0, 8)),
        st.tuples(st.just("total"), st.integers(0, 2)),
        st.tuples(st.just("active"), name),
        st.tuples(st.just("get"), name, limit),
        st.tuples(st.just("fewer"), st.integers(1, 4)),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(st.just("not"), inner),
            st.tuples(st.sampled_from(["and", "or"]), inner, inner),
            st.tuples(st.just("if"), inner, inner, inner),
        ),
        max_leaves=5,
    )


KINDS = st.one_of(
    st.builds(
        lambda low, width, step: integer(low, low + width, step),
        st.integers(0, 2),
        st.integers(0, 4),
        st.integers(1, 2),
    ),
    st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True).map(lambda values: choice(*values)),
    st.lists(st.sampled_from(["", "x", "yy", "zzz"]), min_size=1, max_size=3, unique=True).map(lambda v: choice(*v)),
    st.just(boolean()),
    st.just(boolean(True)),
)


@st.composite
def spaces(draw, most=5, fewest=1):
    """A space of a few parameters, some of them conditional on others declared before or after."""
    names = NAMES[: draw(st.integers(fewest, most))]
    order = draw(st.permutations(names))  # a parent is earlier here, not in the declaration
    parameters = {}
    for place, name in enumerate(order):
        parameter = draw(KINDS)
        for parent in draw(st.lists(st.sampled_from(order[:place]), max_size=2, unique=True)) if place else []:
            values = list(parameters[parent].values)
            wanted = draw(st.lists(st.sampled_from(values), min_size=1, unique=True))
            parameter = parameter.when(**{parent: wanted if draw(st.booleans()) else set(wanted).__contains__})
        parameters[name] = parameter
    return SearchSpace(**{name: parameters[name] for name in names})


@st.composite
def declared(draw):
    """A space with up to three predicates."""
    space = draw(spaces())
    chosen = draw(st.lists(programs(list(space.parameters)), max_size=3))
    return Declared(space.where(*map(predicate, chosen)), chosen)
