from autotune.space import SearchSpace
from autotune.space.middle import middle, space_around_middle
from autotune.values import Config, Problem


def test_it_is_the_middle_of_numbers_and_the_first_of_words():
    configs = [Config(x=x, mode=mode) for x in (1, 2, 4, 8, 16) for mode in ("slow", "fast")]
    assert space_around_middle(configs).bind(Problem(), None).default == Config(x=4, mode="slow")


def test_where_the_middle_is_not_listed_it_is_the_nearest_that_is():
    configs = [Config(x=x, y=y) for x in range(5) for y in range(5) if (x, y) != (2, 2)]
    parameters = SearchSpace.of(configs).parameters
    assert middle(configs, parameters) == Config(x=1, y=2)


def test_fewer_differences_come_before_smaller_ones():
    configs = [Config(x=1, y=1), Config(x=2, y=4), Config(x=0, y=0), Config(x=3, y=3), Config(x=4, y=2)]
    assert middle(configs, SearchSpace.of(configs).parameters) == Config(x=2, y=4)


def test_the_space_holds_exactly_what_was_listed():
    configs = [Config(x=x, y=y) for x in range(4) for y in range(x)]
    valid = space_around_middle(configs).bind(Problem(), None)
    assert set(valid) == set(configs)
    assert valid.size == len(configs)


def test_a_parameter_that_is_inactive_somewhere_costs_nothing_there():
    configs = [Config(a=1), Config(a=2, b=7), Config(a=3)]
    assert middle(configs, SearchSpace.of(configs).parameters) == Config(a=2, b=7)
