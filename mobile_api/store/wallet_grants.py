"""Statements on offers, codes, tokens and logins of wallets. Each function works inside the caller's transaction.

What counts once is decided by one UPDATE with its conditions in the WHERE: of two callers with one code, from two
processes, exactly one gets a row back.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, or_, select, update

from mobile_api.store.once import insert_once
from mobile_api.store.wallet_tables import wallet_offers, wallet_sessions, wallet_tokens

MAX_ATTEMPTS: Final = 5
"""Wrong tx_codes before an offer is dead."""
_TOKEN: Final = select(wallet_tokens).where(wallet_tokens.c.token_hash == bindparam("of"))


class Redemption(StrEnum):
    """Why a code was not redeemed."""

    NO_CODE = "wrong, expired, used or dead code"
    TX_CODE_MISSING = "a tx_code is needed"
    TX_CODE_UNEXPECTED = "no tx_code belongs to this offer"
    WRONG_TX_CODE = "wrong tx_code"


@dataclass(frozen=True, slots=True)
class Offer:
    """One offer as the city put it. Hashes are base64url text; `tx_code_length` None: it has no tx_code."""

    grant: str
    code_hash: str
    tx_code_hash: str | None
    tx_code_length: int | None
    profile: str
    configuration: str
    copies: int
    expires_minute: int


@dataclass(frozen=True, slots=True)
class Token:
    """What an access token stands for. `key_hash`: thumbprint of the key it is bound to; None = bearer."""

    token_hash: str
    grant: str
    profile: str
    key_hash: str | None
    client_hash: str | None
    code_hash: str | None
    until_minute: int


@dataclass(frozen=True, slots=True)
class Session:
    """One authorization: what was pushed, as hashes; `body` is sealed to a secret of the wallet's browser."""

    session: str
    client_hash: str
    key_hash: str
    challenge_hash: str
    redirect_hash: str
    configuration: str
    body: bytes
    grant: str | None = None


def add_offer(connection: Connection, offer: Offer, body_hash: str) -> bool:
    """Store an offer once. True: stored, or there already with this body; False: something else is there."""
    row = {
        "grant_id": offer.grant,
        "code_hash": offer.code_hash,
        "tx_code_hash": offer.tx_code_hash,
        "tx_code_length": offer.tx_code_length,
        "attempts": 0,
        "profile": offer.profile,
        "configuration": offer.configuration,
        "copies": offer.copies,
        "body_hash": body_hash,
        "expires_minute": offer.expires_minute,
    }
    if insert_once(connection, wallet_offers, row):
        return True
    known = select(wallet_offers.c.body_hash).where(wallet_offers.c.grant_id == offer.grant)
    return connection.execute(known).scalar_one_or_none() == body_hash


def end_grant(connection: Connection, grant: str, minute: int) -> None:
    """No code, login or token of this grant counts any more. A late repetition of its PUT does not bring it back."""
    connection.execute(
        update(wallet_offers).where(wallet_offers.c.grant_id == grant).values(ended_minute=minute)
    )
    connection.execute(delete(wallet_sessions).where(wallet_sessions.c.grant_id == grant))
    connection.execute(delete(wallet_tokens).where(wallet_tokens.c.grant_id == grant))


def find_offer(connection: Connection, code_hash: str, minute: int) -> Offer | None:
    """The offer of this code while it can still be redeemed."""
    row = connection.execute(select(wallet_offers).where(*_open_offer(code_hash, minute))).one_or_none()
    if row is None:
        return None
    return Offer(
        row.grant_id,
        row.code_hash,
        row.tx_code_hash,
        row.tx_code_length,
        row.profile,
        row.configuration,
        row.copies,
        row.expires_minute,
    )


def redeem_offer(
    connection: Connection,
    code_hash: str,
    profile: str,
    hash_tx_code: Callable[[str], str] | None,
    minute: int,
) -> str | Redemption:
    """Use a pre-authorized code up: its grant, or why not. Commit in either case, so that a wrong guess counts.

    hash_tx_code  makes the hash of what the wallet sent from the grant id; None: it sent no tx_code
    """
    offer = find_offer(connection, code_hash, minute)
    if offer is None or offer.profile != profile:
        return Redemption.NO_CODE
    if offer.tx_code_hash is not None:
        if hash_tx_code is None:
            return Redemption.TX_CODE_MISSING
        # Counted before it is compared, in one statement: many guesses at once are still only MAX_ATTEMPTS.
        counted = connection.execute(
            update(wallet_offers)
            .where(*_open_offer(code_hash, minute))
            .values(attempts=wallet_offers.c.attempts + 1)
            .returning(wallet_offers.c.grant_id)
        ).first()
        if counted is None:
            return Redemption.NO_CODE
        said = hash_tx_code(offer.grant)
        if not hmac.compare_digest(said.encode(), offer.tx_code_hash.encode()):
            return Redemption.WRONG_TX_CODE
    elif hash_tx_code is not None:
        return Redemption.TX_CODE_UNEXPECTED
    taken = connection.execute(
        update(wallet_offers)
        .where(
            wallet_offers.c.code_hash == code_hash,
            wallet_offers.c.used_minute.is_(None),
            wallet_offers.c.ended_minute.is_(None),
        )
        .values(used_minute=minute)
        .returning(wallet_offers.c.grant_id)
    ).first()
    return Redemption.NO_CODE if taken is None else str(taken.grant_id)


