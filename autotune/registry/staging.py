"""Staging: winners that a generation holds, seen by nobody but who fills it; how they become current: `generations`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from autotune.errors import RegistryError
from autotune.registry import rows
from autotune.registry.database import Database
from autotune.registry.tables import generations, staged_configs
from autotune.registry.winners import Winners, current_row, current_rows, is_same, place
from autotune.tuned_config import TunedConfig
from autotune.values import Problem


class StagedWinners(Winners):
    """As the one who fills the generation sees them: its own over what is current.

    What was staged over a winner that is no longer current counts no more: nothing is put in a place unseen.
    """

    def __init__(self, database: Database, generation: int) -> None:
        super().__init__(database)
        self._generation = generation

    def promote(self, tuned: TunedConfig, study_id: int | None) -> bool:
        """Put it into the generation; False where it is there, or current."""

        def stage(connection: Connection) -> bool:
            self._check_open(connection)
            over = current_row(connection, tuned)
            values = self._values(tuned, study_id, over)
            there = self._staged(connection).get(place(values))
            if there is not None and there.supersedes == values["supersedes"] and is_same(there, tuned, study_id):
                return False
            if there is None and over is not None and is_same(over, tuned, study_id):
                return False
            if there is None:
                connection.execute(insert(staged_configs), values)
            else:
                connection.execute(update(staged_configs).where(staged_configs.c.id == there.id), values)
            return True

        return self._database.write_where_free(stage)

    def current(self, workload: str | None, sku: str | None, problem: Problem | None) -> list[TunedConfig]:
        """The generation's own over what is current."""

        def step(connection: Connection) -> list[TunedConfig]:
            published = {place(row): row for row in current_rows(connection, workload, sku, problem)}
            digest = None if problem is None else problem.digest
            staged = {
                where: row
                for where, row in self._staged(connection).items()
                if all(wanted in (None, has) for wanted, has in zip((workload, digest, sku), where, strict=False))
                and row.supersedes == (published[where].id if where in published else None)
            }
            return [TunedConfig.from_json(row.tuned) for row in (published | staged).values()]

        return self._database.read(step)

    def _check_open(self, connection: Connection) -> None:
        state = connection.scalar(select(generations.c.state).where(generations.c.number == self._generation))
        if state != "open":
            raise RegistryError(f"generation {self._generation} is {state or 'unknown'}: nothing is put into it now.")

    def _staged(self, connection: Connection) -> dict[Any, Row[Any]]:
        wanted = select(staged_configs).where(staged_configs.c.generation == self._generation)
        return {place(row): row for row in connection.execute(wanted.order_by(staged_configs.c.id))}

    def _values(self, tuned: TunedConfig, study_id: int | None, over: Row[Any] | None) -> Mapping[str, Any]:
        return {
            "generation": self._generation,
            "workload": tuned.workload,
            "problem_digest": tuned.problem.digest,
            "sku": tuned.sku,
            "gpus": tuned.gpus,
            "study_id": study_id,
            "tuned": tuned.to_json(),
            "staged_at": rows.now(),
            "supersedes": None if over is None else over.id,
        }
