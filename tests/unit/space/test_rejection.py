import random

import pytest

from autotune.errors import SpaceError
from autotune.space import SearchSpace, integer
from autotune.values import Config


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
