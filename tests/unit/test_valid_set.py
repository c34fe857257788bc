import itertools
import random
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from autotune.errors import SpaceError
from autotune.space import SearchSpace, boolean, choice, integer, power_of_two
from autotune.values import Config, Problem

from .brute_force import allows, declared, predicate, programs, spaces

RELAXED = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(params=["in the diagram", "outside"])
def constraints_are(request, monkeypatch):
    """The same must hold whether the constraints fit into the diagram or are applied to what it gives."""
    if request.param == "outside":
        monkeypatch.setattr("autotune.solver.STEPS", 0)
        monkeypatch.setattr("autotune.solver._PROBES", 4)
        monkeypatch.setattr("autotune.valid_set._MOST_DRAWS", 10)  # few enough to need the search now and then
        monkeypatch.setattr("autotune.valid_set._REJECTED_IN_A_ROW", 20)
    return request.param


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


def distance(space, wish, config):
    """As the documentation of `nearest` puts it."""
    differing, apart = 0, 0.0
    for name in config:
        parameter = space.parameters[name]
        here, there = parameter.index(config[name]), parameter.index(wish.get(name, parameter.default))
        if here != there:
            differing += name in wish
            apart += abs(here - there) / (len(parameter.values) - 1) if parameter.ordinal else 1.0
    return differing, pytest.approx(apart)


@RELAXED
@given(one=declared(), data=st.data())
def test_the_nearest_come_by_distance_and_each_comes_once(constraints_are, one, data):
    assume(one.valid)
    names = data.draw(st.sets(st.sampled_from(list(one.space.parameters))))
    wish = {name: data.draw(st.sampled_from(list(one.space.parameters[name].values))) for name in sorted(names)}
    found = list(one.bind().nearest(wish))
    assert sorted(config.text for config in found) == sorted(config.text for config in one.valid)
    wanted = sorted(((d, a.expected) for d, a in (distance(one.space, wish, c) for c in one.valid)))
    assert [distance(one.space, wish, config) for config in found] == wanted


def is_neighbour(space, config, other, changed):
    """Whether only `changed` has another value, parameters that it switches on or off aside."""
    shared = config.keys() & other.keys()
    return changed in shared and [name for name in shared if config[name] != other[name]] == [changed]


@RELAXED
@given(one=declared(), data=st.data())
def test_neighbours_differ_in_one_value(constraints_are, one, data):
    assume(one.valid)
    config = data.draw(st.sampled_from(one.configs))
    found = one.bind().neighbours(config)
    reached = set()
    for changed in config:
        for value in one.space.parameters[changed].values:
            candidates = [
                c for c in one.valid if c.get(changed) == value and is_neighbour(one.space, config, c, changed)
            ]
            got = [c for c in found if is_neighbour(one.space, config, c, changed) and c[changed] == value]
            assert len(got) == min(1, len(candidates))
            reached.update(got)
            at_default = [
                c for c in candidates if all(c[n] == one.space.parameters[n].default for n in c.keys() - config)
            ]
            assert not at_default or got == at_default
    assert set(found) == reached
    assert len(found) == len(reached)


@RELAXED
@given(space=spaces(most=3), data=st.data())
def test_listed_configurations_are_filtered_in_the_same_way(constraints_are, space, data):
    every = [dict(config) for config in space.bind({}, None)]
    rows = data.draw(st.lists(st.sampled_from(every), min_size=1, max_size=20, unique_by=str))
    joined = SearchSpace(y=boolean()) | SearchSpace.of(rows) | SearchSpace(z=integer(1, 2))
    assert joined.size == 4 * len(rows)
    chosen = data.draw(st.lists(programs(list(joined.parameters)), max_size=2))
    configs = [Config(y=y, **row, z=z) for y in (False, True) for row in rows for z in (1, 2)]
    kept = {config for config in configs if all(allows(program, config) for program in chosen)}
    assume(kept)
    valid = joined.where(*map(predicate, chosen)).bind({}, None)
    found = list(valid)
    assert len(found) == len(set(found))
    assert set(found) == kept
    assert [config for config in configs if config in valid] == [config for config in configs if config in kept]


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
    monkeypatch.setattr("autotune.solver.STEPS", steps)
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


def test_newly_active_parameters_take_their_default_or_the_nearest_valid_value():
    space = SearchSpace(
        workers=integer(0, 3), prefetch=integer(1, 8, default=4).when(workers=lambda n: n > 0), pin=boolean()
    )
    valid = space.where(lambda config: config.prefetch > 3 * config.workers).bind({}, None)
    assert valid.neighbours({"workers": 0, "pin": True}) == [
        Config(workers=1, prefetch=4, pin=True),
        Config(workers=2, prefetch=7, pin=True),
        Config(workers=0, pin=False),
    ]


def test_the_nearest_prefers_few_changes_then_small_ones():
    space = SearchSpace(tile=power_of_two(16, 256), warps=choice(1, 2, 4), mode=choice("x", "y"))
    valid = space.where(lambda config: config.tile * config.warps <= 128).bind({}, None)
    found = list(itertools.islice(valid.nearest({"tile": 256, "warps": 4, "mode": "x"}), 5))
    assert [tuple(config.values()) for config in found] == [
        (32, 4, "x"),
        (16, 4, "x"),
        (64, 2, "x"),
        (32, 2, "x"),
        (128, 1, "x"),
    ]


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


