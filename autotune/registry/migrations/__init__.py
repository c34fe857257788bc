"""The schema's history, one file per revision in `versions`; how a database is opened is in `registry.database`."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def configuration(connection: Connection | None = None) -> Config:
    """What alembic needs to work on the connection, without an ini file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def known_revisions() -> set[str]:
    """Every revision that this version of autotune can start from."""
    return {script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()}


def upgrade(connection: Connection) -> None:
    """Bring the schema to the newest revision, inside the connection's transaction."""
    command.upgrade(configuration(connection), "head")
