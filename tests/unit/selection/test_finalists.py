from dataclasses import replace

import pytest

from autotune import Config, SearchSpace, integer, maximize
from autotune.registry import RecordedTrial
from autotune.selection import finalists
from autotune.selection.finalists import MOST_FINALISTS
from tests.unit.answering import failed, measured, plan

SPACE = SearchSpace(x=integer(0, 99))


def trials(outcomes):
    return [
        RecordedTrial(number=number, config=Config(x=number), outcome=outcome, origin="search", finished_at="")
        for number, outcome in enumerate(outcomes)
    ]


def chosen(outcomes, others=(), **options):
    return [config.x for config in finalists(plan(space=SPACE, **options), trials(outcomes), others)]


def test_the_best_come_first_and_are_few():
    assert chosen([measured(1.0 + 0.01 * abs(x - 12)) for x in range(25)]) == [12, 11, 13, 10, 14, 9, 15, 8]
    assert MOST_FINALISTS == 8


def test_who_is_further_behind_than_clocks_drift_is_left_out():
    assert chosen([measured(value) for value in (1.0, 1.2, 1.24, 1.3, 5.0)]) == [0, 1, 2]


def test_failures_and_broken_bounds_are_left_out():
    objective = maximize("score", {"p99_ms": 1})
    outcomes = [failed(), measured(1.0, score=9.0, p99_ms=2.0), measured(1.0, score=5.0, p99_ms=0.5)]
    assert chosen(outcomes, objective=objective) == [2]
    assert chosen([failed()]) == []


def test_of_equal_binaries_one_is_measured():
    same = replace(measured(1.0), same_binary_as=Config(x=0))
    assert chosen([measured(1.0), same, measured(1.01)]) == [0, 2]
    assert chosen([measured(1.0), same, measured(1.01)], others=[Config(x=0)]) == [2]
    assert chosen([measured(1.0), same, measured(1.01)], others=[Config(x=1)]) == [2]


@pytest.mark.parametrize("values", [(-5.0, -4.9, -3.0), (0.0, 0.0, -1.0)])
def test_values_at_or_below_zero_are_ranked_too(values):
    objective = maximize("score")
    found = chosen([measured(1.0, score=value) for value in values], objective=objective)
    assert found[0] == max(range(3), key=lambda x: values[x])
    assert len(found) < 3
