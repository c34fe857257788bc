"""Run by alembic for every command; the connection is the caller's, and so is its transaction."""

from alembic import context

from autotune.registry.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
