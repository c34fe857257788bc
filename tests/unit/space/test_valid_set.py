import random
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autotune.errors import SpaceError
from autotune.space import SearchSpace, boolean, choice, integer, power_of_two
from autotune.values import Config, Problem

from .brute_force import RELAXED, declared


@RELAXED
@given(one=declared())
def test_it_is_what_brute_force_finds(constraints_are, one):
    if not one.valid:
        with pytest.raises(SpaceError, match="no configuration"):
            one.bind()
        return
    valid = one.bind()
    assert list(valid) == one.valid
    assert one.space.size == len(one.configs)
    assert [config in valid for config in one.configs] == [config in set(one.valid) for config in one.configs]
    assert [valid.nth(rank) for rank in range(len(one.valid))] == one.valid
    assert valid.exact == (constraints_are == "in the diagram" or not one.programs)
    if valid.exact:
        assert (valid.size, valid.share) == (len(one.valid), len(one.valid) / len(one.configs))


@RELAXED
@given(one=declared(), seed=st.integers(0, 9))
def test_samples_and_the_default_are_valid(constraints_are, one, seed):
    assume(one.valid)
    valid = one.bind()
    rng = random.Random(seed)
    assert all(valid.sample(rng) in one.valid for _ in range(20))
    assert valid.default in one.valid
    assert valid.default_is_declared == (one.space.default in one.valid)
    assert not valid.default_is_declared or valid.default == one.space.default


@RELAXED
@given(one=declared())
def test_columns_are_the_configurations_as_value_indices(constraints_are, one):
    assume(one.valid)
    columns = one.bind().columns()
    assert list(columns) == list(one.space.parameters)
    rows = [
        {name: one.space.parameters[name].values[i] for name, i in zip(columns, row, strict=True) if i >= 0}
        for row in zip(*columns.values(), strict=True)
    ]
    assert rows == one.valid


def chi_square_is_plausible(valid, configs, draws):
    """Below the 99.9 % quantile, by the approximation of Wilson and Hilferty (1931)."""
    rng, freedom = random.Random(5), len(configs) - 1
    seen = Counter(valid.sample(rng).text for _ in range(draws))
    assert seen.keys() <= {config.text for config in configs}
    expected = draws / len(configs)
    statistic = sum((seen[config.text] - expected) ** 2 / expected for config in configs)
    return statistic < freedom * (1 - 2 / (9 * freedom) + 3.09 * (2 / (9 * freedom)) ** 0.5) ** 3


def uneven():
    """Its sub-trees differ much in size, and a third of it is invalid."""
    return SearchSpace(
        mode=choice("a", "b", "c"),
        wide=integer(1, 9).when(mode="a"),
        narrow=boolean().when(mode=("a", "b")),
        last=integer(0, 3),
    ).where(lambda config: config.last < 3 or config.mode != "b", lambda config: (config.wide + config.last) % 3 > 0)


@pytest.mark.parametrize("steps", [10_000, 0])
def test_samples_are_uniform_over_the_valid_configurations(monkeypatch, steps):
    monkeypatch.setattr("autotune.space.solver.STEPS", steps)
    valid = uneven().bind({}, None)
    assert valid.exact == bool(steps)
    assert chi_square_is_plausible(valid, list(valid), draws=50 * len(list(valid)))


def test_the_same_seed_gives_the_same_samples():
    one, other = (uneven().bind({}, None) for _ in range(2))
    assert [one.sample(random.Random(3)) for _ in range(9)] == [other.sample(random.Random(3)) for _ in range(9)]


def test_problem_and_device_reach_the_predicates():
    space = SearchSpace(block=power_of_two(1, 64)).where(
        lambda config, problem, device: config.block * problem.m <= device
    )
    assert [config.block for config in space.bind(Problem(m=4), 32)] == [1, 2, 4, 8]


def test_what_is_decided_without_the_configuration_decides_at_once():
    space = SearchSpace(x=integer(1, 10**9)).where(lambda problem: problem.m > 1, reason="m is large")
    assert space.bind({"m": 2}, None).size == 10**9
    with pytest.raises(SpaceError, match=r"m is large\) rejects every one"):
        space.bind({"m": 1}, None)


def test_a_parameter_that_nothing_reads_costs_nothing():
    space = SearchSpace(a=integer(1, 10**6), b=integer(1, 9), c=integer(1, 10**12))
    valid = space.where(lambda config: config.b > 3).bind({}, None)
    assert valid.size == 10**6 * 6 * 10**12
    assert valid.nth(10**18) == Config(a=166667, b=8, c=1)
    assert len(valid.neighbours(valid.default)) == 256 + 5 + 256


def test_an_invalid_default_is_replaced_by_the_nearest_valid_one():
    space = SearchSpace(tile=power_of_two(16, 256), warps=choice(1, 2, 4)).with_default(tile=256, warps=4)
    valid = space.where(lambda config: config.tile * config.warps <= 256).bind({}, None)
    assert (valid.default, valid.default_is_declared) == (Config(tile=64, warps=4), False)
    assert space.bind({}, None).default_is_declared


def test_foreign_configurations_are_not_members():
    valid = SearchSpace(x=integer(1, 3)).bind({}, None)
    assert all(other not in valid for other in ({"x": 4}, {"y": 1}, {"x": 1, "y": 1}, {}, "x", None, {"x": [1]}))
    assert {"x": 1} in valid


def test_a_place_beyond_the_end_is_an_index_error():
    valid = SearchSpace(x=integer(1, 3)).bind({}, None)
    for rank in (-1, 3):
        with pytest.raises(IndexError, match="there are 3"):
            valid.nth(rank)


def test_a_space_without_parameters_has_one_configuration():
    valid = SearchSpace().bind({}, None)
    assert (list(valid), valid.size, valid.columns(), valid.neighbours({})) == ([Config()], 1, {}, [])
    assert list(valid.nearest({})) == [Config()]
