import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.errors import SpaceError
from autotune.space import SearchSpace, boolean, integer
from autotune.space.solver import build, find, solve
from autotune.space.walk import Budget, OverBudget
from autotune.values import Problem

from .brute_force import declared


def bound(space):
    return [(constraint, constraint.bound(Problem(), None)) for constraint in space.constraints]


def values(space, indices):
    items = zip(space.parameters.items(), indices, strict=True)
    return {name: parameter.values[index] for (name, parameter), index in items if index >= 0}


@settings(max_examples=200, deadline=None)
@given(one=declared(), seed=st.integers(0, 3), split=st.integers(0, 3))
def test_a_search_finds_a_valid_configuration_where_there_is_one(one, seed, split):
    constraints = bound(one.space)
    root = build(one.space.layout, constraints[:split])
    found = root and find(one.space.layout, root, constraints[split:], random.Random(seed), Budget(10**6, 60))
    assert (found is not None) == bool(one.valid)
    assert found is None or values(one.space, found) in one.valid


def test_a_search_does_not_repeat_a_failure_whose_cause_it_knows():
    calls = 0

    def impossible(config):
        nonlocal calls
        calls += 1
        return config.first + config.last > 9

    names = {f"x{i}": integer(1, 10) for i in range(8)}
    space = SearchSpace(first=integer(1, 4), **names, last=integer(1, 5)).where(impossible)
    assert find(space.layout, space.diagram, bound(space), random.Random(0), Budget(10**5, 60)) is None
    assert calls < 200


def test_a_search_knows_that_a_failure_may_have_another_end_elsewhere():
    space = SearchSpace(first=integer(1, 9), middle=integer(1, 9), last=integer(1, 9)).where(
        lambda config: config.last == config.first * 2 and config.first > 3
    )
    found = {
        tuple(find(space.layout, space.diagram, bound(space), random.Random(seed), Budget(10**5, 60))[::2])
        for seed in range(9)
    }
    assert found == {(3, 7)}


def test_a_diagram_shares_what_does_not_depend_on_what_came_before():
    calls = 0

    def near(config):
        nonlocal calls
        calls += 1
        return abs(config.a - config.z) <= 1

    names = {f"x{i}": integer(1, 10) for i in range(8)}
    space = SearchSpace(a=integer(1, 10), **names, z=integer(1, 10)).where(near)
    root, outside = solve(space.layout, bound(space))
    assert (root.count, outside) == (28 * 10**8, [])
    assert calls == 1 + 10 + 10 * 10


def test_whether_a_parameter_is_active_is_what_counts_of_its_parent():
    calls = 0

    def small(config):
        nonlocal calls
        calls += 1
        return config.y < 5

    space = SearchSpace(x=integer(0, 999), y=integer(1, 9).when(x=lambda x: x > 9), z=boolean()).where(small)
    root, _ = solve(space.layout, bound(space))
    assert root.count == (10 + 990 * 4) * 2
    assert calls == 1 + 1 + 9


def test_over_its_budget_the_widest_constraints_stay_outside():
    def narrow(config):
        return config.a + config.b < 9

    def wide(config):
        return config.a + config.b + config.c + config.d + config.e + config.f < 40

    space = SearchSpace(**{name: integer(1, 10) for name in "abcdef"}).where(narrow, wide)
    root, outside = solve(space.layout, bound(space))
    assert (root.count, [constraint.name for constraint, _ in outside]) == (28 * 10**4, ["wide"])


def test_a_constraint_that_needs_the_guard_of_one_outside_goes_outside_too(monkeypatch):
    def guard(config):
        return config.a > 0 and config.b + config.c + config.d >= 0

    def guarded(config):
        return 6 % config.a == 0

    space = SearchSpace(**{name: integer(0, 9) for name in "abcd"}).where(guard, guarded)
    monkeypatch.setattr("autotune.space.solver.STEPS", 2_000)
    root, outside = solve(space.layout, bound(space))
    assert (root.count, [constraint.name for constraint, _ in outside]) == (10**4, ["guard", "guarded"])
    assert {config.a for config in space.bind({}, None)} == {1, 2, 3, 6}


def test_a_budget_ends_the_search():
    space = SearchSpace(**{name: integer(1, 10) for name in "abcdef"}).where(lambda config: sum(config.values()) > 60)
    with pytest.raises(OverBudget):
        build(space.layout, bound(space), Budget(1_000, 60))
    with pytest.raises(OverBudget):
        find(space.layout, space.diagram, bound(space), random.Random(0), Budget(1_000, 60))
    with pytest.raises(OverBudget):
        build(space.layout, bound(space), Budget(10**9, 0))


def test_a_predicate_that_raises_on_valid_configurations_is_told():
    space = SearchSpace(a=integer(0, 3), b=integer(0, 3)).where(lambda config: config.b / config.a < 9)
    with pytest.raises(SpaceError, match="raised ZeroDivisionError: division by zero for a=0"):
        solve(space.layout, bound(space))