def add_token(connection: Connection, token: Token) -> None:
    """Store what a new token stands for."""
    connection.execute(
        wallet_tokens.insert().values(
            token_hash=token.token_hash,
            grant_id=token.grant,
            profile=token.profile,
            key_hash=token.key_hash,
            client_hash=token.client_hash,
            code_hash=token.code_hash,
            until_minute=token.until_minute,
        )
    )


def find_token(connection: Connection, token_hash: str) -> Token | None:
    """What this token stands for. Whether its time is over the token itself says."""
    row = connection.execute(_TOKEN, {"of": token_hash}).one_or_none()
    if row is None:
        return None
    return Token(
        row.token_hash,
        row.grant_id,
        row.profile,
        row.key_hash,
        row.client_hash,
        row.code_hash,
        row.until_minute,
    )


def add_session(connection: Connection, session: Session, request_hash: str, until_minute: int) -> None:
    """Store a pushed authorization request."""
    connection.execute(
        wallet_sessions.insert().values(
            session=session.session,
            request_hash=request_hash,
            client_hash=session.client_hash,
            key_hash=session.key_hash,
            challenge_hash=session.challenge_hash,
            redirect_hash=session.redirect_hash,
            configuration=session.configuration,
            body=session.body,
            until_minute=until_minute,
        )
    )


def take_request(connection: Connection, request_hash: str, client_hash: str) -> Session | None:
    """Use a request_uri up. None: unknown, used, or pushed by another client."""
    return _take(
        connection,
        (wallet_sessions.c.request_hash == request_hash, wallet_sessions.c.client_hash == client_hash),
        {"request_hash": None},
    )


def begin_login(
    connection: Connection, session: str, cookie_hash: str, body: bytes, until_minute: int
) -> None:
    """Bind a session to the browser that has this cookie."""
    connection.execute(
        update(wallet_sessions)
        .where(wallet_sessions.c.session == session)
        .values(cookie_hash=cookie_hash, body=body, until_minute=until_minute)
    )


def take_login(connection: Connection, cookie_hash: str) -> Session | None:
    """Use a login up: the browser with this cookie came back. None: unknown or used."""
    return _take(connection, (wallet_sessions.c.cookie_hash == cookie_hash,), {"cookie_hash": None})


def grant_session(
    connection: Connection, session: str, grant: str, code_hash: str, until_minute: int
) -> None:
    """The login was good: a code for this grant. What the wallet pushed is not needed any more."""
    connection.execute(
        update(wallet_sessions)
        .where(wallet_sessions.c.session == session)
        .values(grant_id=grant, code_hash=code_hash, until_minute=until_minute, body=None)
    )


def drop_session(connection: Connection, session: str) -> None:
    """The login led to nothing."""
    connection.execute(delete(wallet_sessions).where(wallet_sessions.c.session == session))


def redeem_code(connection: Connection, code_hash: str, minute: int) -> Session | None:
    """Use an authorization code up. None: unknown or used; if it was used, its tokens end (RFC 6749 section 10.5)."""
    found = _take(
        connection,
        (wallet_sessions.c.code_hash == code_hash, wallet_sessions.c.used_minute.is_(None)),
        {"used_minute": minute},
    )
    if found is None:
        end_code(connection, code_hash)
    return found


def end_code(connection: Connection, code_hash: str) -> None:
    """The tokens that were given for this code end."""
    connection.execute(delete(wallet_tokens).where(wallet_tokens.c.code_hash == code_hash))


def sweep_grants(connection: Connection, minute: int) -> int:
    """Delete what is over; how many rows."""
    gone = 0
    for table in (wallet_tokens, wallet_sessions):
        gone += connection.execute(delete(table).where(table.c.until_minute < minute)).rowcount
    # An ended offer stays until it would have expired: a late PUT of it must not make it anew.
    return (
        gone
        + connection.execute(delete(wallet_offers).where(wallet_offers.c.expires_minute < minute)).rowcount
    )


def _open_offer(code_hash: str, minute: int) -> tuple[Any, ...]:
    offers = wallet_offers.c
    return (
        offers.code_hash == code_hash,
        offers.used_minute.is_(None),
        offers.ended_minute.is_(None),
        offers.expires_minute > minute,
        or_(offers.tx_code_hash.is_(None), offers.attempts < MAX_ATTEMPTS),
    )


def _take(connection: Connection, where: tuple[Any, ...], values: dict[str, Any]) -> Session | None:
    row = connection.execute(
        update(wallet_sessions).where(*where).values(**values).returning(wallet_sessions)
    ).one_or_none()
    if row is None:
        return None
    return Session(
        row.session,
        row.client_hash,
        row.key_hash,
        row.challenge_hash,
        row.redirect_hash,
        row.configuration,
        b"" if row.body is None else bytes(row.body),
        row.grant_id,
    )
