"""Alembic's entry: it is loaded by path while an upgrade runs, never imported.

The connection is handed over by `store.upgrade`.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
