import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autotune.space import SearchSpace, boolean, choice, integer, power_of_two
from autotune.values import Config

from .brute_force import RELAXED, declared


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
