"""Alembic steps of the register store; `upgrade(engine)` runs them all. It holds no tables of other rooms."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from app.storage.engine import upgrade_store


def upgrade(engine: Engine) -> None:
    """Bring the register store to the newest revision; doing it twice changes nothing."""
    upgrade_store(engine, Path(__file__).parent)
