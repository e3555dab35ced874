"""The register gate's own store: which card and which login belongs to which resident, and what was authorised. One
writer: the gate.

It stands in the number-using zone beside the registers. Times are Unix seconds UTC.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    delete,
    func,
    insert,
    literal,
    select,
)

from app.storage.engine import upgrade_store
from app.storage.once import insert_once

metadata = MetaData()
Serial = BigInteger().with_variant(Integer, "sqlite")

bindings = Table(
    "bindings",
    metadata,
    Column("binding", String(64), primary_key=True),
    Column("resident_id", String(64), nullable=False, unique=True),
    Column("bound_at", BigInteger, nullable=False),
)

cards = Table(
    "cards",
    metadata,
    Column("issuer", String(64), primary_key=True),
    Column("serial", String(64), primary_key=True),
    Column("binding", String(64), nullable=False),
    Column("bound_at", BigInteger, nullable=False),
)

authorised_requests = Table(
    "authorised_requests",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("binding", String(64), nullable=False),
    Column("request_digest", String(64), nullable=False),
    Column("document_kind", String(64), nullable=False),
    Column("fiscal_year", Integer, nullable=False),
    # 0: one certificate with its page, for a phone. More: that many copies without a page, for a wallet.
    Column("copies", Integer, nullable=False, server_default="0"),
    Column("authorised_at", BigInteger, nullable=False),
)

authorisations = Table(
    "authorisations",
    metadata,
    Column("position", Serial, primary_key=True, autoincrement=True),
    Column("jti", String(64), nullable=False, unique=True),
    Column("request_id", String(64), nullable=False, index=True),
    Column("serial", String(64), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("made_at", BigInteger, nullable=False),
)

# A login at the login provider (SHA-256 of issuer and pairwise subject) and whose it is. Bound once, by the four
# attributes; more than one may be a resident's, for a new card makes a new subject.
logins = Table(
    "logins",
    metadata,
    Column("login", String(64), primary_key=True),
    Column("binding", String(64), nullable=False, index=True),
    Column("bound_at", BigInteger, nullable=False),
)

# ID tokens that were used up, by SHA-256 of their nonce. `evidence` is the hash of what came with it: the same evidence
# for the same request may come again after a crash, and nothing else.
login_tokens = Table(
    "login_tokens",
    metadata,
    Column("nonce", String(64), primary_key=True),
    Column("request_id", String(64), nullable=False),
    Column("evidence", String(64), nullable=False),
    Column("used_at", BigInteger, nullable=False),
)

access_log = Table(
    "access_log",
    metadata,
    Column("position", Serial, primary_key=True, autoincrement=True),
    Column("binding", String(64), nullable=False, index=True),
    Column("request_id", String(64), nullable=False),
    Column("what", String(32), nullable=False),
    Column("at", BigInteger, nullable=False),
    UniqueConstraint("request_id", "what", "at", "position", name="access_log_line"),
)

COPY_PURPOSE: Final = "copy"
"""What `authorisations.purpose` says of a wallet copy's credential, which the signer's key purpose does not tell
apart from the credential of a phone certificate."""
MIGRATIONS: Final = Path(__file__).parent / "gate_migrations"


def upgrade_gate_store(engine: Engine) -> None:
    """Bring the gate's store to its newest revision."""
    upgrade_store(engine, MIGRATIONS)


@dataclass(frozen=True, slots=True)
class AuthorisedRequest:
    """One request the gate saw evidence for; copies: 0 = a certificate with its page, else so many copies without."""

    request_id: str
    binding: str
    request_digest: str
    document_kind: str
    fiscal_year: int
    copies: int = 0


def bind_card(connection: Connection, *, resident_id: str, issuer: str, serial: str, at: int) -> str:
    """Bind a card (issuer, serial of its user-authentication certificate) to a resident; returns the opaque
    binding.
    """
    binding = _binding_for(connection, resident_id, at=at)
    known = find_binding_of_card(connection, issuer=issuer, serial=serial)
    if known is None:
        connection.execute(insert(cards).values(issuer=issuer, serial=serial, binding=binding, bound_at=at))
    elif known != binding:
        raise ValueError("this card is bound to somebody else")
    return binding


