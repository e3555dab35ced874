"""The wallet's key for its encrypted answer: `credential_response_encryption` (OpenID4VCI 1.0 sections 8.2 and 10)."""

from __future__ import annotations

from typing import Final

from mobile_api.exchanges import ResponseKey
from mobile_api.key_proof import read_public_jwk
from mobile_api.wallets.oauth_errors import OAuthError
from verifier.errors import FormatError
from verifier.formats.compact_jwe import ALGORITHM, ENCRYPTIONS, encrypt_compact
from verifier.formats.encoding import JSON, canonical_json

PARAMETER: Final = "credential_response_encryption"
MAX_KID: Final = 256


def read_response_key(request: dict[str, JSON], *, needed: bool) -> ResponseKey | None:
    """The key a request names, None if it names none. Raises: OAuthError invalid_encryption_parameters."""
    value = request.get(PARAMETER)
    if value is None:
        if needed:
            raise _bad("the answer must be encrypted: send credential_response_encryption")
        return None
    if not isinstance(value, dict) or not isinstance(value.get("jwk"), dict):
        raise _bad("jwk and enc are expected")
    if "zip" in value:
        raise _bad("no compression is served")
    jwk, enc = value["jwk"], value.get("enc")
    if not isinstance(enc, str) or enc not in ENCRYPTIONS:
        raise _bad("enc is A128GCM or A256GCM")
    if jwk.get("alg", ALGORITHM) != ALGORITHM or value.get("alg", ALGORITHM) != ALGORITHM:
        raise _bad("alg is ECDH-ES")
    if jwk.get("use", "enc") != "enc":
        raise _bad("the key is not for encryption")
    kid = jwk.get("kid")
    if kid is not None and (
        not isinstance(kid, str) or not 1 <= len(kid) <= MAX_KID or not kid.isascii() or not kid.isprintable()
    ):
        raise _bad("kid is a short ASCII text")
    if kid is not None and " " in kid:
        raise _bad("kid is a short ASCII text")
    try:
        return ResponseKey(read_public_jwk(jwk), kid, enc)
    except FormatError:
        raise _bad("jwk is a public P-256 key") from None


def encrypt_reply(value: JSON, key: ResponseKey) -> bytes:
    """An answer of the door's own, to the wallet's key."""
    header = {} if key.kid is None else {"kid": key.kid}
    return encrypt_compact(canonical_json(value), key.key, enc=key.enc, header=header)


def _bad(description: str) -> OAuthError:
    return OAuthError("invalid_encryption_parameters", description)
