"""Grants: the city's side of one offer or login to a wallet of somebody else. Every step is one compare-and-set.

One grant gives one set of copies: the first accepted credential request fixes the wallet's keys, and whoever comes second
finds them fixed. What a row says about a person is an opaque binding only. Deciding is `app.wallets`' part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from app.storage.once import insert_once
from app.storage.tables import copies
from app.storage.wallet_tables import wallet_exchanges, wallet_grants

MAX_EXCHANGES = 200
"""How many credential questions of one grant are remembered for a later deferred request."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One grant. Times are Unix seconds UTC.

    account          the phone that asked, or `login-…` (`app.wallets.grants.login_account`)
    binding          opaque: whose certificate
    wish_hash        digest of the wish that the card signed, or of what the login stood for
    secret           32 bytes from which code and tx_code follow; None when they are over (or never were)
    redeem_until     until when keys can be fixed
    holder_jwks      canonical JSON list of public keys; None until fixed
    dpop             thumbprint that the access token is bound to; fixed with the keys; None = bearer
    """

    grant_id: str
    request_id: str
    account: str
    binding: str
    message_id: str
    idempotency_key: str
    wish_hash: str
    document_kind: str
    fiscal_year: int
    profile: str
    configuration: str
    copies: int
    secret: bytes | None
    by_reference: bool
    opened_at: int
    expires_at: int
    redeem_until: int
    holder_jwks: str | None = None
    dpop: str | None = None
    fixed_at: int | None = None
    transaction_id: str | None = None
    notification_id: str | None = None
    event: str | None = None
    ended_at: int | None = None


_COLUMNS = tuple(wallet_grants.c[name] for name in Grant.__slots__)


def _grant(row: Row[Any] | None) -> Grant | None:
    if row is None:
        return None
    values = dict(zip(Grant.__slots__, row, strict=True))
    if values["secret"] is not None:
        values["secret"] = bytes(values["secret"])
    return Grant(**values)


def store_grant(connection: Connection, grant: Grant) -> None:
    """Insert a new grant; the unique keys refuse a second one for the same wish or request."""
    values = {name: getattr(grant, name) for name in Grant.__slots__}
    connection.execute(insert(wallet_grants).values(**values))


def find_grant(connection: Connection, grant_id: str) -> Grant | None:
    """The grant with this id."""
    return _grant(connection.execute(select(*_COLUMNS).where(wallet_grants.c.grant_id == grant_id)).first())


def find_by_wish(connection: Connection, account: str, idempotency_key: str) -> Grant | None:
    """The grant that this account's wish opened."""
    g = wallet_grants.c
    row = connection.execute(
        select(*_COLUMNS).where(g.account == account, g.idempotency_key == idempotency_key)
    ).first()
    return _grant(row)


def find_by_request(connection: Connection, request_id: str) -> Grant | None:
    """The grant of a request."""
    return _grant(
        connection.execute(select(*_COLUMNS).where(wallet_grants.c.request_id == request_id)).first()
    )


def find_of_binding(connection: Connection, binding: str, limit: int) -> list[Grant]:
    """The newest grants of a resident."""
    rows = connection.execute(
        select(*_COLUMNS)
        .where(wallet_grants.c.binding == binding)
        .order_by(wallet_grants.c.opened_at.desc())
        .limit(limit)
    )
    return [grant for row in rows if (grant := _grant(row)) is not None]


def fix_keys(
    connection: Connection,
    grant: Grant,
    *,
    holder_jwks: str,
    dpop: str | None,
    transaction_id: str,
    notification_id: str,
    at: int,
) -> bool:
    """Fix the wallet's keys, once: of two requests at the same time exactly one is told True."""
    g = wallet_grants.c
    result = connection.execute(
        update(wallet_grants)
        .where(
            g.grant_id == grant.grant_id,
            g.holder_jwks.is_(None),
            g.ended_at.is_(None),
            g.redeem_until > at,
        )
        .values(
            holder_jwks=holder_jwks,
            dpop=dpop,
            fixed_at=at,
            transaction_id=transaction_id,
            notification_id=notification_id,
            # A token was given out: the code is used up.
            secret=None,
        )
    )
    return result.rowcount == 1


def note_exchange(connection: Connection, grant_id: str, exchange: str, *, at: int) -> None:
    """Remember that this grant's set answers this credential question."""
    known = connection.execute(
        select(func.count()).select_from(wallet_exchanges).where(wallet_exchanges.c.grant_id == grant_id)
    ).scalar_one()
    if known < MAX_EXCHANGES:
        insert_once(connection, wallet_exchanges, exchange=exchange, grant_id=grant_id, at=at)


def is_exchange_of(connection: Connection, grant_id: str, exchange: str) -> bool:
    """Whether this grant's set answers that credential question."""
    x = wallet_exchanges.c
    found = connection.execute(
        select(x.exchange).where(x.exchange == exchange, x.grant_id == grant_id)
    ).first()
    return found is not None


def note_event(connection: Connection, grant: Grant, event: str) -> None:
    """What the wallet says it did."""
    connection.execute(
        update(wallet_grants).where(wallet_grants.c.grant_id == grant.grant_id).values(event=event)
    )


def end_grant(connection: Connection, grant_id: str, *, at: int) -> bool:
    """Nothing is handed over any more on this grant. False if it had ended before."""
    g = wallet_grants.c
    result = connection.execute(
        update(wallet_grants)
        .where(g.grant_id == grant_id, g.ended_at.is_(None))
        .values(ended_at=at, secret=None)
    )
    return result.rowcount == 1


def find_unredeemed(connection: Connection, *, before: int, limit: int) -> list[Grant]:
    """Living grants without keys whose time was over before `before`."""
    g = wallet_grants.c
    rows = connection.execute(
        select(*_COLUMNS)
        .where(g.holder_jwks.is_(None), g.ended_at.is_(None), g.redeem_until <= before)
        .limit(limit)
    )
    return [grant for row in rows if (grant := _grant(row)) is not None]


def find_open_of(connection: Connection, *, account: str = "", binding: str = "") -> list[Grant]:
    """The living grants of an account, or of a binding."""
    g = wallet_grants.c
    whose = g.account == account if account else g.binding == binding
    rows = connection.execute(select(*_COLUMNS).where(whose, g.ended_at.is_(None)))
    return [grant for row in rows if (grant := _grant(row)) is not None]


def find_kept_since(connection: Connection, *, before: int, limit: int) -> list[str]:
    """Requests whose copies were made ready before a time and are still kept for the wallet."""
    rows = connection.execute(
        select(copies.c.request_id)
        .where(copies.c.released_at < before, copies.c.forgotten_at.is_(None))
        .distinct()
        .limit(limit)
    )
    return [row.request_id for row in rows]


def forget_secrets(connection: Connection, *, at: int) -> None:
    """Codes that are over are not derived again."""
    g = wallet_grants.c
    connection.execute(
        update(wallet_grants).where(g.secret.is_not(None), g.expires_at <= at).values(secret=None)
    )