def bind_resident(connection: Connection, *, resident_id: str, at: int) -> str:
    """The resident's opaque binding, made if there is none."""
    return _binding_for(connection, resident_id, at=at)


def bind_login(connection: Connection, *, resident_id: str, login: str, at: int) -> tuple[str, bool]:
    """Bind a login (hash, 64 hex characters) to a resident; (the opaque binding, whether it is new).

    Raises ValueError when it is bound to somebody else.
    """
    binding = _binding_for(connection, resident_id, at=at)
    is_new = insert_once(connection, logins, login=login, binding=binding, bound_at=at)
    if not is_new and find_binding_of_login(connection, login) != binding:
        raise ValueError("this login is bound to somebody else")
    return binding, is_new


def find_binding_of_login(connection: Connection, login: str) -> str | None:
    """The binding of a login, if it was bound."""
    row = connection.execute(select(logins.c.binding).where(logins.c.login == login)).first()
    return None if row is None else row.binding


def take_login_token(connection: Connection, *, nonce: str, request_id: str, evidence: str, at: int) -> bool:
    """Use an ID token up, in one statement; all three are hashes or ids. False if it was used for anything else."""
    if insert_once(
        connection, login_tokens, nonce=nonce, request_id=request_id, evidence=evidence, used_at=at
    ):
        return True
    t = login_tokens.c
    same = connection.execute(
        select(t.nonce).where(t.nonce == nonce, t.request_id == request_id, t.evidence == evidence)
    ).first()
    return same is not None


def drop_login_tokens(connection: Connection, *, before: int) -> None:
    """Forget tokens that have long expired: their dates refuse them."""
    connection.execute(delete(login_tokens).where(login_tokens.c.used_at < before))


def _binding_for(connection: Connection, resident_id: str, *, at: int) -> str:
    known = find_binding_of(connection, resident_id)
    if known is not None:
        return known
    made = secrets.token_hex(16)
    if insert_once(connection, bindings, binding=made, resident_id=resident_id, bound_at=at):
        return made
    # Somebody else bound this resident for the first time at the same moment.
    return str(find_binding_of(connection, resident_id))


def find_binding_of_card(connection: Connection, *, issuer: str, serial: str) -> str | None:
    """The binding of a card, if it was registered."""
    row = connection.execute(
        select(cards.c.binding).where(cards.c.issuer == issuer, cards.c.serial == serial)
    ).first()
    return None if row is None else row.binding


def find_resident_of(connection: Connection, binding: str) -> str | None:
    """The resident behind a binding (never leaves the gate)."""
    row = connection.execute(select(bindings.c.resident_id).where(bindings.c.binding == binding)).first()
    return None if row is None else row.resident_id


def find_binding_of(connection: Connection, resident_id: str) -> str | None:
    """The binding of a resident, if any of their cards was registered."""
    row = connection.execute(select(bindings.c.binding).where(bindings.c.resident_id == resident_id)).first()
    return None if row is None else row.binding


def find_request(connection: Connection, request_id: str) -> AuthorisedRequest | None:
    """An authorised request."""
    columns = [authorised_requests.c[name] for name in AuthorisedRequest.__slots__]
    row = connection.execute(select(*columns).where(authorised_requests.c.request_id == request_id)).first()
    return None if row is None else AuthorisedRequest(*row)


def find_same_wish(connection: Connection, binding: str, request_digest: str) -> list[str]:
    """The requests that this wish of this binding opened. Holds the binding until the commit.

    Of two calls with one piece of evidence and two request ids the second waits, and then finds the first.
    """
    connection.execute(
        select(bindings.c.binding).where(bindings.c.binding == binding).with_for_update()
    ).first()
    a = authorised_requests.c
    rows = connection.execute(
        select(a.request_id).where(a.binding == binding, a.request_digest == request_digest)
    )
    return [row.request_id for row in rows]


