"""Requests of employers to wallets of others, and the one encrypted answer to each.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table."""
    op.create_table(
        "presentations",
        sa.Column("presentation_id", sa.String(22), primary_key=True),
        sa.Column("desk_key", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_minute", sa.BigInteger, nullable=False),
        sa.Column("expires_minute", sa.BigInteger, nullable=False),
        sa.Column("answer", sa.LargeBinary),
        sa.Column("answer_hash", sa.String(43)),
        sa.Column("code_hash", sa.String(43)),
        sa.Column("answered_minute", sa.BigInteger),
        sa.Column("fetched_minute", sa.BigInteger),
    )
    op.create_index("presentations_expire", "presentations", ["expires_minute"])


def downgrade() -> None:
    """Not offered: the door's store holds nothing that could not be sent again."""
    raise NotImplementedError("the street door's store is not downgraded")
