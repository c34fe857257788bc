"""Between rows and values: how each value is stored, and what a row stands for; the tables are in `tables`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, func, insert, select

from autotune.device import Device
from autotune.measurement import Failure, Outcome, outcome_from_json
from autotune.portfolio.portfolio import Portfolio
from autotune.registry.records import RecordedRound, RecordedTrial, StudyKey, StudyRecord
from autotune.registry.tables import devices, measurements, portfolios, studies, trials, tuned_configs, workloads
from autotune.tuned_config import TunedConfig
from autotune.values import Config, Problem
from autotune.verdict import Verdict

_COUNT = select(func.count()).where(trials.c.study_id == studies.c.id).correlate(studies)

STUDIES = (
    select(
        studies,
        workloads.c.name.label("workload"),
        workloads.c.version,
        devices.c.name.label("device"),
        _COUNT.scalar_subquery().label("trials"),
        _COUNT.join(measurements, measurements.c.trial_id == trials.c.id)
        .where(measurements.c.round == 0, measurements.c.failure.is_not(None))
        .scalar_subquery()
        .label("failures"),
    )
    .join(workloads)
    .join(devices)
)
"""A row per study, as `study_record` takes it."""


def now() -> str:
    """UTC, ISO 8601, to the millisecond; all of one length, so that they sort as text."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def title(study: StudyRecord) -> str:
    """A study for messages: `study 12 (matmul m=16 on H200)`."""
    what = f"{study.key.workload} {study.key.problem.text}".strip()
    return f"study {study.id} ({what} on {study.key.sku})"


# From values to rows


def device_id(connection: Connection, device: Device) -> int:
    """The row of the device, made where there is none."""
    seen = {"name": device.name, "facts": device.to_json(), "first_seen_at": now()}
    return _id(connection, devices, {"sku": device.sku, "uuid": device.uuid}, seen)


def workload_id(connection: Connection, key: StudyKey, path: Path) -> int:
    """The row of this version of the workload, made where there is none; the source is kept with it."""
    seen = {"path": _path_text(path), "source": _source(path), "first_seen_at": now()}
    return _id(connection, workloads, {"name": key.workload, "version": key.version}, seen)


def study_values(
    key: StudyKey, *, path: Path, default_config: Config, seed: int, sampler: str, device_id: int, workload_id: int
) -> dict[str, Any]:
    """A new study."""
    return {
        "digest": key.digest,
        "workload_id": workload_id,
        "device_id": device_id,
        "problem": key.problem,
        "sku": key.sku,
        "gpus": key.gpus,
        "space_fingerprint": key.space_fingerprint,
        "objective": key.objective,
        "effort": key.effort,
        "toolchain": dict(key.toolchain),
        "cache": key.cache,
        "path": _path_text(path),
        "default_config": default_config,
        "seed": seed,
        "sampler": sampler,
        "state": "running",
        "elapsed_s": 0.0,
        "created_at": now(),
        "updated_at": now(),
    }


def trial_values(study_id: int, trial: RecordedTrial) -> dict[str, Any]:
    """A trial, its outcome left out."""
    return {
        "study_id": study_id,
        "number": trial.number,
        "config_digest": trial.config.digest,
        "config": trial.config,
        "origin": trial.origin,
        "finished_at": trial.finished_at,
    }


def measurement_values(trial_id: int | None, round: int, outcome: Outcome) -> dict[str, Any]:  # noqa: A002 - the word
    """One round of a trial."""
    return {
        "trial_id": trial_id,
        "round": round,
        "failure": outcome.kind.value if isinstance(outcome, Failure) else None,
        "outcome": outcome.to_json(),
        "recorded_at": now(),
    }


def tuned_values(tuned: TunedConfig, study_id: int | None) -> dict[str, Any]:
    """A winner that is current from now on."""
    return {
        "workload": tuned.workload,
        "problem_digest": tuned.problem.digest,
        "sku": tuned.sku,
        "gpus": tuned.gpus,
        "config_digest": tuned.config.digest,
        "study_id": study_id,
        "tuned": tuned.to_json(),
        "promoted_at": now(),
    }


