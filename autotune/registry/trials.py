"""Trials and their rounds: recorded once each, whatever becomes of the answer, and read again."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from autotune.errors import RegistryError
from autotune.measurement import Outcome, outcome_from_json
from autotune.registry import rows
from autotune.registry.database import Database
from autotune.registry.records import RecordedRound, RecordedTrial, canonical_json
from autotune.registry.tables import measurements, studies, trials
from autotune.values import Config


def record(database: Database, study_id: int, trial: RecordedTrial) -> None:
    """Keep a trial, its outcome as round 0; a study tries a configuration once."""

    def step(connection: Connection) -> int:
        inserted = connection.execute(insert(trials), rows.trial_values(study_id, trial))
        (trial_id,) = inserted.inserted_primary_key or (None,)
        connection.execute(insert(measurements), rows.measurement_values(trial_id, 0, trial.outcome))
        connection.execute(update(studies).where(studies.c.id == study_id), {"updated_at": rows.now()})
        return int(trial_id or 0)

    def landed(connection: Connection) -> int | None:
        return _landed(connection, study_id, trial.config, 0, trial.outcome, trials.c.number == trial.number)

    try:
        database.write(step, landed)
    except IntegrityError as error:
        raise RegistryError(
            f"study {study_id} cannot record trial {trial.number} ({trial.config.text}): there is no such study, "
            f"or it has that number or that configuration already."
        ) from error


def record_round(database: Database, study_id: int, config: Config, number: int, outcome: Outcome) -> None:
    """Keep another measurement of a recorded trial; rounds count from 1, the trial itself is round 0."""

    def step(connection: Connection) -> int:
        trial_id = connection.scalar(select(trials.c.id).where(*rows.is_trial(study_id, config)))
        connection.execute(insert(measurements), rows.measurement_values(trial_id, number, outcome))
        return int(trial_id or 0)

    def landed(connection: Connection) -> int | None:
        return _landed(connection, study_id, config, number, outcome)

    try:
        database.write(step, landed)
    except IntegrityError as error:
        raise RegistryError(
            f"study {study_id} cannot record round {number} of {config.text}: it has no such trial, or has that "
            f"round already."
        ) from error


def recorded(database: Database, study_id: int) -> list[RecordedTrial]:
    """In the order of their numbers, each with the outcome that it was recorded with."""
    wanted = select(trials, measurements.c.outcome).join(measurements)
    wanted = wanted.where(trials.c.study_id == study_id, measurements.c.round == 0).order_by(trials.c.number)
    return database.read(lambda connection: [rows.recorded_trial(row) for row in connection.execute(wanted)])


def rounds(database: Database, study_id: int, config: Config) -> list[Outcome]:
    """Every measurement of a trial, round 0 first."""
    wanted = select(measurements.c.outcome).join(trials).where(*rows.is_trial(study_id, config))
    wanted = wanted.order_by(measurements.c.round)
    return database.read(lambda connection: [outcome_from_json(data) for data in connection.scalars(wanted)])


def measured_again(database: Database, study_id: int) -> list[RecordedRound]:
    """Every round after the trials themselves, in order."""
    again = select(trials.c.config, measurements.c.round, measurements.c.outcome, measurements.c.recorded_at)
    again = again.join(measurements).where(trials.c.study_id == study_id, measurements.c.round > 0)
    again = again.order_by(measurements.c.round, measurements.c.id)
    return database.read(lambda connection: rows.recorded_rounds(connection.execute(again).all()))


def _landed(
    connection: Connection,
    study_id: int,
    config: Config,
    number: int,
    outcome: Outcome,
    *more: ColumnElement[bool],
) -> int | None:
    """The trial that has exactly this outcome as its round of that number; None where it has not."""
    wanted = select(trials.c.id, measurements.c.outcome).join(measurements)
    wanted = wanted.where(*rows.is_trial(study_id, config), measurements.c.round == number, *more)
    row = connection.execute(wanted).first()
    same = row is not None and canonical_json(row.outcome) == canonical_json(outcome.to_json())
    return int(row.id) if row is not None and same else None
