from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy

from autotune.registry import Registry
from autotune.registry.tables import portfolios
from tests.unit.portfolio.samples import portfolio


def test_a_portfolio_is_superseded_and_never_changed(registry):
    first, second = portfolio(), portfolio(version="later")
    assert registry.promote_portfolio(first)
    assert registry.promote_portfolio(second)
    assert registry.portfolios() == [second]
    (newest, superseded), (oldest, when) = registry.portfolio_history("matmul")
    assert (newest, superseded, oldest) == (second, None, first)
    assert when is not None


def test_the_same_portfolio_is_stored_once(registry):
    assert registry.promote_portfolio(portfolio())
    assert not registry.promote_portfolio(portfolio())
    assert len(registry.portfolio_history()) == 1


def test_each_workload_sku_and_measure_has_one_of_its_own(registry):
    kinds = [
        portfolio(),
        portfolio(workload="softmax"),
        portfolio(sku="a100"),
        portfolio(gpus=4),
        portfolio(cache="warm"),
        portfolio(metric="energy_j"),
        portfolio(direction="maximize"),
    ]
    for one in kinds:
        registry.promote_portfolio(one)
    assert len(registry.portfolios()) == 7
    assert registry.portfolios("softmax") == [kinds[1]]
    assert registry.portfolios("matmul", "a100") == [kinds[2]]


def test_the_database_itself_refuses_a_second_current_portfolio(registry):
    registry.promote_portfolio(portfolio())
    row = {"workload": "matmul", "sku": "h200", "measure": portfolio().measure, "portfolio": {}, "promoted_at": "now"}
    with pytest.raises(sqlalchemy.exc.IntegrityError), registry._database.writing() as connection:
        connection.execute(sqlalchemy.insert(portfolios), row)


def test_promotions_at_once_leave_one_current_portfolio(registry):
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda n: registry.promote_portfolio(portfolio(version=str(n))), range(8)))
    assert len(registry.portfolios()) == 1
    assert len(registry.portfolio_history("matmul")) == 8


def test_a_portfolio_survives_the_database(url):
    with Registry.open(url) as registry:
        registry.promote_portfolio(portfolio())
    with Registry.open(url) as registry:
        assert registry.portfolios() == [portfolio()]
