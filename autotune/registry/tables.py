"""The tables of the registry; `migrations` creates them, and a test holds the two equal."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from autotune.registry.records import canonical_json

HEAD = "0004"
"""The newest revision in `migrations`; here so that a database that is up to date is opened without alembic."""

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class CanonicalJSON(TypeDecorator[Any]):
    """JSON as canonical text: the same bytes on every database, NUL and NaN included, which a `jsonb` refuses."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """To the database."""
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """From the database."""
        return None if value is None else json.loads(value)


metadata = MetaData(naming_convention=NAMING)

# Times are UTC, ISO 8601 text: it sorts, and reads the same in every client of every database.

devices = Table(
    "devices",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sku", String, nullable=False),
    Column("uuid", String, nullable=False),
    Column("name", String, nullable=False),
    Column("facts", CanonicalJSON, nullable=False),
    Column("first_seen_at", String, nullable=False),
    UniqueConstraint("sku", "uuid"),
)

workloads = Table(
    "workloads",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False),
    Column("version", String, nullable=False),
    Column("path", String, nullable=False),
    Column("source", Text),
    Column("first_seen_at", String, nullable=False),
    UniqueConstraint("name", "version"),
)

studies = Table(
    "studies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String(16), nullable=False, unique=True),
    Column("workload_id", ForeignKey(workloads.c.id), nullable=False, index=True),
    Column("device_id", ForeignKey(devices.c.id), nullable=False, index=True),
    Column("problem", CanonicalJSON, nullable=False),
    Column("sku", String, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("space_fingerprint", String, nullable=False),
    Column("objective", String, nullable=False),
    Column("effort", String, nullable=False),
    Column("toolchain", CanonicalJSON, nullable=False),
    Column("cache", String, nullable=False, server_default="cold"),
    Column("path", String, nullable=False),
    Column("default_config", CanonicalJSON, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("sampler", String, nullable=False),
    Column("state", String, nullable=False),
    Column("elapsed_s", Double, nullable=False),
    Column("created_at", String, nullable=False),
    Column("updated_at", String, nullable=False),
    Column("verdict", CanonicalJSON),
    CheckConstraint("state IN ('running', 'complete', 'interrupted', 'failed')", name="state"),
)

trials = Table(
    "trials",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey(studies.c.id), nullable=False),
    Column("number", Integer, nullable=False),
    Column("config_digest", String(16), nullable=False),
    Column("config", CanonicalJSON, nullable=False),
    Column("origin", String, nullable=False),
    Column("finished_at", String, nullable=False),
    UniqueConstraint("study_id", "config_digest"),
    UniqueConstraint("study_id", "number"),
)

# Round 0 is the trial itself; later rounds are measured again, for the finalists, and overwrite nothing.
measurements = Table(
    "measurements",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trial_id", ForeignKey(trials.c.id), nullable=False),
    Column("round", Integer, nullable=False),
    Column("failure", String),
    Column("outcome", CanonicalJSON, nullable=False),
    Column("recorded_at", String, nullable=False),
    UniqueConstraint("trial_id", "round"),
)

# A sweep's winners, which become current at once. One is open at a time, so that they are published in their order.
generations = Table(
    "generations",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("state", String, nullable=False),
    Column("begun_at", String, nullable=False),
    Column("published_at", String),
    Column("rolled_back_at", String),
    CheckConstraint("state IN ('open', 'published', 'rolled back', 'empty')", name="state"),
)

# Append-only: a winner is superseded, never changed. `tuned` holds the whole value, the other columns find it.
tuned_configs = Table(
    "tuned_configs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("workload", String, nullable=False),
    Column("problem_digest", String(16), nullable=False),
    Column("sku", String, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("config_digest", String(16), nullable=False),
    Column("study_id", ForeignKey(studies.c.id), index=True),
    Column("tuned", CanonicalJSON, nullable=False),
    Column("promoted_at", String, nullable=False),
    Column("superseded_at", String),
    Column("generation", ForeignKey(generations.c.number)),
    Column("supersedes", ForeignKey("tuned_configs.id")),
)

# What a generation that is not published yet holds; `supersedes` is what was current when it was put here.
staged_configs = Table(
    "staged_configs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("generation", ForeignKey(generations.c.number), nullable=False),
    Column("workload", String, nullable=False),
    Column("problem_digest", String(16), nullable=False),
    Column("sku", String, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("study_id", ForeignKey(studies.c.id)),
    Column("tuned", CanonicalJSON, nullable=False),
    Column("staged_at", String, nullable=False),
    Column("supersedes", ForeignKey(tuned_configs.c.id)),
    UniqueConstraint("generation", "workload", "problem_digest", "sku", "gpus"),
)

# What one coordinator of a fleet does at a time; its times are by the clock of the database's server.
leases = Table(
    "leases",
    metadata,
    Column("name", String, primary_key=True),
    Column("token", String, nullable=False),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("taken_at", String, nullable=False),
    Column("expires_at", String, nullable=False),
)

# Append-only: what each sweep did and measured.
nights = Table(
    "nights",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("started_at", String, nullable=False),
    Column("ended_at", String, nullable=False),
    Column("state", String, nullable=False),
    Column("document", CanonicalJSON, nullable=False),
)

# "The best" is a constraint, not a convention. The migrations make these partial on PostgreSQL as well; to say so here
# too would import that dialect, a quarter of what it costs to open the registry.
Index(
    "uq_tuned_configs_current",
    tuned_configs.c.workload,
    tuned_configs.c.problem_digest,
    tuned_configs.c.sku,
    tuned_configs.c.gpus,
    unique=True,
    sqlite_where=tuned_configs.c.superseded_at.is_(None),
)

# Append-only too. `measure` is the number of GPUs, the objective and the cache: of each there is one current portfolio.
portfolios = Table(
    "portfolios",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("workload", String, nullable=False),
    Column("sku", String, nullable=False),
    Column("measure", String, nullable=False),
    Column("portfolio", CanonicalJSON, nullable=False),
    Column("promoted_at", String, nullable=False),
    Column("superseded_at", String),
)

Index(
    "uq_portfolios_current",
    portfolios.c.workload,
    portfolios.c.sku,
    portfolios.c.measure,
    unique=True,
    sqlite_where=portfolios.c.superseded_at.is_(None),
)
Index("uq_generations_open", generations.c.state, unique=True, sqlite_where=generations.c.state == "open")
