"""Grants, challenges, drafts and metadata of wallets of others, and which corridor a request walks through."""

import sqlalchemy as sa
from alembic import op

from app.storage.wallet_tables import WALLET_TABLES

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    bind = op.get_bind()
    for table in WALLET_TABLES:
        table.create(bind, checkfirst=True)
    # A new store got the column by the first revision already.
    if "corridor" not in {column["name"] for column in sa.inspect(bind).get_columns("requests")}:
        op.add_column(
            "requests", sa.Column("corridor", sa.String(16), nullable=False, server_default="phone")
        )


def downgrade() -> None:
    # Copies lie in wallets of others; they must stay revocable.
    raise NotImplementedError("a store with grants has no older form")
