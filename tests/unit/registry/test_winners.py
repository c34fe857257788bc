from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy

from autotune.errors import RegistryError
from autotune.registry.tables import tuned_configs
from autotune.values import Config, Problem
from tests.unit.registry.samples import KEY, start, tuned


def test_a_winner_is_superseded_and_never_changed(registry):
    study = start(registry)
    first, second = tuned(Config(a=1)), tuned(Config(a=2), speedup=2.0)
    assert registry.promote(first, study.id)
    assert registry.promote(second, study.id)
    assert registry.current() == [second]
    (newest, superseded), (oldest, when) = registry.history("matmul")
    assert (newest, superseded, oldest) == (second, None, first)
    assert when is not None


def test_the_same_winner_of_the_same_study_is_promoted_once_and_again_where_it_was_measured_anew(registry):
    study, other = start(registry), start(registry, replace(KEY, version="other"))
    assert registry.promote(tuned(value=0.2), study.id)
    assert registry.promote(tuned(), study.id)
    assert registry.current() == [tuned()]
    assert not registry.promote(tuned(), study.id)
    assert registry.promote(tuned(), other.id)
    assert registry.promote(tuned())
    assert not registry.promote(tuned())
    assert len(registry.history("matmul")) == 4


def test_a_config_that_differs_only_in_a_type_is_another_winner(registry):
    assert registry.promote(tuned(Config(a=1)))
    assert registry.promote(tuned(Config(a=True)))


def test_each_workload_problem_sku_and_count_has_a_winner_of_its_own(registry):
    kinds = [tuned(), tuned(workload="softmax"), tuned(problem=Problem(m=True)), tuned(sku="a100"), tuned(gpus=4)]
    for one in kinds:
        registry.promote(one)
    assert len(registry.current()) == 5
    assert registry.current("softmax") == [kinds[1]]
    assert registry.current(sku="a100") == [kinds[3]]
    assert registry.current("matmul", "h200", Problem(m=16)) == [kinds[0], kinds[4]]
    assert [one for one, _ in registry.history("matmul", Problem(m=16), "h200")] == [kinds[4], kinds[0]]


def test_the_database_itself_refuses_a_second_current_winner(registry):
    registry.promote(tuned())
    row = {"workload": "matmul", "problem_digest": Problem(m=16).digest, "sku": "h200", "gpus": 1, "config_digest": "x"}
    with pytest.raises(sqlalchemy.exc.IntegrityError), registry._database.writing() as connection:
        connection.execute(sqlalchemy.insert(tuned_configs), {**row, "tuned": {}, "promoted_at": "now"})


def test_siblings_are_the_nearest_problems_of_the_same_sku_first(registry):
    for m, sku in [(16, "h200"), (4096, "h200"), (32, "h200"), (16, "a100"), (24, "a100")]:
        registry.promote(tuned(problem=Problem(m=m), sku=sku))
    registry.promote(tuned(workload="softmax"))
    found = [(one.problem.m, one.sku) for one in registry.siblings("matmul", problem=Problem(m=16), sku="h200")]
    assert found == [(32, "h200"), (4096, "h200"), (16, "a100"), (24, "a100")]


def test_promotions_at_once_leave_one_current_winner(registry):
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda a: registry.promote(tuned(Config(a=a))), range(8)))
    assert len(registry.current()) == 1
    assert len(registry.history("matmul")) == 8


def test_a_winner_of_an_unknown_study_is_refused(registry):
    with pytest.raises(RegistryError, match="refuses the entry"):
        registry.promote(tuned(), 99)
    assert registry.current() == []
