"""Logins for wallets of others (profile P2): the worker's side of the exchange questions `LoginStart` and `LoginFinish`.

    start    a login is remembered, then the browser is sent to the provider                       → Redirect
    finish   1. the login of this session and state is taken out, in one statement                  else Denied
             2. the provider's answer, the code against tokens, the ID token's strict check          "
             3. userinfo, where the person gave attributes
             4. the register gate checks both again and authorises so many copies (`open_login_offer`)
             5. one transaction: the grant, a notice to every phone of the resident, the history     → Granted

A process that dies between 1 and 5 leaves a login that has to be started anew, and nothing that was given out: what the
gate authorised is of no use without a grant. The same exchange again after 5 is answered alike. Who somebody is, is the
gate's part; what a grant is, `grants.open_grant`'s; words for people are the street door's, which is told a code.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, Protocol

from sqlalchemy import Connection, Engine

from app.errors import CityError, Refusal, UnavailableError
from app.identity.login import (
    MAX_PENDING,
    SCOPE_WITH_ATTRIBUTES,
    Client,
    LoginRefused,
    PendingLogin,
    authorization_address,
    login_nonce,
    peek_state,
    read_callback,
    verify_id_token,
)
from app.identity.login_exchange import Get, Post, exchange_code, fetch_userinfo
from app.identity.login_provider import LoginProvider
from app.identity.userinfo import verify_userinfo
from app.registers.login_gate import LoginEvidence
from app.storage import logins as login_store
from app.storage.logins import FinishedRow, PendingRow
from app.wallets.grants import open_grant
from app.wallets.notices import tell_resident
from mobile_api.exchanges import AnswerBody, Denied, Granted, LoginFinish, LoginStart, Question, Redirect
from mobile_api.messages import Notice, WalletWish
from verifier.formats.encoding import base64url_encode
from verifier.formats.jose import SignDigest

log = logging.getLogger("akashi.logins")

LOGIN_REQUEST: Final = "standing:login"
LOGIN_PURPOSE: Final = "login"
MAX_PENDING_LOGINS: Final = 5000
"""Logins under way at once; a street door that asks for more gets none until the oldest are over."""
SEED_BYTES: Final = 32
FISCAL_YEAR_BEGINS: Final = 6
JAPAN: Final = timezone(timedelta(hours=9))
MAX_WORDS: Final = 200

LOGIN_OFFER: Final = Notice(
    "login-offer",
    "デジタル認証アプリでのログインにより、別のウォレットに証明書を渡す手続きが始まりました。"
    "お心当たりがない場合は、すぐに市へお電話ください。",
    "By a login with デジタル認証アプリ, a certificate is being given to another wallet. If this was not you, please "
    "telephone the city at once.",
)
NEW_LOGIN: Final = Notice(
    "new-login",
    "デジタル認証アプリでのログインがはじめて使われ、別のウォレットに証明書を渡す手続きが始まりました。"
    "お心当たりがない場合は、すぐに市へお電話ください。",
    "A login with デジタル認証アプリ was used for the first time, and a certificate is being given to another wallet. If "
    "this was not you, please telephone the city at once.",
)


@dataclass(frozen=True, slots=True)
class OpenedLogin:
    """A login that the gate authorised: what `open_grant` makes a grant of.

    `exchange`: the door's id of the question, 22 characters; `at`: Unix seconds.
    """

    request_id: str
    binding: str
    wish: WalletWish
    configuration: str
    exchange: str
    at: int


OpenGrant = Callable[[Connection, OpenedLogin], str]
"""Stores a grant in the given transaction and returns its id (22 characters)."""


LOGIN_LIFE: Final = 600
"""Seconds in which a login's grant can be used, before the grace of its token."""


def open_login_grant(connection: Connection, opened: OpenedLogin) -> str:
    """The grant of a login: no code, no phone."""
    wish = opened.wish
    grant = open_grant(
        connection,
        binding=opened.binding,
        request_id=opened.request_id,
        profile=wish.profile,
        wish_hash=wish.digest(),
        idempotency_key=wish.idempotency_key,
        fiscal_year=wish.fiscal_year,
        copies=wish.copies,
        purpose=wish.purpose,
        # Reference and method only: the tokens themselves are kept nowhere.
        evidence={"exchange": opened.exchange, "method": "login"},
        life=LOGIN_LIFE,
        at=opened.at,
        message_id=opened.exchange,
        configuration=opened.configuration,
        document_kind=wish.document_kind,
    )
    return grant.grant_id


def issuable_fiscal_year(now: datetime) -> int:
    """The year whose certificate is given out now: a 年度 begins in June (facts 1.2)."""
    day = now.astimezone(JAPAN)
    return day.year if day.month >= FISCAL_YEAR_BEGINS else day.year - 1


class LoginGateDoor(Protocol):
    """What is needed of the register gate (`GateClient`)."""

    def open_login_offer(
        self, *, request_id: str, wish: WalletWish, evidence: LoginEvidence
    ) -> tuple[str, bool]:
        """(binding, whether the login is new). Raises Refusal, UnavailableError."""
        ...


@dataclass(frozen=True, slots=True)
class LoginDeskSettings:
    """provider, client    as pinned and registered
    document_kinds      which kind of document a configuration id stands for
    copies              how many a login is good for
    fiscal_year         the year whose certificate is given out on a day
    """

    provider: LoginProvider
    client: Client
    document_kinds: Mapping[str, str]
    copies: int
    fiscal_year: Callable[[datetime], int]


