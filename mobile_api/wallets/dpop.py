"""DPoP: the proof in header `DPoP` that a request comes from who holds a key (RFC 9449).

Checked here: typ, ES256 only, a public key in `jwk`, htm, htu (against our own public address, never a Host header),
iat, jti, ath where a token is shown, and a challenge of ours where one is asked for or given. That a jti counts once is
a `Mark` for the caller to use up in its one transaction.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from flask import request

from mobile_api.key_proof import read_public_jwk
from mobile_api.wallets.exchange_desk import Mark
from mobile_api.wallets.oauth_errors import bad_dpop, need_dpop_nonce
from mobile_api.wallets.tickets import text_hash, until_minute
from mobile_api.wallets.wallet_door import WalletDoor
from verifier.errors import FormatError
from verifier.formats.encoding import JSON, base64url_encode, sha256
from verifier.formats.jose import parse_jws, thumbprint
from verifier.formats.names import DPOP_TYP

MAX_PROOF: Final = 4096
WINDOW: Final = 300
MAX_JTI: Final = 256
HEADER: Final = "DPoP"
_OTHER_KEYS: Final = ("kid", "x5c")


@dataclass(frozen=True, slots=True)
class DpopProof:
    """A proof that is good but for its jti. `key_hash`: RFC 7638 thumbprint of its key."""

    key_hash: str
    mark: Mark


def read_dpop(
    wallets: WalletDoor, profile: str, url: str, *, token: str | None = None, status: int = 400
) -> DpopProof | None:
    """The current request's proof, None if it has none.

    url     the end point's public address
    token   the access token that is shown with it: `ath` must be its hash
    status  of refusals: 400 at the token end points, 401 where a token is shown
    Raises: OAuthError invalid_dpop_proof or use_dpop_nonce.
    """
    texts = request.headers.getlist(HEADER)
    if not texts:
        return None
    if len(texts) > 1:
        raise bad_dpop("one DPoP header is expected", status=status)
    now = wallets.seconds()
    try:
        jws = parse_jws(texts[0], typ=DPOP_TYP, max_bytes=MAX_PROOF)
        if any(name in jws.header for name in _OTHER_KEYS):
            raise FormatError("bad-header", "the key is in jwk")
        key = read_public_jwk(jws.header.get("jwk"))
        jws.verify(key)
        claims = jws.payload_object()
        _check_claims(claims, url, now)
        if token is not None:
            expected = base64url_encode(sha256(token.encode("ascii")))
            if not _same(claims.get("ath"), expected):
                raise FormatError("bad-ath", "ath is not the hash of the token")
    except FormatError:
        raise bad_dpop("the DPoP proof is not valid for this request", status=status) from None
    _check_nonce(wallets, profile, claims.get("nonce"), status)
    key_hash = thumbprint(key)
    mark = Mark(
        text_hash("dpop-jti", f"{key_hash}\0{claims['jti']}"),
        until_minute(now + 2 * WINDOW),
        bad_dpop("the DPoP proof was used before", status=status),
    )
    return DpopProof(key_hash, mark)


def needs_dpop(profile: str) -> bool:
    """Whether this profile gives tokens only to keys."""
    return profile == "p2"


def _check_claims(claims: dict[str, JSON], url: str, now: int) -> None:
    if claims.get("htm") != request.method:
        raise FormatError("bad-htm", "made for another method")
    htu = claims.get("htu")
    # RFC 9449 section 4.3: query and fragment of htu do not count.
    if not isinstance(htu, str) or htu.partition("#")[0].partition("?")[0] != url:
        raise FormatError("bad-htu", "made for another address")
    issued, jti = claims.get("iat"), claims.get("jti")
    if type(issued) is not int or abs(now - issued) > WINDOW:
        raise FormatError("bad-iat", "not of now")
    if not isinstance(jti, str) or not 1 <= len(jti) <= MAX_JTI:
        raise FormatError("bad-jti", "jti is a short text")


def _check_nonce(wallets: WalletDoor, profile: str, nonce: JSON, status: int) -> None:
    required = profile == "p2" and wallets.door.settings.wallet_dpop_nonce == "required"
    if nonce is None and not required:
        return
    try:
        if not isinstance(nonce, str):
            raise FormatError("bad-nonce", "no challenge")
        wallets.nonce_keys.check(nonce, dpop=True)
    except FormatError:
        fresh = wallets.nonce_keys.make(wallets.door.settings.wallet_nonce_life, dpop=True)
        raise need_dpop_nonce(fresh, status=status) from None


def _same(said: JSON, expected: str) -> bool:
    return isinstance(said, str) and hmac.compare_digest(
        said.encode("utf-8", "surrogatepass"), expected.encode()
    )
