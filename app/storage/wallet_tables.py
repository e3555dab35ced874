"""The tables of issuance to wallets of others, in the worker's own store (one writer: the worker). Unix seconds UTC.

A grant is the city's side of one offer or login. Codes are never here: they follow from `secret`, which goes as soon as a
wallet has fixed its keys or the code is over.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from app.storage.tables import metadata

wallet_grants = Table(
    "wallet_grants",
    metadata,
    # "grant" is a word of SQL.
    Column("grant_id", String(22), primary_key=True),
    Column("request_id", String(64), nullable=False, unique=True),
    Column("account", String(64), nullable=False),
    Column("binding", String(64), nullable=False),
    Column("message_id", String(64), nullable=False),
    Column("idempotency_key", String(64), nullable=False),
    Column("wish_hash", String(64), nullable=False),
    Column("document_kind", String(64), nullable=False),
    Column("fiscal_year", Integer, nullable=False),
    Column("profile", String(8), nullable=False),
    Column("configuration", String(64), nullable=False),
    Column("copies", Integer, nullable=False),
    Column("secret", LargeBinary),
    Column("by_reference", Boolean, nullable=False, server_default=false()),
    Column("opened_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("redeem_until", BigInteger, nullable=False),
    # Fixed together, once, by the first accepted credential request.
    Column("holder_jwks", Text),
    Column("dpop", String(64)),
    Column("fixed_at", BigInteger),
    Column("transaction_id", String(64), unique=True),
    Column("notification_id", String(64), unique=True),
    # What the wallet said it did with the credentials.
    Column("event", String(32)),
    Column("ended_at", BigInteger),
    UniqueConstraint("account", "idempotency_key", name="wallet_grants_once"),
    Index("wallet_grants_binding", "binding"),
)

# The door's ids of the credential questions that a grant's set answers: a wallet may ask for it later by one of them.
wallet_exchanges = Table(
    "wallet_exchanges",
    metadata,
    Column("exchange", String(22), primary_key=True),
    Column("grant_id", String(22), nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("wallet_exchanges_grant", "grant_id"),
)

wallet_nonces = Table(
    "wallet_nonces",
    metadata,
    Column("nonce_hash", String(64), primary_key=True),
    # The exchange that used it: the same question, taken again after a crash, may use it again; no other may.
    Column("used_by", String(22), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

# MAC keys of the challenges (`mobile_api.wallet_nonce`); stored before the street door gets one.
wallet_nonce_keys = Table(
    "wallet_nonce_keys",
    metadata,
    Column("key_id", String(8), primary_key=True),
    Column("key", LargeBinary, nullable=False),
    Column("begin_at", BigInteger, nullable=False),
    Column("end_at", BigInteger, nullable=False),
    Column("sent_at", BigInteger),
)

# Public metadata: what lies at the street door. `digest` is of what it was made from, so that it is signed anew only when
# that has changed or the signature has become old.
wallet_files = Table(
    "wallet_files",
    metadata,
    Column("path", String(64), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("made_at", BigInteger, nullable=False),
)

# A copy that lacks only its signature: stored before one is asked for, so that the gate authorises one digest a copy.
copy_drafts = Table(
    "copy_drafts",
    metadata,
    Column("copy_id", String(32), primary_key=True),
    Column("request_id", String(64), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("signing_input", Text, nullable=False),
    Column("disclosures", Text, nullable=False),
    Index("copy_drafts_request", "request_id"),
)

WALLET_TABLES = (
    wallet_grants,
    wallet_exchanges,
    wallet_nonces,
    wallet_nonce_keys,
    wallet_files,
    copy_drafts,
)