def test_a_constraint_that_rejects_everything_is_named():
    space = SearchSpace(x=integer(1, 8)).where(lambda config: config.x > 0, reason="positive")
    with pytest.raises(
        SpaceError, match=r"valid for m=64 on H200: lambda at .* \(too small\) rejects every one. Relax it"
    ):
        space.where(lambda config: config.x > 9, reason="too small").bind({"m": 64}, Gpu())


class Gpu:
    sku = "H200"


def test_the_constraint_that_empties_the_rest_is_named_with_those_before_it():
    def high(config):
        return config.x > 6

    def odd(config):
        return config.x % 2 == 1

    def low(config):
        return config.x < 7

    with pytest.raises(SpaceError, match="low rejects every one that high and odd leave"):
        SearchSpace(x=integer(1, 8)).where(high, odd, low).bind({}, None)


def test_rejected_shares_are_exact_for_small_spaces():
    def few(config):
        """At most four."""
        return config.a <= 4

    space = SearchSpace(a=integer(0, 9), b=integer(0, 9)).where(
        few, lambda config: config.b % config.a == 0 or config.a > 4
    )
    with pytest.raises(SpaceError, match="ZeroDivisionError"):
        space.bind({}, None)
    space = SearchSpace(a=integer(1, 10), b=integer(0, 9)).where(few, lambda config: config.a < 11)
    first, second = space.bind({}, None).rejections(random.Random(0))
    assert (first.constraint.reason, first.share, first.exact, first.example) == (
        "At most four.",
        0.6,
        True,
        Config(a=5, b=0),
    )
    assert (second.share, second.example) == (0, None)


def test_rejected_shares_are_estimated_for_large_spaces():
    space = SearchSpace(a=integer(1, 1000), b=integer(1, 1000)).where(lambda config: config.a <= 250)
    (found,) = space.bind({}, None).rejections(random.Random(0))
    assert not found.exact
    assert found.share == pytest.approx(0.75, abs=0.05)
    assert found.example.a > 250


def test_shares_leave_out_what_a_constraint_cannot_take_and_another_rejects():
    space = SearchSpace(split=integer(0, 3)).where(
        lambda config: 6 % config.split == 0, lambda config: config.split > 0
    )
    assert [found.share for found in space.bind({}, None).rejections(random.Random(0))] == [0, 0.25]


def nine(**more):
    return SearchSpace(**{name: integer(1, 10) for name in "abcdefghi"}, **more)


def local(space):
    return space.where(
        lambda config: config.a * config.b <= 30,
        lambda config: config.c % config.d == 0,
        lambda config: config.a <= config.c,
        lambda config: config.e + config.f > 5,
        lambda config: config.g * config.h * config.i < 200,
    )


BIG = {
    "local constraints": (local(nine()), True),
    "one that reads everything": (nine().where(lambda config: sum(config.values()) <= 45), False),
    "both": (local(nine()).where(lambda config: sum(config.values()) <= 45), False),
}


@pytest.mark.parametrize("name", BIG)
def test_a_billion_configurations_construct_and_sample_quickly(name):
    space, exact = BIG[name]
    started = time.perf_counter()
    valid = space.bind({}, None)
    rng = random.Random(1)
    samples = {valid.sample(rng) for _ in range(1000)}
    assert time.perf_counter() - started < 5
    assert (space.size, valid.exact) == (10**9, exact)
    assert len(samples) > 990
    assert all(space.rejection(config, Problem(), None) is None for config in itertools.islice(samples, 50))


def test_the_size_is_estimated_where_it_is_not_exact():
    valid = nine().where(lambda config: sum(config.values()) <= 45).bind({}, None)
    assert valid.share == pytest.approx(0.3238, rel=0.25)  # 323,822,675 by convolution
    assert valid.share == valid.size / 10**9


def test_a_needle_is_found_from_the_default():
    space = nine().where(lambda config: sum(config.values()) >= 86).with_default(**dict.fromkeys("abcdefghi", 10))
    valid = space.bind({}, None)
    assert (valid.exact, valid.default_is_declared) == (False, True)
    samples = {valid.sample(random.Random(seed)) for seed in range(3)}
    assert len(samples) > 1
    assert all(config in valid for config in samples)


def test_a_million_configurations_make_columns_quickly():
    valid = nine().where(lambda config: config.a == config.b == config.c, lambda config: config.d == 5).bind({}, None)
    assert valid.size == 10**6
    started = time.perf_counter()
    columns = valid.columns()
    assert time.perf_counter() - started < 2
    assert {len(column) for column in columns.values()} == {10**6}


def test_ten_thousand_listed_configurations_are_held_quickly():
    rng = random.Random(0)
    lengths = (2, 3, 4, 5, 8, 4, 2, 6, 3, 5)
    rows = {tuple(rng.randrange(length) for length in lengths) for _ in range(11_130)}
    configs = [dict(zip("abcdefghij", row, strict=True)) for row in rows]
    started = time.perf_counter()
    valid = SearchSpace.of(configs).bind({}, None)
    assert time.perf_counter() - started < 2
    assert (valid.size, valid.exact) == (len(rows), True)
    assert all(config in valid for config in configs)


def test_slow_predicates_end_outside_the_diagram(monkeypatch):
    monkeypatch.setattr("autotune.solver.SECONDS", 0.05)

    def slow(config):
        time.sleep(0.0002)
        return config.a + config.b + config.c < 60

    assert not SearchSpace(a=integer(1, 30), b=integer(1, 30), c=integer(1, 30)).where(slow).bind({}, None).exact
