"""Portfolios: what matrix studies chose, as rows; what one is stands in `portfolio`."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from autotune.portfolio.portfolio import Portfolio
from autotune.registry import rows
from autotune.registry.database import Database
from autotune.registry.records import canonical_json
from autotune.registry.tables import portfolios


def promote(database: Database, portfolio: Portfolio) -> bool:
    """Make it the current one of its workload, SKU and measure, whatever its version; False where it is."""

    def supersede(connection: Connection) -> bool:
        current = [*rows.is_portfolio_like(portfolio), portfolios.c.superseded_at.is_(None)]
        there = connection.execute(select(portfolios).where(*current)).first()
        stored = rows.portfolio_values(portfolio)
        if there and canonical_json(there.portfolio) == canonical_json(stored["portfolio"]):
            return False
        connection.execute(update(portfolios).where(*current), {"superseded_at": rows.now()})
        connection.execute(insert(portfolios), stored)
        return True

    return database.write_where_free(supersede)


def current(database: Database, workload: str | None, sku: str | None) -> list[Portfolio]:
    """By workload, SKU and measure."""
    found = [one for one, superseded_at in history(database, workload, sku) if superseded_at is None]
    return sorted(found, key=lambda one: (one.workload, one.sku, one.measure))


def history(database: Database, workload: str | None, sku: str | None) -> list[tuple[Portfolio, str | None]]:
    """Every portfolio there ever was, newest first, with when it was superseded; None where it is current."""
    wanted = select(portfolios).where(*rows.is_portfolio(workload, sku)).order_by(portfolios.c.id.desc())
    return database.read(
        lambda connection: [
            (Portfolio.from_json(row.portfolio), row.superseded_at) for row in connection.execute(wanted)
        ]
    )
