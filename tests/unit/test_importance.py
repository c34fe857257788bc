import random

import pytest

from autotune.importance import FEWEST_TRIALS, importances, tried
from autotune.objective import Objective
from autotune.values import Config

MINIMIZE, MAXIMIZE = Objective("latency_ms", "minimize"), Objective("score", "maximize")


def study(value, trials=60, seed=0, **choices):
    """Distinct random configurations, each with what `value` gives it."""
    draw, values = random.Random(seed), {}
    while len(values) < trials:
        config = Config({name: draw.choice(among) for name, among in choices.items()})
        values[config] = value(config)
    return values


SPACE = {"block": (16, 32, 64, 128, 256), "mode": ("eager", "compiled", "graph"), "depth": (1, 2, 3, 4, 5, 6)}


@pytest.mark.parametrize("objective", [MINIMIZE, MAXIMIZE], ids=["minimise", "maximise"])
def test_the_parameter_that_makes_the_value_comes_first_and_stands_above_chance(objective):
    sign = 1 if objective is MINIMIZE else -1
    found = importances(objective, study(lambda c: sign * (abs(c.block - 64) + c.depth), **SPACE))
    assert next(iter(found)) == "block"
    assert found["block"].share > found["block"].chance
    assert found["mode"].share < found["mode"].chance
    assert sum(one.share for one in found.values()) == pytest.approx(1)


def test_a_word_can_matter_as_a_number_does():
    found = importances(MINIMIZE, study(lambda c: 10 * (c.mode == "graph") + 5 * (c.mode == "eager"), **SPACE))
    assert next(iter(found)) == "mode"


def test_where_nothing_matters_no_parameter_stands_far_above_chance():
    noise = random.Random(1)
    found = importances(MINIMIZE, study(lambda c: noise.random(), **SPACE))
    assert all(one.share < 1.5 * one.chance for one in found.values())


def test_the_same_trials_give_the_same_numbers():
    values = study(lambda c: c.block * c.depth, **SPACE)
    assert importances(MINIMIZE, values) == importances(MINIMIZE, values)


def test_nothing_is_said_of_few_trials_equal_values_or_parameters_that_never_varied():
    assert importances(MINIMIZE, {}) == {}
    assert importances(MINIMIZE, study(lambda c: c.block, trials=FEWEST_TRIALS - 1, **SPACE)) == {}
    assert importances(MINIMIZE, study(lambda c: 3.0, **SPACE)) == {}
    found = importances(MINIMIZE, {Config(x=x, y=1): float(x) for x in range(40)})
    assert list(found) == ["x"]


def test_a_parameter_that_is_absent_at_times_is_weighed_where_it_is_there():
    values = {Config(mode="a", x=x): float(x % 7) for x in range(30)} | {Config(mode="b", y=y): 50.0 for y in range(30)}
    values |= {Config(mode="c", z=1): 7.0, Config(mode="c", z=2): 8.0}
    found = importances(MINIMIZE, values)
    assert set(found) == {"mode", "x", "y", "z"}
    assert found["mode"].share > found["y"].share


def test_values_are_ordered_as_numbers_then_as_words():
    configs = [Config(x=value) for value in (256, None, 16.5, "auto", True, 32, 32)]
    assert tried(configs) == {"x": [16.5, 32, 256, None, True, "auto"]}
    assert tried([Config(x=1), Config(y=2)]) == {"x": [1], "y": [2]}
