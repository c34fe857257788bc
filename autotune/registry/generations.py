"""Generations: a sweep's winners become current all at once, and are taken back all at once; each alone: `winners`.

Nothing is ever changed or deleted: what a rolled back generation had superseded becomes current as a new row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from autotune.errors import RegistryError
from autotune.registry import rows
from autotune.registry.database import Database
from autotune.registry.tables import generations, staged_configs, tuned_configs
from autotune.registry.winners import current_rows, place, put, withdraw
from autotune.tuned_config import TunedConfig

_SAME = ("workload", "problem_digest", "sku", "gpus", "config_digest", "study_id", "tuned", "generation", "supersedes")
"""What a row that is current again has of the one that it stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One of them; times are UTC, ISO 8601."""

    number: int
    state: str
    """`open` (winners are put into it), `published`, `rolled back`, or `empty` (there was nothing to publish)."""
    begun_at: str
    published_at: str | None
    rolled_back_at: str | None
    winners: int
    """That it made current, or would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Of what is current for one workload, problem, SKU and number of GPUs."""

    before: TunedConfig | None
    after: TunedConfig | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changeover:
    """What publishing or rolling back did."""

    generations: tuple[int, ...]
    """That were published or rolled back."""
    changes: tuple[Change, ...]
    left: tuple[TunedConfig, ...] = ()
    """What is current and was left so: it was promoted by itself after what would have been put in its place was
    measured, or, on rolling back, after the generation."""


def begin(database: Database) -> int:
    """The number of the open generation, which an earlier sweep may have left; a new one where none is open."""

    def step(connection: Connection) -> int:
        number = connection.scalar(select(generations.c.number).where(generations.c.state == "open"))
        if number is None:
            connection.execute(insert(generations), {"state": "open", "begun_at": rows.now()})
            number = connection.scalars(select(generations.c.number).where(generations.c.state == "open")).one()
        return int(number)

    return database.write_where_free(step)


def publish(database: Database, number: int) -> Changeover:
    """Make all that it holds current; nothing where it has been published already."""
    published_at, results = rows.now(), list[Changeover]()

    def step(connection: Connection) -> Changeover:
        generation = _generation(connection, number)
        if generation.state == "rolled back":
            raise RegistryError(f"generation {number} was rolled back at {generation.rolled_back_at}; tune anew.")
        if generation.state != "open":
            return Changeover(generations=(number,), changes=())
        result = _put_staged(connection, number, published_at)
        state = "published" if result.changes else "empty"
        _mark(connection, number, state=state, published_at=published_at)
        results.append(result)
        return result

    def landed(connection: Connection) -> Changeover | None:
        return results[-1] if results and _generation(connection, number).published_at == published_at else None

    return database.write_where_free(step, landed)


def roll_back(database: Database, to: int | None = None) -> Changeover:
    """Undo the last published generation, or all after that of the number `to`; 0 is before the first."""
    numbers = _to_undo(database, to)
    rolled_back_at, results = rows.now(), list[Changeover]()

    def step(connection: Connection) -> Changeover:
        before = _by_place(current_rows(connection))
        left: dict[Any, TunedConfig] = {}
        for number in numbers:
            if _generation(connection, number).state != "published":
                raise RegistryError(f"generation {number} was rolled back by another process a moment ago.")
            left |= _undo(connection, number)
            _mark(connection, number, state="rolled back", rolled_back_at=rolled_back_at)
        changes = _difference(before, _by_place(current_rows(connection)))
        results.append(Changeover(generations=numbers, changes=changes, left=tuple(left.values())))
        return results[-1]

    def landed(connection: Connection) -> Changeover | None:
        done = all(_generation(connection, number).rolled_back_at == rolled_back_at for number in numbers)
        return results[-1] if results and done else None

    return database.write_where_free(step, landed)


def every(database: Database) -> list[Generation]:
    """Newest first; those that came to nothing are left out."""
    staged = select(func.count()).where(staged_configs.c.generation == generations.c.number)
    put_by = select(func.count()).where(
        tuned_configs.c.generation == generations.c.number, tuned_configs.c.promoted_at == generations.c.published_at
    )
    wanted = select(
        generations,
        staged.correlate(generations).scalar_subquery().label("staged"),
        put_by.correlate(generations).scalar_subquery().label("winners"),
    ).where(generations.c.state != "empty")
    found = database.read(lambda connection: connection.execute(wanted.order_by(generations.c.number.desc())).all())
    return [_value(row) for row in found]


def last_published(database: Database) -> int:
    """The number of the generation that everybody sees; 0 where there is none."""
    wanted = select(func.max(generations.c.number)).where(generations.c.state == "published")
    return int(database.read(lambda connection: connection.scalar(wanted)) or 0)


def _value(row: Row[Any]) -> Generation:
    return Generation(
        number=row.number,
        state=row.state,
        begun_at=row.begun_at,
        published_at=row.published_at,
        rolled_back_at=row.rolled_back_at,
        winners=row.staged if row.state == "open" else row.winners,
    )


def _generation(connection: Connection, number: int) -> Row[Any]:
    """Its row, which nobody else changes until the transaction ends."""
    row = connection.execute(select(generations).where(generations.c.number == number).with_for_update()).first()
    if row is None:
        raise RegistryError(f"there is no generation {number}; see `autotune show --generations`.")
    return row


def _mark(connection: Connection, number: int, **values: str) -> None:
    connection.execute(update(generations).where(generations.c.number == number), values)


def _put_staged(connection: Connection, number: int, published_at: str) -> Changeover:
    """Each staged winner in the place of what was current when it was staged; not over what came since."""
    current, changes, left = _by_place(current_rows(connection)), [], []
    wanted = select(staged_configs).where(staged_configs.c.generation == number).order_by(staged_configs.c.id)
    for row in connection.execute(wanted).all():
        there, tuned = current.get(place(row)), TunedConfig.from_json(row.tuned)
        if (there.id if there is not None else None) != row.supersedes:
            if there is not None:
                left.append(TunedConfig.from_json(there.tuned))
            continue
        values = rows.tuned_values(tuned, row.study_id) | {"promoted_at": published_at, "generation": number}
        put(connection, values, there)
        changes.append(Change(before=_tuned(there), after=tuned))
    return Changeover(generations=(number,), changes=tuple(changes), left=tuple(left))


def _to_undo(database: Database, to: int | None) -> tuple[int, ...]:
    """The newest first."""
    published = [one.number for one in every(database) if one.state == "published"]
    if not published:
        raise RegistryError("no generation is published, so there is nothing to roll back.")
    if to is None:
        return (published[0],)
    if to not in (0, *published):
        known = ", ".join(map(str, published))
        raise RegistryError(f"generation {to} is not published; roll back to one of {known}, or to 0, before all.")
    if to == published[0]:
        raise RegistryError(f"generation {to} is the last published one, so there is nothing to roll back.")
    return tuple(number for number in published if number > to)


def _undo(connection: Connection, number: int) -> dict[Any, TunedConfig]:
    """Put back what it superseded; what was promoted after it is left, and given by its place."""
    current, left = _by_place(current_rows(connection)), {}
    its_own = select(tuned_configs).where(tuned_configs.c.generation == number)
    for where in _by_place(connection.execute(its_own).all()):
        there = current.get(where)
        if there is not None and there.generation == number:
            _put_back(connection, there)
        elif there is not None:
            left[where] = TunedConfig.from_json(there.tuned)
    return left


def _put_back(connection: Connection, row: Row[Any]) -> None:
    wanted = select(tuned_configs).where(tuned_configs.c.id == row.supersedes)
    predecessor = connection.execute(wanted).mappings().first()
    withdraw(connection, row)
    if predecessor is not None:
        again = {name: predecessor[name] for name in _SAME} | {"promoted_at": rows.now()}
        connection.execute(insert(tuned_configs), again)


def _difference(before: dict[Any, Row[Any]], after: dict[Any, Row[Any]]) -> tuple[Change, ...]:
    pairs = [(before.get(where), after.get(where)) for where in dict.fromkeys((*before, *after))]
    return tuple(
        Change(before=_tuned(one), after=_tuned(other))
        for one, other in pairs
        if (one and one.id) != (other and other.id)
    )


def _by_place(found: Sequence[Row[Any]]) -> dict[Any, Row[Any]]:
    return {place(row): row for row in found}


def _tuned(row: Row[Any] | None) -> TunedConfig | None:
    return None if row is None else TunedConfig.from_json(row.tuned)
