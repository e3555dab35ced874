"""Alembic environment: runs on the connection that `mobile_api.store.engine.migrate` lends."""

from __future__ import annotations

from alembic import context

from mobile_api.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
connection.commit()
