"""Who shows an access token, and may: the token in `Authorization`, with the proof of its key where it has one.

Sources: RFC 6750 section 2.1 (header only), RFC 9449 section 7 (scheme DPoP; a bound token is refused as a bearer one).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from flask import request

from mobile_api.store import wallet_grants
from mobile_api.wallets.dpop import read_dpop
from mobile_api.wallets.exchange_desk import Mark
from mobile_api.wallets.oauth_errors import bad_dpop, bad_token, no_token
from mobile_api.wallets.tickets import TOKEN, read_ticket
from mobile_api.wallets.wallet_door import WalletDoor
from verifier.errors import FormatError
from verifier.formats.jose import same_thumbprint

_HEADER: Final = re.compile(r"(Bearer|DPoP) +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Access:
    """What the current request may touch: the one grant of its token. `marks`: what it uses up."""

    grant: str
    key_hash: str | None
    client_hash: str | None
    marks: tuple[Mark, ...]


def authorize_request(wallets: WalletDoor, profile: str, url: str) -> Access:
    """The token of the current request at the end point `url`. Raises: OAuthError 401, Problem 429."""
    headers = request.headers.getlist("Authorization")
    if not headers:
        raise no_token()
    match = _HEADER.fullmatch(headers[0]) if len(headers) == 1 else None
    if match is None:
        raise bad_token()
    scheme, text = match[1].lower(), match[2]
    shown = "DPoP" if scheme == "dpop" else "Bearer"
    try:
        token_hash = read_ticket(TOKEN, text, wallets.seconds())
    except FormatError:
        raise bad_token(shown) from None
    with wallets.door.store.read() as connection:
        token = wallet_grants.find_token(connection, token_hash)
    if token is None or token.profile != profile:
        raise bad_token(shown)
    wallets.door.limits.count("wallet-grant", token.grant, wallets.door.settings.rate_grant, 60)
    if token.key_hash is None:
        if scheme != "bearer":
            raise bad_token(shown, "the access token is bound to no key")
        return Access(token.grant, None, token.client_hash, ())
    if scheme != "dpop":
        # Taken as a bearer token it would be worth as much to a thief as to its owner.
        raise bad_token("DPoP", "the access token is bound to a key")
    proof = read_dpop(wallets, profile, url, token=text, status=401)
    if proof is None:
        raise bad_dpop("a DPoP proof is needed", status=401)
    if not same_thumbprint(proof.key_hash, token.key_hash):
        raise bad_dpop("the DPoP proof is by another key", status=401)
    return Access(token.grant, token.key_hash, token.client_hash, (proof.mark,))
