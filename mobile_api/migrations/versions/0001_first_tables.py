"""First tables of the street door.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "accounts",
        sa.Column("account", sa.String(22), primary_key=True),
        sa.Column("device_key", sa.LargeBinary, nullable=False),
        sa.Column("device_key_hash", sa.String(43), nullable=False, unique=True),
        sa.Column("answer_number", sa.BigInteger, nullable=False),
        sa.Column("created_minute", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "nonces",
        sa.Column("position", _POSITION, primary_key=True, autoincrement=True),
        sa.Column("nonce", sa.String(64), nullable=False, unique=True),
        sa.Column("added_minute", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "envelopes",
        sa.Column("position", _POSITION, primary_key=True, autoincrement=True),
        sa.Column("message_id", sa.String(22), nullable=False, unique=True),
        sa.Column("account", sa.String(22), sa.ForeignKey("accounts.account"), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("body_hash", sa.String(43), nullable=False),
        sa.Column("received_minute", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("account", "body_hash", name="envelopes_once"),
    )
    op.create_table(
        "answers",
        sa.Column("account", sa.String(22), sa.ForeignKey("accounts.account"), primary_key=True),
        sa.Column("message_id", sa.String(64), primary_key=True),
        sa.Column("answer_number", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("stored_minute", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("account", "answer_number", name="answers_in_order"),
    )
    op.create_table(
        "packages",
        sa.Column("account", sa.String(22), sa.ForeignKey("accounts.account"), primary_key=True),
        sa.Column("package_id", sa.String(64), primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("stored_minute", sa.BigInteger, nullable=False),
        sa.Column("fetched_minute", sa.BigInteger),
    )
    op.create_table(
        "used_tokens",
        sa.Column("token_hash", sa.String(43), primary_key=True),
        sa.Column("until_minute", sa.BigInteger, nullable=False),
    )
    op.create_index("used_tokens_until", "used_tokens", ["until_minute"])
    op.create_table(
        "requests",
        sa.Column("request_id", sa.String(10), primary_key=True),
        sa.Column("desk_key", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("body_hash", sa.String(43), nullable=False, unique=True),
        sa.Column("upload_token_hash", sa.String(43), nullable=False),
        sa.Column("mail_hash", sa.String(43)),
        sa.Column("created_minute", sa.BigInteger, nullable=False),
        sa.Column("expires_minute", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "submissions",
        sa.Column("receipt", sa.String(22), primary_key=True),
        sa.Column("request_id", sa.String(10), sa.ForeignKey("requests.request_id"), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("body_hash", sa.String(43), nullable=False),
        sa.Column("withdraw_hash", sa.String(43)),
        sa.Column("received_minute", sa.BigInteger, nullable=False),
        sa.Column("fetched_minute", sa.BigInteger),
        sa.UniqueConstraint("request_id", "body_hash", name="submissions_once"),
    )


def downgrade() -> None:
    """Not offered: the door's store holds nothing that could not be sent again."""
    raise NotImplementedError("the street door's store is not downgraded")
