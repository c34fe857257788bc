import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autotune.errors import SpaceError
from autotune.space import SearchSpace, boolean, integer
from autotune.values import Config, Problem

from .brute_force import RELAXED, allows, predicate, programs, spaces

PROBLEM = Problem(m=64)


def test_a_listed_space_has_exactly_the_listed_configurations():
    rows = [{"tp": 4, "pp": 1}, {"tp": 1, "pp": 4}, {"tp": 2, "pp": 2}, {"tp": 1, "pp": 4}]
    space = SearchSpace.of(rows)
    assert space.parameters["tp"].values == (1, 2, 4)
    assert space.parameters["tp"].ordinal
    assert (space.size, space.default) == (3, Config(tp=4, pp=1))
    assert list(space.bind(PROBLEM, None)) == [Config(tp=1, pp=4), Config(tp=2, pp=2), Config(tp=4, pp=1)]
    assert list(space.where(lambda config: config.tp > 1).bind(PROBLEM, None)) == [
        Config(tp=2, pp=2),
        Config(tp=4, pp=1),
    ]


def test_listed_names_keep_their_order_of_appearance():
    space = SearchSpace.of([{"mode": "tree", "n": 8}, {"mode": "ring", "n": 2}])
    assert space.parameters["mode"].values == ("tree", "ring")
    assert not space.parameters["mode"].ordinal


def test_a_listed_configuration_may_lack_parameters():
    space = SearchSpace.of([{"mode": "a", "x": 1}, {"mode": "b"}, {"mode": "b", "x": 2}])
    assert list(space.bind(PROBLEM, None)) == [Config(mode="a", x=1), Config(mode="b"), Config(mode="b", x=2)]
    assert Config(mode="b") in space.bind(PROBLEM, None)
    assert Config(mode="a") not in space.bind(PROBLEM, None)
    assert space.config({"mode": "b"}) == Config(mode="b")
    with pytest.raises(SpaceError, match="mode=a is none of the 3 configurations that the space lists"):
        space.config({"mode": "a"})


def test_a_listed_space_joins_others():
    layouts = SearchSpace.of([{"tp": 1, "pp": 4}, {"tp": 4, "pp": 1}, {"tp": 2, "pp": 2}])
    space = SearchSpace(batch=integer(1, 3)) | layouts | SearchSpace(recompute=boolean())
    assert space.size == 3 * 3 * 2
    assert space.with_default(tp=2, batch=3).default == Config(batch=3, tp=2, pp=2, recompute=False)
    valid = space.where(lambda config: config.batch <= config.tp).bind(PROBLEM, None)
    assert (valid.size, len(set(valid))) == ((1 + 2 + 3) * 2, 12)
    two = layouts | SearchSpace.of([{"ep": 1, "etp": 2}, {"ep": 2, "etp": 1}])
    assert (two.size, len(set(two.bind(PROBLEM, None)))) == (6, 6)


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
