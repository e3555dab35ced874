"""Wallet attestation: which wallet asks, on the word of a trusted wallet provider, and that it holds the key named.

Source: draft-ietf-oauth-attestation-based-client-auth-07 (headers OAuth-Client-Attestation and -PoP), HAIP 1.0 section
4.4.1, OpenID4VCI 1.0 appendix E. Trusted is who is certified by an authority of the file WALLET_ATTESTERS; without that
file nobody is. Kept is a hash of the client id, which names a product and not a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flask import request

from mobile_api.key_proof import attester_key, read_public_jwk
from mobile_api.wallets.exchange_desk import Mark
from mobile_api.wallets.oauth_errors import OAuthError
from mobile_api.wallets.tickets import text_hash, until_minute
from mobile_api.wallets.wallet_door import WalletDoor
from verifier.errors import FormatError
from verifier.formats.encoding import JSON
from verifier.formats.jose import parse_jws, thumbprint
from verifier.formats.names import WALLET_ATTESTATION_POP_TYP, WALLET_ATTESTATION_TYP

ATTESTATION_HEADER: Final = "OAuth-Client-Attestation"
POP_HEADER: Final = "OAuth-Client-Attestation-PoP"
MAX_ATTESTATION: Final = 8 << 10
MAX_POP: Final = 4096
MAX_CLIENT_ID: Final = 512
WINDOW: Final = 300
MAX_LIFE: Final = 400 * 86400
_MAX_URIS: Final = 20


@dataclass(frozen=True, slots=True)
class WalletClient:
    """A wallet that has authenticated, but for the jti of its proof (`mark`).

    redirect_uris   the addresses that its attestation names; None: it names none
    """

    client_id: str
    redirect_uris: tuple[str, ...] | None
    mark: Mark

    def client_hash(self) -> str:
        """How the store knows this client."""
        return client_hash(self.client_id)


def client_hash(client_id: str) -> str:
    """How the store knows a client id."""
    return text_hash("wallet-client", client_id)


def authenticate_client(wallets: WalletDoor, profile: str, said: str | None) -> WalletClient:
    """The wallet that sends the current request. `said`: the parameter client_id, if it was sent.

    Raises: OAuthError invalid_client (401).
    """
    try:
        attestation, pop = (_header(name) for name in (ATTESTATION_HEADER, POP_HEADER))
        return _authenticate(wallets, profile, attestation, pop, said)
    except FormatError:
        raise OAuthError("invalid_client", "no valid wallet attestation", status=401) from None


def _authenticate(
    wallets: WalletDoor, profile: str, attestation: str, pop: str, said: str | None
) -> WalletClient:
    now = wallets.seconds()
    jws = parse_jws(attestation, typ=WALLET_ATTESTATION_TYP, max_bytes=MAX_ATTESTATION)
    jws.verify(attester_key(jws, wallets.attesters, wallets.door.clock()))
    claims = jws.payload_object()
    client_id = _text(claims.get("sub"), MAX_CLIENT_ID)
    issued, begins, expires = claims.get("iat", now), claims.get("nbf", now), claims.get("exp")
    if not all(type(moment) is int for moment in (issued, begins, expires)):
        raise FormatError("bad-time", "times are seconds")
    if not max(issued, begins) - WINDOW <= now < expires or expires > now + MAX_LIFE:
        raise FormatError("attestation-over", "not of now")
    if said is not None and said != client_id:
        raise FormatError("other-client", "client_id is not the attested one")
    cnf = claims.get("cnf")
    if not isinstance(cnf, dict):
        raise FormatError("no-key", "cnf is missing")
    key = read_public_jwk(cnf.get("jwk"))
    proof = parse_jws(pop, typ=WALLET_ATTESTATION_POP_TYP, max_bytes=MAX_POP)
    proof.verify(key)
    said_by_key = proof.payload_object()
    audience = said_by_key.get("aud")
    if audience != wallets.issuer(profile) and audience != [wallets.issuer(profile)]:
        raise FormatError("other-audience", "aud is the authorization server")
    if said_by_key.get("iss", client_id) != client_id:
        raise FormatError("other-client", "iss is not the attested client")
    moment, jti = said_by_key.get("iat"), _text(said_by_key.get("jti"), 256)
    if type(moment) is not int or abs(now - moment) > WINDOW:
        raise FormatError("pop-over", "not of now")
    used = OAuthError("invalid_client", "the proof of the wallet was used before", status=401)
    key_hash = thumbprint(key)
    mark = Mark(text_hash("pop-jti", f"{key_hash}\0{jti}"), until_minute(now + 2 * WINDOW), used)
    return WalletClient(client_id, _uris(claims.get("redirect_uris")), mark)


def _header(name: str) -> str:
    texts = request.headers.getlist(name)
    if len(texts) != 1:
        raise FormatError("no-attestation", "each header once")
    return texts[0]


def _uris(value: JSON) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > _MAX_URIS:
        raise FormatError("bad-uris", "a short list")
    return tuple(_text(item, MAX_CLIENT_ID) for item in value)


def _text(value: JSON, limit: int) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= limit:
        raise FormatError("bad-text", "a short text is expected")
    return value
