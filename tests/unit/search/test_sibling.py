import numpy as np

from autotune.search.encoding import Encoding
from autotune.search.prior import Prior
from autotune.search.sibling import siblings_of
from autotune.values import Config
from tests.unit.search.toy import time_ms


def said(valid, outcomes):
    return siblings_of(Prior({"other": outcomes}), valid, Encoding.of(valid.space.parameters))


def test_it_ranks_what_was_recorded_as_recorded(valid):
    outcomes = {config: time_ms(config) for config in valid}
    (sibling,) = said(valid, outcomes)
    rows = np.array([valid.row(config) for config in outcomes], dtype=np.int32)
    assert sibling(rows).argmin() == np.argmin(list(outcomes.values()))


def test_it_predicts_what_was_not_recorded(valid):
    configs = list(valid)
    half = configs[::2]
    (sibling,) = said(valid, {config: time_ms(config) for config in half})
    rest = configs[1::2]
    goal = sibling(np.array([valid.row(config) for config in rest], dtype=np.int32))
    assert np.corrcoef(goal.argsort().argsort(), np.argsort(np.argsort([time_ms(c) for c in rest])))[0, 1] > 0.5


def test_failures_are_no_better_than_anything(valid):
    configs = list(valid)[:40]
    outcomes = {config: None if i % 4 == 0 else time_ms(config) for i, config in enumerate(configs)}
    (sibling,) = said(valid, outcomes)
    goal = sibling(np.array([valid.row(config) for config in configs], dtype=np.int32))
    assert goal[::4].min() >= goal.max()


def test_what_is_of_another_space_or_says_nothing_is_left_out(valid):
    assert said(valid, {Config(other=i): float(i) for i in range(9)}) == []
    assert said(valid, dict.fromkeys(list(valid)[:9], 1.0)) == []
    assert said(valid, {}) == []