def lock_request(connection: Connection, request_id: str) -> None:
    """Hold a request until the commit: what is counted of it then cannot be outrun by another call."""
    connection.execute(
        select(authorised_requests.c.request_id)
        .where(authorised_requests.c.request_id == request_id)
        .with_for_update()
    ).first()


def find_requests_of(connection: Connection, binding: str, fiscal_year: int) -> list[str]:
    """The request ids of a binding for one fiscal year, oldest first."""
    a = authorised_requests.c
    rows = connection.execute(
        select(a.request_id)
        .where(a.binding == binding, a.fiscal_year == fiscal_year)
        .order_by(a.authorised_at, a.request_id)
    )
    return [row.request_id for row in rows]


def store_request(connection: Connection, request: AuthorisedRequest, *, at: int) -> None:
    """Remember that card evidence for this request was seen."""
    values = {name: getattr(request, name) for name in AuthorisedRequest.__slots__}
    connection.execute(insert(authorised_requests).values(**values, authorised_at=at))


def note_authorisation(
    connection: Connection, *, jti: str, request_id: str, serial: str, purpose: str, digest: str, at: int
) -> None:
    """Remember what the signer was allowed to sign, before the authorisation leaves the gate."""
    connection.execute(
        insert(authorisations).values(
            jti=jti, request_id=request_id, serial=serial, purpose=purpose, digest=digest, made_at=at
        )
    )


def count_digests(connection: Connection, *, request_id: str, purpose: str, without: str) -> int:
    """How many different digests, other than `without`, were authorised for one request and purpose."""
    return int(
        connection.execute(
            select(func.count(func.distinct(authorisations.c.digest))).where(
                authorisations.c.request_id == request_id,
                authorisations.c.purpose == purpose,
                authorisations.c.digest != without,
            )
        ).scalar_one()
    )


def count_recent(connection: Connection, *, purpose: str, since: int, request_id: str = "") -> int:
    """How many authorisations of a purpose (and, if given, of a request) were made since a time."""
    a = authorisations.c
    of_request = (a.request_id == request_id,) if request_id else ()
    return int(
        connection.execute(
            select(func.count())
            .select_from(authorisations)
            .where(a.purpose == purpose, a.made_at >= since, *of_request)
        ).scalar_one()
    )


def find_digests(connection: Connection, *, request_id: str) -> dict[str, str]:
    """Serial → digest (hex) of what was authorised first for each serial of a request."""
    a = authorisations.c
    rows = connection.execute(
        select(a.serial, a.digest).where(a.request_id == request_id).order_by(a.position)
    )
    found: dict[str, str] = {}
    for row in rows:
        found.setdefault(row.serial, row.digest)
    return found


def find_serial(connection: Connection, *, request_id: str) -> str | None:
    """The certificate serial a request's page was first authorised under: one request, one serial."""
    row = connection.execute(
        select(authorisations.c.serial)
        .where(authorisations.c.request_id == request_id)
        .order_by(authorisations.c.position)
        .limit(1)
    ).first()
    return None if row is None else row.serial


def note_access(connection: Connection, *, binding: str, request_id: str, what: str, at: int) -> None:
    """やりとり履歴: one line for each look at a resident's record."""
    connection.execute(insert(access_log).values(binding=binding, request_id=request_id, what=what, at=at))


def count_sealable(connection: Connection) -> int:
    """How many documents were authorised: what seals and leaves are compared with.

    A phone certificate is a request with a page seal. A copy is a serial noted under COPY_PURPOSE. Neither is
    counted twice when it is authorised again after a crash; the page's code, which is signed before the page
    exists, counts for nothing.
    """
    a = authorisations.c
    pages = select(a.request_id, literal("").label("serial")).where(a.purpose == "page_seal").distinct()
    copies = select(a.request_id, a.serial).where(a.purpose == COPY_PURPOSE).distinct()
    documents = pages.union_all(copies).subquery()
    return int(connection.execute(select(func.count()).select_from(documents)).scalar_one())
