"""`/token`: a code becomes an access token, once.

Sources: OpenID4VCI 1.0 section 6 (pre-authorized code, tx_code), RFC 6749 sections 4.1.3 and 5, RFC 7636 (S256), RFC 9449
section 5. In p1 the client is anonymous and may bind its token to a key; in p2 it is attested and must. No c_nonce here.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from typing import Final

from flask import Response
from sqlalchemy import Connection

from mobile_api.store import wallet_grants
from mobile_api.store.wallet_grants import Redemption, Token
from mobile_api.wallets.client_attestation import WalletClient, authenticate_client
from mobile_api.wallets.dpop import DpopProof, needs_dpop, read_dpop
from mobile_api.wallets.exchange_desk import use_up
from mobile_api.wallets.form import form_parameters, required
from mobile_api.wallets.oauth_errors import OAuthError, bad_dpop, json_reply
from mobile_api.wallets.tickets import (
    CODE,
    TOKEN,
    make_ticket,
    read_ticket,
    text_hash,
    ticket_hash,
    until_minute,
)
from mobile_api.wallets.wallet_door import WalletDoor
from verifier.errors import FormatError
from verifier.formats.encoding import base64url_encode, sha256
from verifier.formats.jose import same_thumbprint

PRE_AUTHORIZED: Final = "urn:ietf:params:oauth:grant-type:pre-authorized_code"
AUTHORIZATION_CODE: Final = "authorization_code"
TX_CODE_LABEL: Final = b"akashi/tx-code/v1\0"
MAX_TX_CODE: Final = 64
GRANT_TYPES: Final = {"p1": (PRE_AUTHORIZED,), "p2": (AUTHORIZATION_CODE, PRE_AUTHORIZED)}
_CODE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_NO_CODE: Final = "the code is wrong, expired or used"

_REFUSALS: Final = {
    Redemption.NO_CODE: ("invalid_grant", _NO_CODE),
    Redemption.TX_CODE_MISSING: ("invalid_request", "tx_code is missing"),
    Redemption.TX_CODE_UNEXPECTED: ("invalid_request", "no tx_code belongs to this offer"),
    Redemption.WRONG_TX_CODE: ("invalid_grant", "the tx_code is wrong"),
}

Redeem = Callable[[Connection], tuple[str, str | None] | OAuthError]
"""In the caller's transaction: (grant, hash of the authorization code), or what is wrong."""


def code_hash(code: str) -> str:
    """How the store knows a pre-authorized code: SHA-256 of its ASCII, base64url."""
    return base64url_encode(sha256(code.encode("ascii")))


def tx_code_hash(grant: str, tx_code: str) -> str:
    """How the store knows a tx_code: hashed as text with its grant, so that leading zeros count."""
    return base64url_encode(sha256(TX_CODE_LABEL + f"{grant}\0{tx_code}".encode()))


def token(wallets: WalletDoor, profile: str) -> Response:
    """Form → {access_token, token_type, expires_in}. Raises: OAuthError, Problem."""
    wallets.count_address("token")
    wallets.metadata(profile)
    form = form_parameters()
    kind = required(form, "grant_type")
    if kind not in GRANT_TYPES[profile]:
        raise OAuthError("unsupported_grant_type", "this grant type is not served here")
    client = None if profile == "p1" else authenticate_client(wallets, profile, form.get("client_id"))
    proof = read_dpop(wallets, profile, wallets.url(profile, "token"))
    if proof is None and needs_dpop(profile):
        raise bad_dpop("a DPoP proof is needed")
    if kind == PRE_AUTHORIZED:
        redeem = _pre_authorized(wallets, profile, form)
    else:
        redeem = _authorization_code(wallets, form, client, proof)
    return _grant(wallets, profile, redeem, client, proof)


def _grant(
    wallets: WalletDoor, profile: str, redeem: Redeem, client: WalletClient | None, proof: DpopProof | None
) -> Response:
    door = wallets.door
    life = door.settings.wallet_access_life
    end = wallets.seconds() + life
    text = make_ticket(door.random, end)
    marks = [known.mark for known in (client, proof) if known is not None]
    # One transaction, committed also when the answer is no: what was shown is used up, and a wrong guess counts.
    with door.store.write() as connection:
        refused = use_up(connection, marks)
        if refused is None:
            result = redeem(connection)
            if isinstance(result, OAuthError):
                refused = result
            else:
                wallet_grants.add_token(
                    connection,
                    Token(
                        ticket_hash(TOKEN, text),
                        result[0],
                        profile,
                        None if proof is None else proof.key_hash,
                        None if client is None else client.client_hash(),
                        result[1],
                        until_minute(end),
                    ),
                )
    if refused is not None:
        raise refused
    kind = "Bearer" if proof is None else "DPoP"
    return json_reply({"access_token": text, "expires_in": life, "token_type": kind})


def _pre_authorized(wallets: WalletDoor, profile: str, form: dict[str, str]) -> Redeem:
    code, tx_code = required(form, "pre-authorized_code"), form.get("tx_code")
    if _CODE.fullmatch(code) is None:
        raise OAuthError("invalid_grant", _NO_CODE)
    if tx_code is not None and len(tx_code) > MAX_TX_CODE:
        raise OAuthError("invalid_request", "tx_code is too long")
    hasher = None if tx_code is None else lambda grant: tx_code_hash(grant, tx_code)

    def redeem(connection: Connection) -> tuple[str, str | None] | OAuthError:
        found = wallet_grants.redeem_offer(
            connection, code_hash(code), profile, hasher, wallets.door.minute()
        )
        if isinstance(found, Redemption):
            return OAuthError(*_REFUSALS[found])
        return found, None

    return redeem


def _authorization_code(
    wallets: WalletDoor, form: dict[str, str], client: WalletClient | None, proof: DpopProof | None
) -> Redeem:
    code, verifier = required(form, "code"), required(form, "code_verifier")
    if client is None or proof is None:
        raise OAuthError("invalid_client", "a wallet attestation is needed", status=401)
    if _VERIFIER.fullmatch(verifier) is None:
        raise OAuthError("invalid_grant", "code_verifier has another form")
    try:
        code_key = read_ticket(CODE, code, wallets.seconds())
    except FormatError as error:
        if error.code != "ticket-over":
            raise OAuthError("invalid_grant", _NO_CODE) from None
        return _too_late(ticket_hash(CODE, code))
    challenge = base64url_encode(sha256(verifier.encode("ascii")))
    redirect = form.get("redirect_uri")

    def redeem(connection: Connection) -> tuple[str, str | None] | OAuthError:
        # Used up whatever else is wrong: a stolen code gets one try, and its owner finds out.
        session = wallet_grants.redeem_code(connection, code_key, wallets.door.minute())
        if session is None or session.grant is None:
            return OAuthError("invalid_grant", _NO_CODE)
        right = (
            hmac.compare_digest(challenge.encode(), session.challenge_hash.encode())
            and same_thumbprint(client.client_hash(), session.client_hash)
            and same_thumbprint(proof.key_hash, session.key_hash)
            and (redirect is None or text_hash("redirect", redirect) == session.redirect_hash)
        )
        if not right:
            return OAuthError("invalid_grant", "the code belongs to another request")
        return session.grant, code_key

    return redeem


def _too_late(code_key: str) -> Redeem:
    """A code that is over gives nothing, but its reuse ends its tokens as it did a minute ago."""

    def redeem(connection: Connection) -> OAuthError:
        wallet_grants.end_code(connection, code_key)
        return OAuthError("invalid_grant", _NO_CODE)

    return redeem
