"""Wallets of others: offers, tokens, logins, exchanges with the city, deferred transactions, keys of challenges.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "wallet_offers",
        sa.Column("grant_id", sa.String(22), primary_key=True),
        sa.Column("code_hash", sa.String(43), nullable=False, unique=True),
        sa.Column("tx_code_hash", sa.String(43)),
        sa.Column("tx_code_length", sa.SmallInteger),
        sa.Column("attempts", sa.SmallInteger, nullable=False),
        sa.Column("profile", sa.String(8), nullable=False),
        sa.Column("configuration", sa.String(64), nullable=False),
        sa.Column("copies", sa.SmallInteger, nullable=False),
        sa.Column("body_hash", sa.String(43), nullable=False),
        sa.Column("expires_minute", sa.BigInteger, nullable=False),
        sa.Column("used_minute", sa.BigInteger),
        sa.Column("ended_minute", sa.BigInteger),
    )
    op.create_table(
        "wallet_tokens",
        sa.Column("token_hash", sa.String(43), primary_key=True),
        sa.Column("grant_id", sa.String(22), nullable=False),
        sa.Column("profile", sa.String(8), nullable=False),
        sa.Column("key_hash", sa.String(43)),
        sa.Column("client_hash", sa.String(43)),
        sa.Column("code_hash", sa.String(43)),
        sa.Column("until_minute", sa.BigInteger, nullable=False),
    )
    op.create_index("wallet_tokens_grant", "wallet_tokens", ["grant_id"])
    op.create_index("wallet_tokens_code", "wallet_tokens", ["code_hash"])
    op.create_table(
        "wallet_sessions",
        sa.Column("session", sa.String(22), primary_key=True),
        sa.Column("request_hash", sa.String(43), unique=True),
        sa.Column("cookie_hash", sa.String(43), unique=True),
        sa.Column("code_hash", sa.String(43), unique=True),
        sa.Column("client_hash", sa.String(43), nullable=False),
        sa.Column("key_hash", sa.String(43), nullable=False),
        sa.Column("challenge_hash", sa.String(43), nullable=False),
        sa.Column("redirect_hash", sa.String(43), nullable=False),
        sa.Column("configuration", sa.String(64), nullable=False),
        sa.Column("body", sa.LargeBinary),
        sa.Column("grant_id", sa.String(22)),
        sa.Column("used_minute", sa.BigInteger),
        sa.Column("until_minute", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "wallet_exchanges",
        sa.Column("position", _POSITION, primary_key=True, autoincrement=True),
        sa.Column("exchange", sa.String(22), nullable=False, unique=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("reply", sa.LargeBinary),
        sa.Column("waiting", sa.SmallInteger, nullable=False),
        sa.Column("created_minute", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "wallet_transactions",
        sa.Column("transaction_hash", sa.String(43), primary_key=True),
        sa.Column("grant_id", sa.String(22), nullable=False),
        sa.Column("until_minute", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "wallet_nonce_keys",
        sa.Column("key_id", sa.LargeBinary, primary_key=True),
        sa.Column("nonce_key", sa.LargeBinary, nullable=False),
        sa.Column("begin_minute", sa.BigInteger, nullable=False),
        sa.Column("end_minute", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Not offered: the door's store holds nothing that could not be sent again."""
    raise NotImplementedError("the street door's store is not downgraded")
