"""Studies know what their calls find in the cache, and how they ended."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Two columns; what was measured before was measured cold, and judged by no rounds."""
    op.add_column("studies", sa.Column("cache", sa.String, nullable=False, server_default="cold"))
    op.add_column("studies", sa.Column("verdict", sa.Text))
