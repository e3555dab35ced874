"""The tables of the street door. Times are Unix seconds UTC rounded down to the minute (`*_minute`).

Nothing here says who somebody is, what a document contains, or who submitted to whom: a submission carries
no account.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

metadata = MetaData()
Position = BigInteger().with_variant(Integer, "sqlite")

accounts = Table(
    "accounts",
    metadata,
    Column("account", String(22), primary_key=True),
    Column("device_key", LargeBinary, nullable=False),
    Column("device_key_hash", String(43), nullable=False, unique=True),
    Column("answer_number", BigInteger, nullable=False),
    Column("created_minute", BigInteger, nullable=False),
)

nonces = Table(
    "nonces",
    metadata,
    Column("position", Position, primary_key=True, autoincrement=True),
    Column("nonce", String(64), nullable=False, unique=True),
    Column("added_minute", BigInteger, nullable=False),
)

envelopes = Table(
    "envelopes",
    metadata,
    Column("position", Position, primary_key=True, autoincrement=True),
    Column("message_id", String(22), nullable=False, unique=True),
    Column("account", String(22), ForeignKey("accounts.account"), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("body_hash", String(43), nullable=False),
    Column("received_minute", BigInteger, nullable=False),
    UniqueConstraint("account", "body_hash", name="envelopes_once"),
)

answers = Table(
    "answers",
    metadata,
    Column("account", String(22), ForeignKey("accounts.account"), primary_key=True),
    Column("message_id", String(64), primary_key=True),
    Column("answer_number", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("stored_minute", BigInteger, nullable=False),
    UniqueConstraint("account", "answer_number", name="answers_in_order"),
)

packages = Table(
    "packages",
    metadata,
    Column("account", String(22), ForeignKey("accounts.account"), primary_key=True),
    Column("package_id", String(64), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("stored_minute", BigInteger, nullable=False),
    Column("fetched_minute", BigInteger),
)

used_tokens = Table(
    "used_tokens",
    metadata,
    Column("token_hash", String(43), primary_key=True),
    Column("until_minute", BigInteger, nullable=False),
    Index("used_tokens_until", "until_minute"),
)

requests = Table(
    "requests",
    metadata,
    Column("request_id", String(10), primary_key=True),
    Column("desk_key", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("body_hash", String(43), nullable=False, unique=True),
    Column("upload_token_hash", String(43), nullable=False),
    Column("mail_hash", String(43)),
    Column("created_minute", BigInteger, nullable=False),
    Column("expires_minute", BigInteger, nullable=False),
)

presentations = Table(
    "presentations",
    metadata,
    Column("presentation_id", String(22), primary_key=True),
    Column("desk_key", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_minute", BigInteger, nullable=False),
    Column("expires_minute", BigInteger, nullable=False),
    Column("answer", LargeBinary),
    Column("answer_hash", String(43)),
    Column("code_hash", String(43)),
    Column("answered_minute", BigInteger),
    Column("fetched_minute", BigInteger),
    Index("presentations_expire", "expires_minute"),
)

submissions = Table(
    "submissions",
    metadata,
    Column("receipt", String(22), primary_key=True),
    Column("request_id", String(10), ForeignKey("requests.request_id"), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("body_hash", String(43), nullable=False),
    Column("withdraw_hash", String(43)),
    Column("received_minute", BigInteger, nullable=False),
    Column("fetched_minute", BigInteger),
    UniqueConstraint("request_id", "body_hash", name="submissions_once"),
)
