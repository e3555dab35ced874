"""The gate's tables for mandates, the counter and what the gate tells the worker. One writer: the gate.

Times are Unix seconds UTC, legal days ISO text (Asia/Tokyo). Of every one-time code only the SHA-256 is kept.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from app.registers.gate_store import Serial, metadata

mandates: Final = Table(
    "mandates",
    metadata,
    Column("mandate", String(32), primary_key=True),
    Column("giver", String(64), nullable=False),
    Column("agent", String(64), nullable=False),
    Column("document_kind", String(64), nullable=False),
    Column("fiscal_years", String(64), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("valid_from", String(10), nullable=False),
    Column("valid_until", String(10), nullable=False),
    Column("record_digest", String(64), nullable=False),
    # The record, the card's statement, certificate and signature: the proof of the mandate (canonical JSON).
    Column("evidence", Text, nullable=False),
    Column("state", String(16), nullable=False),
    # Why it ended, in full: inside the gate only.
    Column("cause", String(16)),
    Column("offered_at", BigInteger, nullable=False),
    Column("accepted_at", BigInteger),
    Column("confirmed_at", BigInteger),
    Column("confirmed_by", String(16)),
    Column("ended_at", BigInteger),
    Column("letter_hash", String(64)),
    Column("letter_at", BigInteger),
    Column("letter_attempts", Integer, nullable=False, server_default="0"),
    Index("mandates_giver", "giver"),
    Index("mandates_agent", "agent"),
)

mandate_codes: Final = Table(
    "mandate_codes",
    metadata,
    Column("code_hash", String(64), primary_key=True),
    Column("binding", String(64), nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    # The mandate that used it: the same record, read again after a crash, may use it again; no other may.
    Column("used_by", String(32)),
    Index("mandate_codes_binding", "binding", "made_at"),
)

mandate_uses: Final = Table(
    "mandate_uses",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("mandate", String(32), nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
)

# What happened to a binding, for its history and its notices: a word and a mandate, never a person.
gate_events: Final = Table(
    "gate_events",
    metadata,
    # Counted in gate_progress, so that a smaller number is never committed after a larger one.
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("binding", String(64), nullable=False, index=True),
    Column("what", String(32), nullable=False),
    Column("mandate", String(32), nullable=False),
    Column("at", BigInteger, nullable=False),
)

gate_progress: Final = Table(
    "gate_progress",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

device_locks: Final = Table(
    "device_locks",
    metadata,
    Column("binding", String(64), primary_key=True),
    Column("locked_at", BigInteger, nullable=False),
)

counter_codes: Final = Table(
    "counter_codes",
    metadata,
    Column("code_hash", String(64), primary_key=True),
    Column("resident_id", String(64), nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    # Account and signing key that used it: the same message after a crash may use it again; no other may.
    Column("used_by", String(64)),
    Column("used_at", BigInteger),
)

# Every act of the counter's staff, written before it takes effect.
counter_acts: Final = Table(
    "counter_acts",
    metadata,
    Column("number", Serial, primary_key=True, autoincrement=True),
    Column("what", String(32), nullable=False),
    Column("resident_id", String(64), nullable=False),
    Column("staff", String(64), nullable=False),
    Column("second", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

COUNTERS: Final = ("events", "register-changes")
"""Rows of gate_progress that are there from the beginning."""

ALL: Final = (
    mandates,
    mandate_codes,
    mandate_uses,
    gate_events,
    gate_progress,
    device_locks,
    counter_codes,
    counter_acts,
)
