"""Winners are published a generation at a time; coordinators have leases; nights stay on record."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Four tables, and two columns; what was promoted before belongs to no generation."""
    op.create_table(
        "generations",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("begun_at", sa.String, nullable=False),
        sa.Column("published_at", sa.String),
        sa.Column("rolled_back_at", sa.String),
        sa.PrimaryKeyConstraint("number", name="pk_generations"),
        sa.CheckConstraint("state IN ('open', 'published', 'rolled back', 'empty')", name="ck_generations_state"),
    )
    op.create_index(
        "uq_generations_open",
        "generations",
        ["state"],
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    # In SQL, which is the same for both: alembic would copy the whole table on SQLite to add what refers to another.
    for column, target in (("generation", "generations (number)"), ("supersedes", "tuned_configs (id)")):
        op.execute(
            f"ALTER TABLE tuned_configs ADD COLUMN {column} INTEGER "
            f"CONSTRAINT fk_tuned_configs_{column} REFERENCES {target}"
        )
    op.create_table(
        "staged_configs",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("workload", sa.String, nullable=False),
        sa.Column("problem_digest", sa.String(16), nullable=False),
        sa.Column("sku", sa.String, nullable=False),
        sa.Column("gpus", sa.Integer, nullable=False),
        sa.Column("study_id", sa.Integer),
        sa.Column("tuned", sa.Text, nullable=False),
        sa.Column("staged_at", sa.String, nullable=False),
        sa.Column("supersedes", sa.Integer),
        sa.PrimaryKeyConstraint("id", name="pk_staged_configs"),
        sa.UniqueConstraint(
            "generation",
            "workload",
            "problem_digest",
            "sku",
            "gpus",
            name="uq_staged_configs_generation_workload_problem_digest_sku_gpus",
        ),
        sa.ForeignKeyConstraint(["generation"], ["generations.number"], name="fk_staged_configs_generation"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_staged_configs_study_id"),
        sa.ForeignKeyConstraint(["supersedes"], ["tuned_configs.id"], name="fk_staged_configs_supersedes"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("token", sa.String, nullable=False),
        sa.Column("host", sa.String, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("taken_at", sa.String, nullable=False),
        sa.Column("expires_at", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_table(
        "nights",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("started_at", sa.String, nullable=False),
        sa.Column("ended_at", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_nights"),
    )
