"""Alembic scripts of the street door's store."""
