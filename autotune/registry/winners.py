"""Winners: what is current, what was, and how the next takes its place; a whole generation at once: `generations`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from autotune.registry import rows
from autotune.registry.database import Database
from autotune.registry.records import canonical_json
from autotune.registry.tables import tuned_configs
from autotune.tuned_config import TunedConfig
from autotune.values import Problem


class Winners:
    """As everybody sees them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def promote(self, tuned: TunedConfig, study_id: int | None) -> bool:
        """Make it current at once; False where it is."""

        def supersede(connection: Connection) -> bool:
            there = current_row(connection, tuned)
            if there is not None and is_same(there, tuned, study_id):
                return False
            put(connection, rows.tuned_values(tuned, study_id), there)
            return True

        return self._database.write_where_free(supersede)

    def current(self, workload: str | None, sku: str | None, problem: Problem | None) -> list[TunedConfig]:
        """In the order of their promotion."""
        return self._database.read(
            lambda connection: [
                TunedConfig.from_json(row.tuned) for row in current_rows(connection, workload, sku, problem)
            ]
        )

    def history(
        self, workload: str | None, problem: Problem | None, sku: str | None
    ) -> list[tuple[TunedConfig, str | None]]:
        """All that ever were current, newest first."""
        wanted = select(tuned_configs).where(*rows.is_tuned(workload, sku, problem)).order_by(tuned_configs.c.id.desc())
        return self._database.read(
            lambda connection: [
                (TunedConfig.from_json(row.tuned), row.superseded_at) for row in connection.execute(wanted)
            ]
        )

    def places(self) -> set[tuple[str, str, str, int]]:
        """Where there ever was one."""
        columns = tuned_configs.c
        wanted = select(columns.workload, columns.problem_digest, columns.sku, columns.gpus).distinct()
        return self._database.read(
            lambda connection: {
                (row.workload, row.problem_digest, row.sku, row.gpus) for row in connection.execute(wanted)
            }
        )


def current_rows(
    connection: Connection, workload: str | None = None, sku: str | None = None, problem: Problem | None = None
) -> list[Row[Any]]:
    """In the order of their promotion."""
    wanted = select(tuned_configs).where(tuned_configs.c.superseded_at.is_(None))
    wanted = wanted.where(*rows.is_tuned(workload, sku, problem)).order_by(tuned_configs.c.id)
    return list(connection.execute(wanted))


def current_row(connection: Connection, tuned: TunedConfig) -> Row[Any] | None:
    """What is current where that one belongs."""
    wanted = select(tuned_configs).where(*rows.is_tuned_like(tuned), tuned_configs.c.superseded_at.is_(None))
    return connection.execute(wanted).first()


def place(row: Row[Any] | Mapping[str, Any]) -> tuple[str, str, str, int]:
    """Where a winner belongs: workload, problem, SKU and number of GPUs."""
    values = row._mapping if isinstance(row, Row) else row
    return values["workload"], values["problem_digest"], values["sku"], values["gpus"]


def is_same(row: Row[Any], tuned: TunedConfig, study_id: int | None) -> bool:
    """Whether the row is that winner of that study, all its evidence included."""
    return bool(row.study_id == study_id and canonical_json(row.tuned) == canonical_json(tuned.to_json()))


def put(connection: Connection, values: dict[str, Any], over: Row[Any] | None) -> None:
    """A new current row in the place of that one, which is kept."""
    withdraw(connection, over)
    connection.execute(insert(tuned_configs), values | {"supersedes": None if over is None else over.id})


def withdraw(connection: Connection, row: Row[Any] | None) -> None:
    """Let it be current no more."""
    if row is not None:
        changed = update(tuned_configs).where(tuned_configs.c.id == row.id, tuned_configs.c.superseded_at.is_(None))
        connection.execute(changed, {"superseded_at": rows.now()})