def portfolio_values(portfolio: Portfolio) -> dict[str, Any]:
    """A portfolio that is current from now on."""
    return {
        "workload": portfolio.workload,
        "sku": portfolio.sku,
        "measure": portfolio.measure,
        "portfolio": portfolio.to_json(),
        "promoted_at": now(),
    }


# From rows to values


def study_record(row: Row[Any]) -> StudyRecord:
    """A row of STUDIES."""
    key = StudyKey(
        workload=row.workload,
        version=row.version,
        space_fingerprint=row.space_fingerprint,
        problem=Problem(row.problem),
        sku=row.sku,
        gpus=row.gpus,
        objective=row.objective,
        effort=row.effort,
        toolchain=row.toolchain,
        cache=row.cache,
    )
    return StudyRecord(
        id=row.id,
        key=key,
        path=row.path,
        device=row.device,
        default_config=Config(row.default_config),
        seed=row.seed,
        sampler=row.sampler,
        state=row.state,
        elapsed_s=row.elapsed_s,
        created_at=row.created_at,
        updated_at=row.updated_at,
        trials=row.trials,
        failures=row.failures,
        verdict=None if row.verdict is None else Verdict.from_json(row.verdict),
    )


def recorded_trial(row: Row[Any]) -> RecordedTrial:
    """A row of trials with the outcome of its round 0."""
    return RecordedTrial(
        number=row.number,
        config=Config(row.config),
        outcome=outcome_from_json(row.outcome),
        origin=row.origin,
        finished_at=row.finished_at,
    )


def recorded_rounds(found: Sequence[Any]) -> list[RecordedRound]:
    """Rows of measurements in the order of their rounds, put together by round."""
    return [_recorded_round(number, list(members)) for number, members in groupby(found, lambda row: int(row.round))]


def _recorded_round(number: int, members: Sequence[Any]) -> RecordedRound:
    outcomes = {Config(row.config): outcome_from_json(row.outcome) for row in members}
    return RecordedRound(number=number, outcomes=outcomes, recorded_at=members[-1].recorded_at)


# Conditions


def is_trial(study_id: int, config: Config) -> list[ColumnElement[bool]]:
    """That configuration's trial in that study."""
    return [trials.c.study_id == study_id, trials.c.config_digest == config.digest]


def is_study(workload: str | None, sku: str | None) -> list[ColumnElement[bool]]:
    """What is None may be anything."""
    return _all_given((workloads.c.name, workload), (studies.c.sku, sku))


def is_tuned(workload: str | None, sku: str | None, problem: Problem | None) -> list[ColumnElement[bool]]:
    """What is None may be anything."""
    digest = None if problem is None else problem.digest
    columns = tuned_configs.c
    return _all_given((columns.workload, workload), (columns.sku, sku), (columns.problem_digest, digest))


def is_tuned_like(tuned: TunedConfig) -> list[ColumnElement[bool]]:
    """The same workload, problem, SKU and number of GPUs."""
    return [*is_tuned(tuned.workload, tuned.sku, tuned.problem), tuned_configs.c.gpus == tuned.gpus]


def is_portfolio(workload: str | None, sku: str | None) -> list[ColumnElement[bool]]:
    """What is None may be anything."""
    return _all_given((portfolios.c.workload, workload), (portfolios.c.sku, sku))


def is_portfolio_like(portfolio: Portfolio) -> list[ColumnElement[bool]]:
    """The same workload, SKU, number of GPUs, objective and cache."""
    return [*is_portfolio(portfolio.workload, portfolio.sku), portfolios.c.measure == portfolio.measure]


def _all_given(*pairs: tuple[ColumnElement[Any], Any]) -> list[ColumnElement[bool]]:
    return [column == value for column, value in pairs if value is not None]


def _id(connection: Connection, table: Table, identity: Mapping[str, Any], rest: Mapping[str, Any]) -> int:
    """The row of that identity, with the rest where it is new."""
    wanted = select(table.c.id).where(*(table.c[name] == value for name, value in identity.items()))
    found: int | None = connection.scalar(wanted)
    if found is None:
        connection.execute(insert(table), {**identity, **rest})
        found = connection.scalars(wanted).one()
    return found


def _path_text(path: Path) -> str:
    """A file's name may be no text at all; the database takes text only."""
    return os.fsencode(path).decode(errors="replace")


def _source(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").replace("\0", "")
    except OSError:
        return None
