"""`/par`: a wallet pushes what it wants to ask a browser for, and proves who it is, before any browser is opened.

Sources: RFC 9126, RFC 7636 (S256 only), RFC 9449 section 10.1, HAIP 1.0 section 4. Where to send the browser back is kept
sealed to the request address, which only the wallet has.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from flask import Response

from mobile_api.forms import random_id
from mobile_api.store import wallet_grants
from mobile_api.store.wallet_grants import Session
from mobile_api.wallets.client_attestation import WalletClient, authenticate_client
from mobile_api.wallets.dpop import read_dpop
from mobile_api.wallets.exchange_desk import use_up
from mobile_api.wallets.form import form_parameters, required
from mobile_api.wallets.oauth_errors import OAuthError, bad_dpop, json_reply
from mobile_api.wallets.tickets import REQUEST, make_ticket, seal_with, text_hash, ticket_hash, until_minute
from mobile_api.wallets.wallet_door import WalletDoor
from verifier.formats.encoding import canonical_json

LIFE: Final = 60
URN: Final = "urn:ietf:params:oauth:request_uri:"
MAX_URI: Final = 512
MAX_STATE: Final = 512
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,63}")
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
# Addresses that a browser would run, read or send, instead of handing them to an app.
_NO_APPS: Final = frozenset(
    {
        "about",
        "blob",
        "chrome",
        "content",
        "data",
        "edge",
        "feed",
        "file",
        "filesystem",
        "ftp",
        "http",
        "intent",
    }
    | {"jar", "javascript", "livescript", "mailto", "mocha", "moz-extension", "resource", "sms", "tel", "urn"}
    | {"vbscript", "view-source", "ws", "wss"}
)


def par(wallets: WalletDoor, profile: str) -> Response:
    """Form, attestation, DPoP → 201 {request_uri, expires_in}. Raises: OAuthError, Problem."""
    wallets.count_address("par")
    metadata = wallets.metadata(profile)
    form = form_parameters()
    client = authenticate_client(wallets, profile, required(form, "client_id"))
    proof = read_dpop(wallets, profile, wallets.url(profile, "par"))
    if proof is None:
        raise bad_dpop("a DPoP proof is needed")
    if form.get("dpop_jkt", proof.key_hash) != proof.key_hash:
        raise OAuthError("invalid_request", "dpop_jkt is not the key of the DPoP proof")
    if "request" in form or "request_uri" in form:
        raise OAuthError("invalid_request", "request objects are not served")
    if required(form, "response_type") != "code":
        raise OAuthError("unsupported_response_type", "response_type is code")
    if form.get("response_mode", "query") != "query":
        raise OAuthError("invalid_request", "response_mode is query")
    challenge = required(form, "code_challenge")
    if form.get("code_challenge_method") != "S256" or _CHALLENGE.fullmatch(challenge) is None:
        raise OAuthError("invalid_request", "PKCE with S256 is needed")
    redirect = check_redirect(required(form, "redirect_uri"), client)
    state = form.get("state", "")
    if len(state) > MAX_STATE or (state and re.fullmatch(r"[\x20-\x7e]+", state) is None):
        raise OAuthError("invalid_request", "state is a short ASCII text")
    configuration = _configuration(metadata.configurations, form.get("scope", ""))
    end = wallets.seconds() + LIFE
    ticket = make_ticket(wallets.door.random, end)
    session = Session(
        random_id(wallets.door.random(16)),
        client.client_hash(),
        proof.key_hash,
        challenge,
        text_hash("redirect", redirect),
        configuration,
        seal_with(ticket, canonical_json({"redirect_uri": redirect, "state": state}), wallets.door.random),
    )
    with wallets.door.store.write() as connection:
        refused = use_up(connection, (client.mark, proof.mark))
        if refused is None:
            wallet_grants.add_session(connection, session, ticket_hash(REQUEST, ticket), until_minute(end))
    if refused is not None:
        raise refused
    return json_reply({"expires_in": LIFE, "request_uri": URN + ticket}, 201)


def check_redirect(uri: str, client: WalletClient) -> str:
    """A redirect_uri to which a code may go: this device, an app's own scheme, or https that the attestation names.

    A wallet speaks for its own key only. Were any https address good, whoever has some attested wallet could push one of
    their own, send a resident the link to log in, and be sent the code: the certificate would be bound to their key.
    Raises: OAuthError.
    """
    bad = OAuthError("invalid_request", "redirect_uri is not acceptable")
    if len(uri) > MAX_URI or _VISIBLE.fullmatch(uri) is None or "#" in uri or "\\" in uri:
        raise bad
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise bad from None
    scheme, _, rest = uri.partition(":")
    if not rest or _SCHEME.fullmatch(scheme) is None or "@" in parts.netloc:
        raise bad
    local = scheme == "http" and host in ("127.0.0.1", "::1") and port is not None
    if scheme in _NO_APPS and not local:
        raise bad
    if scheme in ("http", "https") and not host:
        raise bad
    if uri not in (client.redirect_uris or ()) and (client.redirect_uris is not None or scheme == "https"):
        raise bad
    return uri


def _configuration(configurations: dict[str, str], scope: str) -> str:
    wanted = scope.split(" ")
    found = sorted(name for name, its in configurations.items() if its and its in wanted)
    if len(found) != 1:
        raise OAuthError("invalid_scope", "the scope of one credential configuration is expected")
    return found[0]
