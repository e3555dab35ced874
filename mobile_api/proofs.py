"""Proofs by a key in the header Akashi-Proof: a JWS over method, path, time, a single-use id and the body's
hash.

For phones (device signing key) and for employers' desks (desk key). Modelled on RFC 9449 (DPoP), with the
body bound. For phones it is a filter only: the city checks every request of a phone itself.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from flask import request

from mobile_api.errors import Problem
from mobile_api.store.engine import Store
from mobile_api.store.once import consume_token
from mobile_api.store.sweep import to_minute
from verifier.errors import FormatError
from verifier.formats.encoding import base64url_decode, base64url_encode, canonical_json, sha256
from verifier.formats.jose import SignDigest, build_jws, parse_jws, same_thumbprint, thumbprint

PROOF_HEADER: Final = "Akashi-Proof"
PROOF_TYP: Final = "akashi-proof+jwt"
MAX_AGE: Final = 300
MAX_PROOF_BYTES: Final = 2048
_CLAIMS: Final = {"htm", "htu", "iat", "jti", "body"}


def build_proof(
    kid: str,
    sign: SignDigest,
    *,
    method: str,
    path: str,
    body: bytes,
    now: datetime,
    random: Callable[[int], bytes],
) -> str:
    """The header value for one call. `path` without query; `kid` the RFC 7638 thumbprint of the signing
    key.
    """
    claims = {
        "body": base64url_encode(sha256(body)),
        "htm": method,
        "htu": path,
        "iat": int(now.timestamp()),
        "jti": base64url_encode(random(16)),
    }
    return build_jws({"kid": kid, "typ": PROOF_TYP}, canonical_json(claims), sign).decode("ascii")


def check_proof(store: Store, key: ec.EllipticCurvePublicKey, body: bytes, now: datetime) -> None:
    """Check the proof of the current request by `key` and use its jti up. Raises Problem 401."""
    text = request.headers.get(PROOF_HEADER)
    if text is None:
        raise Problem(401, "no-proof", f"header {PROOF_HEADER} is needed")
    try:
        proof = parse_jws(text, typ=PROOF_TYP, max_bytes=MAX_PROOF_BYTES)
        proof.verify(key)
        claims = proof.payload_object()
        kid = proof.header.get("kid")
        if set(proof.header) != {"alg", "kid", "typ"} or not isinstance(kid, str) or set(claims) != _CLAIMS:
            raise Problem(401, "bad-proof", "wrong members")
        jti, issued = claims["jti"], claims["iat"]
        if not isinstance(jti, str) or len(base64url_decode(jti)) != 16:
            raise Problem(401, "bad-proof", "jti is 16 random bytes in base64url")
    except FormatError as error:
        raise Problem(401, "bad-proof", error.code) from None
    own = thumbprint(key)
    if not same_thumbprint(kid, own):
        raise Problem(401, "bad-proof", "kid is not the key's thumbprint")
    if type(issued) is not int or abs(int(now.timestamp()) - issued) > MAX_AGE:
        raise Problem(401, "proof-expired", f"iat is more than {MAX_AGE} s away")
    if claims["htm"] != request.method or claims["htu"] != request.path:
        raise Problem(401, "bad-proof", "made for another call")
    expected = base64url_encode(sha256(body))
    said = claims["body"] if isinstance(claims["body"], str) else ""
    if not hmac.compare_digest(said.encode(), expected.encode()):
        raise Problem(401, "bad-proof", "made for another body")
    with store.write() as connection:
        until = to_minute(now) + 2 * MAX_AGE + 60
        if not consume_token(
            connection, base64url_encode(sha256(f"proof\x00{own}\x00{jti}".encode())), until
        ):
            raise Problem(401, "proof-replayed", "the proof was used before")
