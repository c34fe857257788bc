"""Nights: what each sweep did and measured, as documents; what is in them is the sweep's own matter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from autotune.registry.database import Database
from autotune.registry.records import canonical_json
from autotune.registry.tables import nights


@dataclass(frozen=True, slots=True, kw_only=True)
class NightRecord:
    """One of them; times are UTC, ISO 8601."""

    number: int
    started_at: str
    ended_at: str
    state: str
    """How it ended, in a word of the sweep's."""
    document: Mapping[str, Any]


def record(database: Database, started_at: str, ended_at: str, state: str, document: Mapping[str, Any]) -> int:
    """Keep it; its number."""
    values = {"started_at": started_at, "ended_at": ended_at, "state": state, "document": dict(document)}

    def step(connection: Connection) -> int:
        (number,) = connection.execute(insert(nights), values).inserted_primary_key or (0,)
        return int(number)

    def landed(connection: Connection) -> int | None:
        alike = select(nights).where(nights.c.started_at == started_at, nights.c.ended_at == ended_at)
        rows = connection.execute(alike.order_by(nights.c.number.desc()))
        text = canonical_json(document)
        return next((int(row.number) for row in rows if canonical_json(row.document) == text), None)

    return database.write(step, landed)


def newest(database: Database, limit: int | None) -> list[NightRecord]:
    """Newest first."""
    wanted = select(nights).order_by(nights.c.number.desc()).limit(limit)
    return database.read(
        lambda connection: [NightRecord(**row) for row in connection.execute(wanted).mappings().all()]  # by its columns
    )
