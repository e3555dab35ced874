"""The tables of the wallets of others. No name, figure, address or text of a wallet is in them, and no secret but one.

Codes, tokens and addresses that somebody must show again are kept as hashes only; when a token ends stands in the token
itself, so that no column needs a clock finer than a minute. What a wallet said about its login (where to send the
browser back) is sealed to a secret that only that browser has. The one secret is `nonce_key`: it makes challenges.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, SmallInteger, String, Table

from mobile_api.store.tables import Position, metadata

wallet_offers = Table(
    "wallet_offers",
    metadata,
    Column("grant_id", String(22), primary_key=True),
    Column("code_hash", String(43), nullable=False, unique=True),
    Column("tx_code_hash", String(43)),
    Column("tx_code_length", SmallInteger),
    Column("attempts", SmallInteger, nullable=False),
    Column("profile", String(8), nullable=False),
    Column("configuration", String(64), nullable=False),
    Column("copies", SmallInteger, nullable=False),
    Column("body_hash", String(43), nullable=False),
    Column("expires_minute", BigInteger, nullable=False),
    Column("used_minute", BigInteger),
    Column("ended_minute", BigInteger),
)

wallet_tokens = Table(
    "wallet_tokens",
    metadata,
    Column("token_hash", String(43), primary_key=True),
    Column("grant_id", String(22), nullable=False),
    Column("profile", String(8), nullable=False),
    Column("key_hash", String(43)),
    Column("client_hash", String(43)),
    Column("code_hash", String(43)),
    Column("until_minute", BigInteger, nullable=False),
    Index("wallet_tokens_grant", "grant_id"),
    Index("wallet_tokens_code", "code_hash"),
)

wallet_sessions = Table(
    "wallet_sessions",
    metadata,
    Column("session", String(22), primary_key=True),
    Column("request_hash", String(43), unique=True),
    Column("cookie_hash", String(43), unique=True),
    Column("code_hash", String(43), unique=True),
    Column("client_hash", String(43), nullable=False),
    Column("key_hash", String(43), nullable=False),
    Column("challenge_hash", String(43), nullable=False),
    Column("redirect_hash", String(43), nullable=False),
    Column("configuration", String(64), nullable=False),
    Column("body", LargeBinary),
    Column("grant_id", String(22)),
    Column("used_minute", BigInteger),
    Column("until_minute", BigInteger, nullable=False),
)

wallet_exchanges = Table(
    "wallet_exchanges",
    metadata,
    Column("position", Position, primary_key=True, autoincrement=True),
    Column("exchange", String(22), nullable=False, unique=True),
    Column("body", LargeBinary, nullable=False),
    Column("reply", LargeBinary),
    Column("waiting", SmallInteger, nullable=False),
    Column("created_minute", BigInteger, nullable=False),
)

wallet_transactions = Table(
    "wallet_transactions",
    metadata,
    Column("transaction_hash", String(43), primary_key=True),
    Column("grant_id", String(22), nullable=False),
    Column("until_minute", BigInteger, nullable=False),
)

wallet_nonce_keys = Table(
    "wallet_nonce_keys",
    metadata,
    Column("key_id", LargeBinary, primary_key=True),
    Column("nonce_key", LargeBinary, nullable=False),
    Column("begin_minute", BigInteger, nullable=False),
    Column("end_minute", BigInteger, nullable=False),
)
