"""The tables of the issuance worker's own store (one writer: the worker). Times are Unix seconds UTC.

What a resident's data touches is kept only while a request is under way (`artifacts`); what stays afterwards are
commitments, salts, hashes and states. The registers themselves are elsewhere (the register gate's store).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)

metadata = MetaData()
Serial = BigInteger().with_variant(Integer, "sqlite")

inbox = Table(
    "inbox",
    metadata,
    Column("position", Serial, primary_key=True, autoincrement=True),
    Column("message_id", String(64), nullable=False, unique=True),
    Column("account", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("handled_at", BigInteger),
)

nonces = Table(
    "nonces",
    metadata,
    Column("nonce_hash", String(64), primary_key=True),
    Column("made_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    # The message that used it: the same message, read again after a crash, may use it again; no other may.
    Column("used_by", String(64)),
)

handled_messages = Table(
    "handled_messages",
    metadata,
    Column("account", String(64), primary_key=True),
    Column("message_id", String(64), primary_key=True),
    Column("handled_at", BigInteger, nullable=False),
)

# One row for each handled message that may be asked again: only the very same bytes may, and seldom.
repeats = Table(
    "repeats",
    metadata,
    Column("account", String(64), primary_key=True),
    Column("message_id", String(64), primary_key=True),
    Column("envelope_hash", String(64), nullable=False),
    # The refusal that ended it, as it was answered; the other answers follow from the tables below.
    Column("refusal", Text),
    Column("answered_at", BigInteger, nullable=False),
    Column("day", BigInteger, nullable=False, server_default="0"),
    Column("repeated", Integer, nullable=False, server_default="0"),
)

accounts = Table(
    "accounts",
    metadata,
    Column("account", String(64), primary_key=True),
    Column("binding", String(64), nullable=False),
    Column("auth_issuer", String(64), nullable=False),
    Column("auth_serial", String(64), nullable=False),
    Column("signing_thumbprint", String(64), nullable=False),
    Column("signing_jwk", Text, nullable=False),
    Column("encryption_thumbprint", String(64), nullable=False),
    Column("encryption_jwk", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("mail", Text),
    Column("mail_code_hash", String(64)),
    Column("mail_attempts", Integer, nullable=False, server_default="0"),
    Column("mail_confirmed_at", BigInteger),
    Column("registered_at", BigInteger, nullable=False),
    Index("accounts_binding", "binding"),
)

requests = Table(
    "requests",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("account", String(64), nullable=False),
    Column("message_id", String(64), nullable=False),
    Column("idempotency_key", String(64), nullable=False),
    Column("body_hash", String(64), nullable=False),
    Column("document_kind", String(64), nullable=False),
    Column("fiscal_year", Integer, nullable=False),
    Column("state", String(24), nullable=False),
    Column("token", String(64)),
    Column("lease_until", BigInteger),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("refusal_code", String(64)),
    # How far the registers' change feed was when the record was read; NULL until then.
    Column("register_position", BigInteger),
    # phone: one certificate with its page; wallet: copies without page.
    Column("corridor", String(16), nullable=False, server_default="phone"),
    Column("accepted_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    UniqueConstraint("account", "idempotency_key", name="requests_once"),
    Index("requests_state", "state", "accepted_at"),
)

# Which requests were made under a mandate, so that its end takes their packages back. The mandate is in the gate's store.
mandate_requests = Table(
    "mandate_requests",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("mandate", String(32), nullable=False, index=True),
)

# Mails that tell of a new device. The address is read when the mail goes out and is not kept here.
notice_mails = Table(
    "notice_mails",
    metadata,
    Column("position", Serial, primary_key=True, autoincrement=True),
    # Whose confirmed address it goes to, and the new device it is about.
    Column("account", String(64), nullable=False),
    Column("about", String(64), nullable=False, index=True),
    Column("made_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    UniqueConstraint("account", "about", name="notice_mails_once"),
)

certificates = Table(
    "certificates",
    metadata,
    Column("certificate_id", String(32), primary_key=True),
    Column("request_id", String(64), nullable=False, unique=True),
    Column("issued_at", BigInteger, nullable=False),
    Column("valid_until", String(10), nullable=False),
    Column("status_list", Integer, nullable=False),
    Column("status_index", Integer, nullable=False),
    Column("salt_data", LargeBinary, nullable=False),
    Column("salt_page", LargeBinary, nullable=False),
    Column("salt_credential", LargeBinary, nullable=False),
    Column("entry", String(64)),
    Column("log_index", BigInteger),
    Column("package_id", String(64)),
    Column("package_hash", String(64)),
    Column("released_at", BigInteger),
)

# Copies of a request's certificate for foreign wallets: N rows a request, each with a key, a leaf and a status entry of
# its own. The credential and its proof are there only until the wallet has them.
copies = Table(
    "copies",
    metadata,
    Column("copy_id", String(32), primary_key=True),
    Column("request_id", String(64), nullable=False),
    Column("position", Integer, nullable=False),
    Column("holder_thumbprint", String(64), nullable=False),
    Column("holder_jwk", Text, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("valid_until", String(10), nullable=False),
    Column("status_list", Integer, nullable=False),
    Column("status_index", Integer, nullable=False),
    Column("salt_data", LargeBinary, nullable=False),
    Column("salt_page", LargeBinary, nullable=False),
    Column("salt_credential", LargeBinary, nullable=False),
    Column("entry", String(64)),
    Column("log_index", BigInteger),
    Column("credential", Text),
    Column("proof", Text),
    Column("released_at", BigInteger),
    Column("forgotten_at", BigInteger),
    UniqueConstraint("request_id", "position", name="copies_position"),
    UniqueConstraint("request_id", "holder_thumbprint", name="copies_holder"),
)

# Plain data of requests under way; deleted when the package is handed over or the request ends otherwise.
artifacts = Table(
    "artifacts",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("purpose", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("page", LargeBinary),
    Column("data", LargeBinary),
    Column("credential", Text),
    Column("proof", Text),
)

# What is to be put on the street door. A body stays until the door has confirmed it; a package's, which is ciphertext
# for one phone, a few days longer, so that what a door loses can be put there again.
outbox = Table(
    "outbox",
    metadata,
    Column("position", Serial, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),
    Column("account", String(64), nullable=False),
    Column("item_id", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("sent_at", BigInteger),
    UniqueConstraint("kind", "account", "item_id", name="outbox_once"),
)

sequences = Table(
    "sequences",
    metadata,
    Column("account", String(64), primary_key=True),
    Column("last_number", BigInteger, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("position", Serial, primary_key=True, autoincrement=True),
    Column("request_id", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("step", String(32), nullable=False),
    Column("state", String(24), nullable=False),
    Column("duration_ms", Integer),
    Column("reason", String(64)),
    Column("pushed", Boolean, nullable=False, server_default="0"),
    Index("events_request", "request_id"),
)

status_lists = Table(
    "status_lists",
    metadata,
    Column("status_list", Integer, primary_key=True),
    Column("size", Integer, nullable=False),
    # New entries are given out of open lists only; a closed one is published until its last entry has expired.
    Column("is_open", Boolean, nullable=False, server_default=true()),
    Column("token", Text),
    Column("issued_at", BigInteger),
    Column("published_at", BigInteger),
    Column("dirty", Boolean, nullable=False, server_default="1"),
)

# Whose bit is where. One row for each phone certificate and each copy; `last_day` is its legal last day.
status_entries = Table(
    "status_entries",
    metadata,
    Column("status_list", Integer, primary_key=True, autoincrement=False),
    Column("status_index", Integer, primary_key=True, autoincrement=False),
    Column("request_id", String(64), nullable=False),
    Column("last_day", String(10), nullable=False),
    Column("is_invalid", Boolean, nullable=False, server_default=false()),
    Index("status_entries_request", "request_id"),
    Index("status_entries_last_day", "last_day"),
)
Index(
    "status_entries_invalid",
    status_entries.c.status_list,
    status_entries.c.status_index,
    # SQLite uses the index only for the very words of the query.
    sqlite_where=text("is_invalid = 1"),
    postgresql_where=status_entries.c.is_invalid,
)

# Why a request's documents are no longer valid: one row for all of them. The list says none of it.
revocations = Table(
    "revocations",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("reason", String(32), nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("at", BigInteger, nullable=False),
)

progress = Table(
    "progress",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
