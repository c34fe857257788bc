"""The registry: studies, trials, winners, portfolios in SQLite or PostgreSQL; what a program asks is in `lookup`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, insert, update

from autotune.device import Device
from autotune.distance import distance
from autotune.errors import RegistryError
from autotune.event import Event
from autotune.measurement import Outcome
from autotune.portfolio.portfolio import Portfolio
from autotune.registry import generations, leases, nights, portfolios, rows, trials
from autotune.registry.claims import claim
from autotune.registry.database import Database
from autotune.registry.generations import Changeover, Generation
from autotune.registry.leases import Lease
from autotune.registry.nights import NightRecord
from autotune.registry.patience import PATIENCE_S
from autotune.registry.records import (
    RecordedRound,
    RecordedTrial,
    StudyKey,
    StudyRecord,
    StudyState,
)
from autotune.registry.staging import StagedWinners
from autotune.registry.tables import studies
from autotune.registry.winners import Winners
from autotune.tuned_config import TunedConfig
from autotune.values import Config, Problem
from autotune.verdict import Verdict

__all__ = ["RecordedRound", "RecordedTrial", "Registry", "StudyKey", "StudyRecord", "StudyState"]


class Registry:
    """All that was ever measured and promoted. Each method is one transaction, or a RegistryError."""

    def __init__(self, database: Database, winners: Winners | None = None) -> None:
        self._database, self._winners = database, winners or Winners(database)

    @classmethod
    def open(cls, url: str, *, patience_s: float = PATIENCE_S) -> Self:
        """The database at a SQLAlchemy URL; it is created, or brought to the current schema, where need be.

        One that is not there now is an error at once; one that goes away later is waited for, for patience_s.
        """
        return cls(Database(url, patience_s))

    @classmethod
    def memory(cls) -> Self:
        """One that is gone when it is closed."""
        return cls(Database("sqlite://"))

    @property
    def where(self) -> str:
        """The database, for messages; a password is hidden."""
        return self._database.where

    @property
    def events(self) -> tuple[Event, ...]:
        """Each time that the database went away and was waited for, and for how many seconds."""
        return tuple(self._database.patience.events)

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

        return self._database.write_where_free(get_or_create)

    @contextmanager
    def claim(self, study_id: int) -> Iterator[None]:
        """Drive the study, `running` from now on; RegistryError that says who drives it where another does."""
        study = self._study(study_id)
        with claim(self._database, study.key.digest, rows.title(study)):
            self._set(study_id, state="running")
            yield

    def record(self, study_id: int, trial: RecordedTrial) -> None:
        """Keep a trial, its outcome as round 0; a study tries a configuration once. It survives any kill from here."""
        trials.record(self._database, study_id, trial)

    def record_round(self, study_id: int, config: Config, round: int, outcome: Outcome) -> None:  # noqa: A002 - the word
        """Keep another measurement of a recorded trial; rounds count from 1, the trial itself is round 0."""
        trials.record_round(self._database, study_id, config, round, outcome)

    def trials(self, study_id: int) -> list[RecordedTrial]:
        """In the order of their numbers, each with the outcome that it was recorded with."""
        return trials.recorded(self._database, study_id)

    def rounds(self, study_id: int, config: Config) -> list[Outcome]:
        """Every measurement of a trial, round 0 first."""
        return trials.rounds(self._database, study_id, config)

    def measured_again(self, study_id: int) -> list[RecordedRound]:
        """Every round after the trials themselves, in order."""
        return trials.measured_again(self._database, study_id)

    def judge(self, study_id: int, verdict: Verdict) -> None:
        """Keep how the study ended."""
        self._set(study_id, verdict=verdict.to_json())

    def close_study(self, study_id: int, state: StudyState, elapsed_s: float) -> None:
        """How the study was left, and the wall seconds spent on it altogether."""
        self._set(study_id, state=state, elapsed_s=elapsed_s)

    def studies(self, workload: str | None = None, sku: str | None = None) -> list[StudyRecord]:
        """The studies of that workload and SKU, or of any, oldest first."""
        wanted = rows.STUDIES.where(*rows.is_study(workload, sku)).order_by(studies.c.id)
        return self._database.read(lambda connection: [rows.study_record(row) for row in connection.execute(wanted)])

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

        return self._winners.promote(tuned, study_id)

    def current(
        self, workload: str | None = None, sku: str | None = None, problem: Problem | None = None
    ) -> list[TunedConfig]:
        """The current winners of that workload, SKU and problem, or of any."""
        found = self._winners.current(workload, sku, problem)
        return sorted(found, key=lambda tuned: (tuned.workload, tuned.sku, tuned.gpus))

    def history(
        self, workload: str | None = None, problem: Problem | None = None, sku: str | None = None
    ) -> list[tuple[TunedConfig, str | None]]:
        """Every winner there ever was, newest first, with when it was superseded; None where it is current."""
        return self._winners.history(workload, problem, sku)

    def ever_had(self, tuned: Iterable[TunedConfig]) -> list[bool]:
        """Of each, whether there ever was a winner in its place."""
        places = self._winners.places()
        return [(one.workload, one.problem.digest, one.sku, one.gpus) in places for one in tuned]

    def siblings(self, workload: str, *, problem: Problem, sku: str) -> list[TunedConfig]:
        """The workload's current winners for other problems and SKUs: the same SKU first, then the nearest problem."""
        others = [t for t in self.current(workload) if (t.sku, t.problem.text) != (sku, problem.text)]
        return sorted(others, key=lambda tuned: (tuned.sku != sku, distance(problem, tuned.problem)))

    def promote_portfolio(self, portfolio: Portfolio) -> bool:
        """Make it the current one of its workload, SKU and measure, whatever its version; False where it is."""
        return portfolios.promote(self._database, portfolio)

    def portfolios(self, workload: str | None = None, sku: str | None = None) -> list[Portfolio]:
        """The current ones of that workload and SKU, or of any."""
        return portfolios.current(self._database, workload, sku)

    def portfolio_history(
        self, workload: str | None = None, sku: str | None = None
    ) -> list[tuple[Portfolio, str | None]]:
        """Every portfolio there ever was, newest first, with when it was superseded; None where it is current."""
        return portfolios.history(self._database, workload, sku)

    def generation(self) -> int:
        """The number under which a sweep's winners are put together: of the open one, or else of a new one."""
        return generations.begin(self._database)

    def staging(self, number: int) -> Registry:
        """This registry for who fills that generation: a winner goes into it, and counts as current here alone."""
        return Registry(self._database, StagedWinners(self._database, number))

    def publish(self, number: int) -> Changeover:
        """Make all that the generation holds current in one transaction; the files for lookups: `publication`."""
        return generations.publish(self._database, number)

    def roll_back(self, to: int | None = None) -> Changeover:
        """Undo the last published generation, or all after that of the number `to`, in one transaction."""
        return generations.roll_back(self._database, to)

    def generations(self) -> list[Generation]:
        """Newest first; those that came to nothing are left out."""
        return generations.every(self._database)

    @property
    def published(self) -> int:
        """The number of the generation that everybody sees; 0 where there is none."""
        return generations.last_published(self._database)

    @contextmanager
    def lease(self, name: str, seconds: float) -> Iterator[Lease]:
        """Do what one coordinator does at a time; RegistryError that says who does it where another one does.

        It is renewed while the block lasts, and may be taken by another one `seconds` after its holder has died. What
        takes long looks at `lost` between its steps.
        """
        with leases.lease(self._database, name, seconds) as held:
            yield held

    def record_night(self, *, started_at: str, ended_at: str, state: str, document: Mapping[str, Any]) -> int:
        """Keep what a sweep did and measured; its number."""
        return nights.record(self._database, started_at, ended_at, state, document)

    def nights(self, limit: int | None = None) -> list[NightRecord]:
        """What the sweeps left on record, the newest first."""
        return nights.newest(self._database, limit)

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
        wanted = rows.STUDIES.where(studies.c.id == study_id)
        row = self._database.read(lambda connection: connection.execute(wanted).first())
        if row is None:
            raise RegistryError(f"there is no study {study_id} in {self.where}.")
        return rows.study_record(row)

    def _set(self, study_id: int, **values: object) -> None:
        changed = update(studies).where(studies.c.id == study_id).values(**values, updated_at=rows.now())
        if self._database.write(lambda connection: connection.execute(changed).rowcount) != 1:
            raise RegistryError(f"there is no study {study_id} in {self.where}.")
