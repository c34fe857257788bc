"""Matrix studies: a few configurations for many problems, with the rule that picks among them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """One table, append-only as that of the winners is."""
    op.create_table(
        "portfolios",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("workload", sa.String, nullable=False),
        sa.Column("sku", sa.String, nullable=False),
        sa.Column("measure", sa.String, nullable=False),
        sa.Column("portfolio", sa.Text, nullable=False),
        sa.Column("promoted_at", sa.String, nullable=False),
        sa.Column("superseded_at", sa.String),
        sa.PrimaryKeyConstraint("id", name="pk_portfolios"),
    )
    op.create_index(
        "uq_portfolios_current",
        "portfolios",
        ["workload", "sku", "measure"],
        unique=True,
        sqlite_where=sa.text("superseded_at IS NULL"),
        postgresql_where=sa.text("superseded_at IS NULL"),
    )
