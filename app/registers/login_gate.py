"""The register gate's own check of a login: whose it is, shown by what the login provider signed and by nothing else.

    1. the ID token: signature by a pinned key, issuer, audience, times, acr         – else refused
    2. its nonce commits to this request and this wish (`login_nonce`)               – else refused
    3. userinfo, where there is any: signed, of the same subject                     – else refused
    4. the token is used up, in one statement                                        – else refused
    5. the attributes lead to exactly one resident through the matching door         – else the counter
    6. (issuer, subject) is bound to that resident, or was bound to no other before  – else the counter

The provider's keys are settings of the gate's own (`app.settings`), so that neither the street door nor the worker, which
both pass the tokens on, can choose a person. That the card was not revoked is the provider's word (acr_values `aal3 crl`):
the city never sees that certificate. This module has no clock of its own and opens no connection.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Engine

from app.identity.login import (
    MAX_PENDING,
    MAX_TOKEN_LIFE,
    Client,
    Login,
    LoginRefused,
    PendingLogin,
    login_nonce,
    verify_id_token,
)
from app.identity.login_provider import LoginProvider
from app.identity.userinfo import verify_userinfo
from app.issuance.refusals import refusal
from app.registers import gate_store
from app.registers.card_attributes import CardAttributes
from app.registers.release import RecordRelease
from verifier.errors import FormatError
from verifier.formats.encoding import base64url_decode

SALT_BYTES: Final = 32
TOKEN_MEMORY: Final = 2 * int(MAX_TOKEN_LIFE.total_seconds())
"""Seconds. A token lives an hour at most; its nonce is remembered longer than that."""


@dataclass(frozen=True, slots=True)
class LoginEvidence:
    """What the worker brings: the ID token and, where the person gave attributes, signed userinfo (both compact JWTs;
    userinfo "" for none), and the salt of the nonce (43 characters).
    """

    id_token: str = field(repr=False)
    userinfo: str = field(repr=False)
    salt: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SeenLogin:
    """A login that holds, not yet anybody's. login: hash of issuer and subject; attributes None if none were given."""

    login: str
    attributes: CardAttributes | None = field(repr=False)
    nonce: str = field(repr=False)
    evidence: str = field(repr=False)


class LoginGate:
    """Step 1 to 6. `client_id`: the city's at the provider."""

    def __init__(self, provider: LoginProvider, client_id: str, registers: RecordRelease) -> None:
        self._provider = provider
        self._client = Client(client_id, "", "")
        self._registers = registers

    def check(
        self, evidence: LoginEvidence, request_id: str, wish_digest: str, *, now: datetime
    ) -> SeenLogin:
        """Steps 1 to 3. Raises LoginRefused."""
        try:
            if len(base64url_decode(evidence.salt)) != SALT_BYTES:
                raise LoginRefused("nonce")
        except FormatError as error:
            raise LoginRefused("nonce") from error
        nonce = login_nonce(request_id, wish_digest, evidence.salt)
        # The gate was not there when the login was started; it started at most so long ago.
        pending = PendingLogin(now - MAX_PENDING, "", nonce, "")
        login = verify_id_token(evidence.id_token, pending, self._provider, self._client, now=now)
        attributes = None
        if evidence.userinfo:
            attributes = verify_userinfo(evidence.userinfo, login, self._provider, self._client, now=now)
        said = f"{evidence.id_token}\0{evidence.userinfo}"
        return SeenLogin(_login_hash(login), attributes, _hash(nonce), _hash(said))

    def use_up(self, store: Engine, seen: SeenLogin, request_id: str, *, at: int) -> None:
        """Step 4, committed whatever comes of the rest. Raises LoginRefused."""
        with store.begin() as connection:
            gate_store.drop_login_tokens(connection, before=at - TOKEN_MEMORY)
            taken = gate_store.take_login_token(
                connection, nonce=seen.nonce, request_id=request_id, evidence=seen.evidence, at=at
            )
        if not taken:
            raise LoginRefused("used")

    def match(self, seen: SeenLogin, *, now: datetime) -> str | None:
        """Step 5: the resident id of the attributes; None if there are none. Raises Refusal (the counter)."""
        return None if seen.attributes is None else self._registers.match(seen.attributes, today=now)

    def bind(
        self, connection: Connection, seen: SeenLogin, resident_id: str | None, *, at: int
    ) -> tuple[str, bool]:
        """Step 6: (the opaque binding, whether this login is new). Raises Refusal, LoginRefused."""
        known = gate_store.find_binding_of_login(connection, seen.login)
        if resident_id is None:
            if known is None:
                raise LoginRefused("attributes-needed", "login_required")
            return known, False
        if known is not None:
            bound_to = gate_store.find_resident_of(connection, known) or ""
            if not hmac.compare_digest(bound_to.encode(), resident_id.encode()):
                # The same card, and now another person: never re-bound by itself.
                raise refusal("counter")
        return gate_store.bind_login(connection, resident_id=resident_id, login=seen.login, at=at)


def _login_hash(login: Login) -> str:
    return _hash(f"akashi/login/v1\0{login.issuer}\0{login.subject}")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
