"""The first schema: devices, workloads, studies, trials, measurements, tuned configurations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the six tables."""
    op.create_table(
        "devices",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("sku", sa.String, nullable=False),
        sa.Column("uuid", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("first_seen_at", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_devices"),
        sa.UniqueConstraint("sku", "uuid", name="uq_devices_sku_uuid"),
    )
    op.create_table(
        "workloads",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("path", sa.String, nullable=False),
        sa.Column("source", sa.Text),
        sa.Column("first_seen_at", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workloads"),
        sa.UniqueConstraint("name", "version", name="uq_workloads_name_version"),
    )
    op.create_table(
        "studies",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(16), nullable=False),
        sa.Column("workload_id", sa.Integer, nullable=False),
        sa.Column("device_id", sa.Integer, nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        sa.Column("sku", sa.String, nullable=False),
        sa.Column("gpus", sa.Integer, nullable=False),
        sa.Column("space_fingerprint", sa.String, nullable=False),
        sa.Column("objective", sa.String, nullable=False),
        sa.Column("effort", sa.String, nullable=False),
        sa.Column("toolchain", sa.Text, nullable=False),
        sa.Column("path", sa.String, nullable=False),
        sa.Column("default_config", sa.Text, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("sampler", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("elapsed_s", sa.Double, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.Column("updated_at", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_studies"),
        sa.UniqueConstraint("digest", name="uq_studies_digest"),
        sa.ForeignKeyConstraint(["workload_id"], ["workloads.id"], name="fk_studies_workload_id"),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name="fk_studies_device_id"),
        sa.CheckConstraint("state IN ('running', 'complete', 'interrupted', 'failed')", name="ck_studies_state"),
    )
    op.create_index("ix_studies_workload_id", "studies", ["workload_id"])
    op.create_index("ix_studies_device_id", "studies", ["device_id"])
    op.create_table(
        "trials",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study_id", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("config_digest", sa.String(16), nullable=False),
        sa.Column("config", sa.Text, nullable=False),
        sa.Column("origin", sa.String, nullable=False),
        sa.Column("finished_at", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_trials"),
        sa.UniqueConstraint("study_id", "config_digest", name="uq_trials_study_id_config_digest"),
        sa.UniqueConstraint("study_id", "number", name="uq_trials_study_id_number"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_trials_study_id"),
    )
    op.create_table(
        "measurements",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("trial_id", sa.Integer, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("failure", sa.String),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("recorded_at", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_measurements"),
        sa.UniqueConstraint("trial_id", "round", name="uq_measurements_trial_id_round"),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name="fk_measurements_trial_id"),
    )
    op.create_table(
        "tuned_configs",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("workload", sa.String, nullable=False),
        sa.Column("problem_digest", sa.String(16), nullable=False),
        sa.Column("sku", sa.String, nullable=False),
        sa.Column("gpus", sa.Integer, nullable=False),
        sa.Column("config_digest", sa.String(16), nullable=False),
        sa.Column("study_id", sa.Integer),
        sa.Column("tuned", sa.Text, nullable=False),
        sa.Column("promoted_at", sa.String, nullable=False),
        sa.Column("superseded_at", sa.String),
        sa.PrimaryKeyConstraint("id", name="pk_tuned_configs"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_tuned_configs_study_id"),
    )
    op.create_index("ix_tuned_configs_study_id", "tuned_configs", ["study_id"])
    op.create_index(
        "uq_tuned_configs_current",
        "tuned_configs",
        ["workload", "problem_digest", "sku", "gpus"],
        unique=True,
        sqlite_where=sa.text("superseded_at IS NULL"),
        postgresql_where=sa.text("superseded_at IS NULL"),
    )
