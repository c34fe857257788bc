import itertools
import random
import time

import pytest

from autotune.space import SearchSpace, integer
from autotune.values import Problem


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
    monkeypatch.setattr("autotune.space.solver.SECONDS", 0.05)

    def slow(config):
        time.sleep(0.0002)
        return config.a + config.b + config.c < 60

    assert not SearchSpace(a=integer(1, 30), b=integer(1, 30), c=integer(1, 30)).where(slow).bind({}, None).exact
