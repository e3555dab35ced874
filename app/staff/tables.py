"""Tables of the staff console's own store. Nothing here can name a resident.

Every table carries the six-digit city code. Times are integer Unix seconds UTC, except event times, which are
ISO 8601 text in UTC with exactly three decimals (`2026-11-20T01:02:03.004Z`), so that text order is time
order. The first migration creates exactly these tables; a test compares.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

BIG_KEY: Final = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

# Who may log in. `totp_last_step` makes a time-based code single-use.
staff_login = Table(
    "staff_login",
    metadata,
    Column("city", String(6), primary_key=True),
    Column("name", String(32), primary_key=True),
    Column("password_hash", Text, nullable=False),
    Column("totp_secret", Text),
    Column("totp_last_step", BigInteger, nullable=False, default=0),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
)

# A session is known by the SHA-256 of its cookie only: reading this table logs nobody in.
staff_session = Table(
    "staff_session",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("city", String(6), nullable=False),
    Column("name", String(32), nullable=False),
    Column("csrf", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    ForeignKeyConstraint(["city", "name"], ["staff_login.city", "staff_login.name"]),
)

login_failure = Table(
    "login_failure",
    metadata,
    Column("city", String(6), primary_key=True),
    Column("throttle_key", String(64), primary_key=True),
    Column("since", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
)

# The newest known state of each request; derived from `event`, kept because every page asks for it.
issuance = Table(
    "issuance",
    metadata,
    Column("city", String(6), primary_key=True),
    Column("request_id", String(64), primary_key=True),
    Column("state", String(32), nullable=False),
    Column("step", String(32), nullable=False),
    Column("first_at", String(24), nullable=False),
    Column("last_at", String(24), nullable=False),
    Column("reason", String(64)),
    Index("issuance_by_state", "city", "state", "last_at"),
    Index("issuance_by_time", "city", "last_at"),
)

event = Table(
    "event",
    metadata,
    Column("id", BIG_KEY, primary_key=True, autoincrement=True),
    Column("city", String(6), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("at", String(24), nullable=False),
    Column("step", String(32), nullable=False),
    Column("state", String(32), nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("reason", String(64)),
    UniqueConstraint("city", "request_id", "at", "step", "state", name="event_once"),
    Index("event_by_time", "city", "at"),
)

# One row a city. `unequal_since`: when seals, leaves and authorised began to differ.
snapshot = Table(
    "snapshot",
    metadata,
    Column("city", String(6), primary_key=True),
    Column("received_at", BigInteger, nullable=False),
    Column("unequal_since", BigInteger),
    Column("body", Text, nullable=False),
)

# `open_request` holds the request id while the revocation is open, else NULL: unique, so there is one open
# one a request.
revocation = Table(
    "revocation",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("city", String(6), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("open_request", String(64)),
    Column("state", String(16), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("case_number", String(32), nullable=False),
    Column("asked_by", String(32), nullable=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("confirmed_by", String(32)),
    Column("closed_at", BigInteger),
    UniqueConstraint("city", "open_request", name="revocation_one_open"),
    Index("revocation_by_request", "city", "request_id"),
)

# Work for the issuance worker. `id` is the revocation's id, so one agreement makes one command.
command = Table(
    "command",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("city", String(6), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("acked_at", BigInteger),
    Column("outcome", String(16)),
    Column("code", String(64)),
    Index("command_waiting", "city", "acked_at", "created_at"),
)

# Append-only: nothing in this room updates or deletes a row of it.
audit_line = Table(
    "audit_line",
    metadata,
    Column("id", BIG_KEY, primary_key=True, autoincrement=True),
    Column("city", String(6), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("who", String(32), nullable=False),
    Column("act", String(32), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("outcome", String(64), nullable=False),
)
