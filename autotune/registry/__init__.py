"""The registry: studies, trials, winners, portfolios in SQLite or PostgreSQL; what a program asks is in `lookup`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from autotune.device import Device
from autotune.distance import distance
from autotune.errors import RegistryError
from autotune.measurement import Outcome, outcome_from_json
from autotune.portfolio.portfolio import Portfolio
from autotune.registry import rows
from autotune.registry.claims import claim
from autotune.registry.database import Database
from autotune.registry.records import (
    RecordedRound,
    RecordedTrial,
    StudyKey,
    StudyRecord,
    StudyState,
    canonical_json,
)
from autotune.registry.tables import measurements, portfolios, studies, trials, tuned_configs
from autotune.tuned_config import TunedConfig
from autotune.values import Config, Problem
from autotune.verdict import Verdict

__all__ = ["RecordedRound", "RecordedTrial", "Registry", "StudyKey", "StudyRecord", "StudyState"]

T = TypeVar("T")


class Registry:
    """All that was ever measured and promoted. Each method is one transaction, or a RegistryError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str) -> Self:
        """The database at a SQLAlchemy URL; it is created, or brought to the current schema, where need be."""
        return cls(Database(url))

    @classmethod
    def memory(cls) -> Self:
        """One that is gone when it is closed."""
        return cls(Database("sqlite://"))

    @property
    def where(self) -> str:
        """The database, for messages; a password is hidden."""
        return self._database.where

    def study(
        self, key: StudyKey, *, path: Path, device: Device, default_config: Config, seed: int, sampler: str
    ) -> StudyRecord:
        """The study of that key. The keywords describe a new one; a study that is there keeps its own."""

        def get_or_create(connection: Connection) -> StudyRecord:
            wanted = rows.STUDIES.where(studies.c.digest == key.digest)
            row = connection.execute(wanted).first()
            if row is None:
                row_of_study = rows.study_values(
                    key,
                    path=path,
                    default_config=default_config,
                    seed=seed,
                    sampler=sampler,
                    device_id=rows.device_id(connection, device),
                    workload_id=rows.workload_id(connection, key, path),
                )
                connection.execute(insert(studies), row_of_study)
                row = connection.execute(wanted).one()
            return rows.study_record(row)

        return self._write(get_or_create)

    @contextmanager
    def claim(self, study_id: int) -> Iterator[None]:
        """Drive the study, `running` from now on; RegistryError that says who drives it where another does."""
        study = self._study(study_id)
        with claim(self._database, study.key.digest, rows.title(study)):
            self._set(study_id, state="running")
            yield

    def record(self, study_id: int, trial: RecordedTrial) -> None:
        """Keep a trial, its outcome as round 0; a study tries a configuration once. It survives any kill from here."""
        try:
            with self._database.writing() as connection:
                inserted = connection.execute(insert(trials), rows.trial_values(study_id, trial))
                (trial_id,) = inserted.inserted_primary_key or (None,)
                connection.execute(insert(measurements), rows.measurement_values(trial_id, 0, trial.outcome))
                connection.execute(update(studies).where(studies.c.id == study_id), {"updated_at": rows.now()})
        except IntegrityError as error:
            raise RegistryError(
                f"study {study_id} cannot record trial {trial.number} ({trial.config.text}): there is no such study, "
                f"or it has that number or that configuration already."
            ) from error

    def record_round(self, study_id: int, config: Config, round: int, outcome: Outcome) -> None:  # noqa: A002 - the word
        """Keep another measurement of a recorded trial; rounds count from 1, the trial itself is round 0."""
        try:
            with self._database.writing() as connection:
                trial_id = connection.scalar(select(trials.c.id).where(*rows.is_trial(study_id, config)))
                connection.execute(insert(measurements), rows.measurement_values(trial_id, round, outcome))
        except IntegrityError as error:
            raise RegistryError(
                f"study {study_id} cannot record round {round} of {config.text}: it has no such trial, or has that "
                f"round already."
            ) from error

    def trials(self, study_id: int) -> list[RecordedTrial]:
        """In the order of their numbers, each with the outcome that it was recorded with."""
        recorded = select(trials, measurements.c.outcome).join(measurements)
        recorded = recorded.where(trials.c.study_id == study_id, measurements.c.round == 0).order_by(trials.c.number)
        with self._database.reading() as connection:
            return [rows.recorded_trial(row) for row in connection.execute(recorded)]

    def rounds(self, study_id: int, config: Config) -> list[Outcome]:
        """Every measurement of a trial, round 0 first."""
        outcomes = select(measurements.c.outcome).join(trials).where(*rows.is_trial(study_id, config))
        with self._database.reading() as connection:
            return [outcome_from_json(data) for data in connection.scalars(outcomes.order_by(measurements.c.round))]

    def measured_again(self, study_id: int) -> list[RecordedRound]:
        """Every round after the trials themselves, in order."""
        again = select(trials.c.config, measurements.c.round, measurements.c.outcome, measurements.c.recorded_at)
        again = again.join(measurements).where(trials.c.study_id == study_id, measurements.c.round > 0)
        with self._database.reading() as connection:
            return rows.recorded_rounds(
                connection.execute(again.order_by(measurements.c.round, measurements.c.id)).all()
            )

    def judge(self, study_id: int, verdict: Verdict) -> None:
        """Keep how the study ended."""
        self._set(study_id, verdict=verdict.to_json())

    def close_study(self, study_id: int, state: StudyState, elapsed_s: float) -> None:
        """How the study was left, and the wall seconds spent on it altogether."""
        self._set(study_id, state=state, elapsed_s=elapsed_s)

    def studies(self, workload: str | None = None, sku: str | None = None) -> list[StudyRecord]:
        """The studies of that workload and SKU, or of any, oldest first."""
        wanted = rows.STUDIES.where(*rows.is_study(workload, sku)).order_by(studies.c.id)
        with self._database.reading() as connection:
            return [rows.study_record(row) for row in connection.execute(wanted)]

    def find_study(self, prefix_or_id: str) -> StudyRecord:
        """By its number, or by how its digest begins; RegistryError that names likely ones where it is not one."""
        every = self.studies()
        numbered = [study for study in every if str(study.id) == prefix_or_id]
        found = numbered or [study for study in every if prefix_or_id and study.key.digest.startswith(prefix_or_id)]
        if len(found) != 1:
            how_many = f"{len(found)} studies begin with" if found else "there is no study"
            likely = "; ".join(f"{rows.title(study)}, {study.key.digest}" for study in (found or every)[-5:])
            raise RegistryError(f"{how_many} {prefix_or_id!r}. There are: {likely or 'none'}.")
        return found[0]

    def promote(self, tuned: TunedConfig, study_id: int | None = None) -> bool:
        """Make it the current one of its workload, problem, SKU and GPUs; False where it is, from the same study.

        The same configuration, measured anew, supersedes itself: its value and its evidence are others.
        """

        def supersede(connection: Connection) -> bool:
            current = [*rows.is_tuned_like(tuned), tuned_configs.c.superseded_at.is_(None)]
            there = connection.execute(select(tuned_configs).where(*current)).first()
            stored = rows.tuned_values(tuned, study_id)
            if there and there.study_id == study_id and canonical_json(there.tuned) == canonical_json(stored["tuned"]):
                return False
            connection.execute(update(tuned_configs).where(*current), {"superseded_at": rows.now()})
            connection.execute(insert(tuned_configs), stored)
            return True

        return self._write(supersede)

    def current(
        self, workload: str | None = None, sku: str | None = None, problem: Problem | None = None
    ) -> list[TunedConfig]:
        """The current winners of that workload, SKU and problem, or of any."""
        wanted = select(tuned_configs).where(tuned_configs.c.superseded_at.is_(None))
        wanted = wanted.where(*rows.is_tuned(workload, sku, problem)).order_by(tuned_configs.c.id)
        with self._database.reading() as connection:
            found = [TunedConfig.from_json(row.tuned) for row in connection.execute(wanted)]
        return sorted(found, key=lambda tuned: (tuned.workload, tuned.sku, tuned.gpus))

    def history(
        self, workload: str | None = None, problem: Problem | None = None, sku: str | None = None
    ) -> list[tuple[TunedConfig, str | None]]:
        """Every winner there ever was, newest first, with when it was superseded; None where it is current."""
        wanted = select(tuned_configs).where(*rows.is_tuned(workload, sku, problem)).order_by(tuned_configs.c.id.desc())
        with self._database.reading() as connection:
            return [(TunedConfig.from_json(row.tuned), row.superseded_at) for row in connection.execute(wanted)]

    def siblings(self, workload: str, *, problem: Problem, sku: str) -> list[TunedConfig]:
        """The workload's current winners for other problems and SKUs: the same SKU first, then the nearest problem."""
        others = [t for t in self.current(workload) if (t.sku, t.problem.text) != (sku, problem.text)]
        return sorted(others, key=lambda tuned: (tuned.sku != sku, distance(problem, tuned.problem)))

    def promote_portfolio(self, portfolio: Portfolio) -> bool:
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

        return self._write(supersede)

    def portfolios(self, workload: str | None = None, sku: str | None = None) -> list[Portfolio]:
        """The current ones of that workload and SKU, or of any."""
        found = [one for one, superseded_at in self.portfolio_history(workload, sku) if superseded_at is None]
        return sorted(found, key=lambda one: (one.workload, one.sku, one.measure))

    def portfolio_history(
        self, workload: str | None = None, sku: str | None = None
    ) -> list[tuple[Portfolio, str | None]]:
        """Every portfolio there ever was, newest first, with when it was superseded; None where it is current."""
        wanted = select(portfolios).where(*rows.is_portfolio(workload, sku)).order_by(portfolios.c.id.desc())
        with self._database.reading() as connection:
            return [(Portfolio.from_json(row.portfolio), row.superseded_at) for row in connection.execute(wanted)]

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _study(self, study_id: int) -> StudyRecord:
        with self._database.reading() as connection:
            row = connection.execute(rows.STUDIES.where(studies.c.id == study_id)).first()
        if row is None:
            raise RegistryError(f"there is no study {study_id} in {self.where}.")
        return rows.study_record(row)

    def _set(self, study_id: int, **values: object) -> None:
        with self._database.writing() as connection:
            changed = update(studies).where(studies.c.id == study_id).values(**values, updated_at=rows.now())
            if connection.execute(changed).rowcount != 1:
                raise RegistryError(f"there is no study {study_id} in {self.where}.")

    def _write(self, step: Callable[[Connection], T]) -> T:
        """In a transaction, and once more where another process was first to write the same row."""
        try:
            with self._database.writing() as connection:
                return step(connection)
        except IntegrityError:
            try:
                with self._database.writing() as connection:
                    return step(connection)
            except IntegrityError as error:
                raise RegistryError(f"{self.where} refuses the entry: {error.orig}.") from error
