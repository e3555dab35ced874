"""`/authorize` and `/login/callback`: a browser logs a resident in, and the wallet gets a code.

Sources: RFC 6749 section 4.1, RFC 9126 section 4, RFC 9207 (`iss`), RFC 9700 section 2.1. Who the resident is the
city finds out with the login provider; the door sees a grant and no name. A host-only cookie binds the login to the
browser in which it began: a callback that somebody else's browser was sent to leads nowhere.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, urlencode

from flask import Response, request

from mobile_api.exchanges import (
    MAX_QUERY,
    AnswerBody,
    Denied,
    Granted,
    LoginFinish,
    LoginStart,
    QuestionBody,
    Redirect,
)
from mobile_api.store import wallet_grants
from mobile_api.store.wallet_grants import Session
from mobile_api.wallets.client_attestation import client_hash
from mobile_api.wallets.oauth_errors import OAuthError
from mobile_api.wallets.pages import error_page
from mobile_api.wallets.par import URN
from mobile_api.wallets.tickets import (
    CODE,
    COOKIE,
    REQUEST,
    make_ticket,
    open_with,
    read_ticket,
    seal_with,
    ticket_hash,
    until_minute,
)
from mobile_api.wallets.wallet_door import WalletDoor
from verifier.errors import FormatError
from verifier.formats.encoding import parse_json

COOKIE_NAME: Final = "__Host-akashi-login"
LOGIN_LIFE: Final = 900
CODE_LIFE: Final = 60
_QUERY: Final = re.compile(r"[\x21-\x7e]+")
_ERRORS: Final = frozenset({"access_denied", "invalid_scope", "server_error", "temporarily_unavailable"})


def authorize(wallets: WalletDoor, profile: str) -> Response:
    """?client_id&request_uri → 302 to the login provider. A page for people where no way back is known."""
    wallets.count_address("authorize")
    wallets.metadata(profile)
    client_id, address = (request.args.getlist(name) for name in ("client_id", "request_uri"))
    if len(client_id) != 1 or len(address) != 1 or not address[0].startswith(URN):
        return error_page(400)
    ticket = address[0].removeprefix(URN)
    try:
        request_hash = read_ticket(REQUEST, ticket, wallets.seconds())
    except FormatError:
        return error_page(400)
    door = wallets.door
    cookie = make_ticket(door.random, wallets.seconds() + LOGIN_LIFE)
    until = until_minute(wallets.seconds() + LOGIN_LIFE)
    with door.store.write() as connection:
        session = wallet_grants.take_request(connection, request_hash, client_hash(client_id[0]))
        if session is not None:
            # Sealed anew: the request address is used up, the browser's cookie is the key from now on.
            pushed = open_with(ticket, session.body)
            body = seal_with(cookie, pushed, door.random)
            wallet_grants.begin_login(connection, session.session, ticket_hash(COOKIE, cookie), body, until)
    if session is None:
        return error_page(400)
    answer = _ask(wallets, profile, LoginStart(session.session, session.configuration))
    if not isinstance(answer, Redirect):
        return _refuse(wallets, profile, session, pushed, answer)
    response = _redirect(answer.location)
    response.set_cookie(
        COOKIE_NAME, cookie, max_age=LOGIN_LIFE, path="/", secure=True, httponly=True, samesite="Lax"
    )
    return response


def callback(wallets: WalletDoor, profile: str) -> Response:
    """The browser is back from the login provider → 302 to the wallet with code, state and iss, or an error."""
    wallets.count_address("authorize")
    query = request.query_string.decode("ascii", "replace")
    cookie = request.cookies.get(COOKIE_NAME, "")
    if len(query) > MAX_QUERY or _QUERY.fullmatch(query) is None:
        return error_page(400)
    try:
        cookie_hash = read_ticket(COOKIE, cookie, wallets.seconds())
    except FormatError:
        return error_page(400)
    with wallets.door.store.write() as connection:
        session = wallet_grants.take_login(connection, cookie_hash)
    if session is None:
        return error_page(400)
    pushed = open_with(cookie, session.body)
    answer = _ask(wallets, profile, LoginFinish(session.session, query))
    if not isinstance(answer, Granted):
        response = _refuse(wallets, profile, session, pushed, answer)
    else:
        response = _grant(wallets, profile, session, pushed, answer.grant)
    response.delete_cookie(COOKIE_NAME, path="/", secure=True, httponly=True, samesite="Lax")
    return response


def _grant(wallets: WalletDoor, profile: str, session: Session, pushed: bytes, grant: str) -> Response:
    end = wallets.seconds() + CODE_LIFE
    code = make_ticket(wallets.door.random, end)
    # Its hash is kept as long as the tokens of this code may live, so that a reuse of the code ends them.
    until = until_minute(end + wallets.door.settings.wallet_access_life)
    with wallets.door.store.write() as connection:
        wallet_grants.grant_session(connection, session.session, grant, ticket_hash(CODE, code), until)
    return _back(wallets, profile, pushed, {"code": code})


def _refuse(
    wallets: WalletDoor, profile: str, session: Session, pushed: bytes, answer: AnswerBody | None
) -> Response:
    with wallets.door.store.write() as connection:
        wallet_grants.drop_session(connection, session.session)
    if isinstance(answer, Denied):
        error = answer.error if answer.error in _ERRORS else "access_denied"
        told = {"error": error, "error_description": answer.description}
    else:
        told = {"error": "temporarily_unavailable", "error_description": "the city does not answer"}
    return _back(wallets, profile, pushed, told)


def _back(wallets: WalletDoor, profile: str, pushed: bytes, told: dict[str, str]) -> Response:
    value = parse_json(pushed)
    uri, state = str(value["redirect_uri"]), str(value["state"])
    parameters = {name: text for name, text in {**told, "state": state}.items() if text}
    parameters["iss"] = wallets.issuer(profile)
    mark = "&" if "?" in uri else "?"
    return _redirect(uri + mark + urlencode(parameters, quote_via=quote))


def _ask(wallets: WalletDoor, profile: str, body: QuestionBody) -> AnswerBody | None:
    try:
        asked = wallets.desk.ask(
            wallets.metadata(profile),
            profile,
            body,
            grant=None,
            dpop=None,
            wait=wallets.door.settings.wallet_login_wait,
        )
    except OAuthError:
        return None
    return asked.answer


def _redirect(location: str) -> Response:
    response = Response(status=302)
    response.headers["Location"] = location
    return response