class LoginDesk:
    """Answers login questions. Safe to call from several threads: the store decides who is served.

    sign    a request id → what signs the client assertion (`CityKeys.signing`)
    """

    def __init__(
        self,
        store: Engine,
        settings: LoginDeskSettings,
        *,
        gate: LoginGateDoor,
        sign: Callable[[str], SignDigest],
        post: Post,
        get: Get,
        random: Callable[[int], bytes],
        clock: Callable[[], datetime],
        open_grant: OpenGrant = open_login_grant,
    ) -> None:
        self._store = store
        self._settings = settings
        self._gate = gate
        self._sign = sign
        self._post = post
        self._get = get
        self._open_grant = open_grant
        self._random = random
        self._clock = clock

    def start(self, question: Question, body: LoginStart) -> AnswerBody:
        """Remember a login and say where its browser goes. The same session again goes to the same place."""
        settings, now = self._settings, self._clock()
        at = int(now.timestamp())
        if body.configuration not in settings.document_kinds:
            return Denied("invalid_request", "There is no such credential to log in for.")
        seed = self._random(SEED_BYTES)
        row = PendingRow(seed, question.profile, body.configuration, settings.fiscal_year(now), at)
        with self._store.begin() as connection:
            login_store.drop_old_pending(connection, before=at - int(MAX_PENDING.total_seconds()))
            known = login_store.find_pending(connection, body.session)
            if known is None:
                if login_store.count_pending(connection) >= MAX_PENDING_LOGINS:
                    return Denied(
                        "temporarily_unavailable", "Too many logins at once. Please try again later."
                    )
                login_store.store_pending(connection, body.session, _secret(seed, "state"), row)
        pending = self._pending(known or row)
        address = authorization_address(settings.provider, settings.client, pending, SCOPE_WITH_ATTRIBUTES)
        return Redirect(address)

    def finish(
        self, question: Question, body: LoginFinish, *, is_wanted: Callable[[], bool] = lambda: True
    ) -> AnswerBody:
        """Serve the browser's return, once. `is_wanted`: asked before the gate is, whether anybody still waits."""
        try:
            return Granted(self._finish(question.exchange, body, is_wanted))
        except LoginRefused as no:
            log.info("login refused: %s", no.code)
            return Denied(no.oauth, _ascii(no.en))
        except Refusal as no:
            log.info("login refused: %s", no.code)
            error = "login_required" if no.code == "login-attributes-needed" else "access_denied"
            return Denied(error, _ascii(no.en))
        except CityError as error:
            log.warning("login not finished: %s", error.code)
            return Denied(
                "temporarily_unavailable", "The login cannot be checked right now. Please try again later."
            )

    def _finish(self, exchange: str, body: LoginFinish, is_wanted: Callable[[], bool]) -> str:
        state = peek_state(body.query)
        with self._store.begin() as connection:
            done = login_store.find_finished(connection, exchange)
            row = None if done else login_store.take_pending(connection, body.session, state)
        if done is not None:
            return done.grant_id
        if row is None:
            raise LoginRefused("unknown")
        wish = self._wish(row)
        request_id = _short_secret(row.seed, "request")
        evidence = self._evidence(body.query, row)
        if not is_wanted():
            raise UnavailableError("login-given-up", "nobody waits any more")
        binding, is_new = self._gate.open_login_offer(request_id=request_id, wish=wish, evidence=evidence)
        at = int(self._clock().timestamp())
        with self._store.begin() as connection:
            opened = OpenedLogin(request_id, binding, wish, row.configuration, exchange, at)
            grant_id = self._open_grant(connection, opened)
            login_store.note_finished(connection, FinishedRow(exchange, grant_id, binding, is_new, at))
            notice = NEW_LOGIN if is_new else LOGIN_OFFER
            tell_resident(connection, binding, notice, item=f"login-{request_id}", at=at)
        return grant_id

    def _evidence(self, query: str, row: PendingRow) -> LoginEvidence:
        settings, pending = self._settings, self._pending(row)
        provider, client = settings.provider, settings.client
        code = read_callback(query, pending, provider, now=self._clock())
        tokens = exchange_code(
            code,
            pending,
            provider,
            client,
            sign=self._sign(_short_secret(row.seed, "request")),
            post=self._post,
            random=self._random,
            now=self._clock(),
        )
        login = verify_id_token(tokens.id_token, pending, provider, client, now=self._clock())
        userinfo = fetch_userinfo(tokens.access_token, provider, get=self._get)
        attributes = verify_userinfo(userinfo, login, provider, client, now=self._clock())
        # Without attributes userinfo says nothing that the ID token does not.
        return LoginEvidence(tokens.id_token, userinfo if attributes else "", _secret(row.seed, "salt"))

    def _wish(self, row: PendingRow) -> WalletWish:
        return WalletWish(
            self._settings.document_kinds[row.configuration],
            row.fiscal_year,
            "",
            _short_secret(row.seed, "key"),
            row.profile,
            self._settings.copies,
        )

    def _pending(self, row: PendingRow) -> PendingLogin:
        request_id, salt = _short_secret(row.seed, "request"), _secret(row.seed, "salt")
        return PendingLogin(
            datetime.fromtimestamp(row.started_at, UTC),
            _secret(row.seed, "state"),
            login_nonce(request_id, self._wish(row).digest(), salt),
            _secret(row.seed, "verifier"),
        )


def _secret(seed: bytes, label: str) -> str:
    """43 characters that follow from the seed alone."""
    return base64url_encode(hmac.digest(seed, f"akashi/pending-login/v1\0{label}".encode(), hashlib.sha256))


def _short_secret(seed: bytes, label: str) -> str:
    """An id of 16 bytes, 22 characters."""
    return base64url_encode(
        hmac.digest(seed, f"akashi/pending-login/v1\0{label}".encode(), hashlib.sha256)[:16]
    )


def _ascii(sentence: str) -> str:
    """A sentence as the protocols allow it (RFC 6749 section 5.2)."""
    return re.sub(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]", "", sentence)[:MAX_WORDS]
