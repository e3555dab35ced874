"""What a wallet encrypted to the city: a credential or deferred request, opened and read strictly.

Sources: OpenID4VCI 1.0 sections 8.2, 9.1 and 10. What a wallet sends in the clear the street door reads by the same rules;
its question then has the same form as what comes out here. Unknown members are ignored, as the protocol says.
"""

from __future__ import annotations

from typing import Final

from app.wallets.answers import DeniedError
from mobile_api.exchanges import (
    MAX_JWE,
    MAX_PROOF,
    MAX_PROOFS,
    CredentialQuestion,
    DeferredQuestion,
    ResponseKey,
)
from mobile_api.key_proof import read_public_jwk
from verifier.errors import FormatError
from verifier.formats.compact_jwe import ENCRYPTIONS, open_compact, parse_compact_jwe
from verifier.formats.encoding import JSON, parse_json
from verifier.formats.package import KeyAgreement

MAX_HANDLE: Final = 64
MAX_KID: Final = 256


def open_credential_request(jwe: str, kid: str, agree: KeyAgreement) -> CredentialQuestion:
    """A sealed credential request. `kid`: the city's envelope key. Raises: DeniedError with the protocol's code."""
    value = _open(jwe, kid, agree)
    if ("credential_configuration_id" in value) == ("credential_identifier" in value):
        raise DeniedError(
            "invalid_credential_request",
            "exactly one of credential_configuration_id and credential_identifier",
        )
    if "credential_identifier" in value:
        raise DeniedError("unknown_credential_identifier", "no identifier was given out")
    configuration = _text(value["credential_configuration_id"], MAX_HANDLE)
    return CredentialQuestion(configuration, _proofs(value), _response(value))


def open_deferred_request(jwe: str, kid: str, agree: KeyAgreement) -> DeferredQuestion:
    """A sealed deferred request. Raises: DeniedError."""
    value = _open(jwe, kid, agree)
    transaction = value.get("transaction_id")
    if not isinstance(transaction, str) or not 1 <= len(transaction) <= MAX_HANDLE:
        raise DeniedError("invalid_transaction_id", "no such transaction")
    return DeferredQuestion(transaction, _response(value))


def _open(jwe: str, kid: str, agree: KeyAgreement) -> dict[str, JSON]:
    try:
        named = parse_compact_jwe(jwe, max_bytes=MAX_JWE).kid
        if named is not None and named != kid:
            raise DeniedError(
                "invalid_encryption_parameters", "encrypted to another key than the metadata names"
            )
        value = parse_json(open_compact(jwe, agree, max_bytes=MAX_JWE), max_bytes=MAX_JWE)
    except FormatError as error:
        raise DeniedError("invalid_encryption_parameters", "the encrypted request cannot be read") from error
    if not isinstance(value, dict):
        raise DeniedError("invalid_credential_request", "the request is a JSON object")
    return value


def _proofs(value: dict[str, JSON]) -> tuple[str, ...]:
    if "proofs" in value and "proof" in value:
        raise DeniedError("invalid_credential_request", "proofs or proof, not both")
    proofs, single = value.get("proofs"), value.get("proof")
    if isinstance(single, dict) and single.get("proof_type") == "jwt":
        # Draft wallets send one proof by itself.
        found: JSON = [single.get("jwt")]
    elif isinstance(proofs, dict) and set(proofs) == {"jwt"}:
        found = proofs["jwt"]
    else:
        raise DeniedError("invalid_proof", "a key proof of type jwt is needed")
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_PROOFS:
        raise DeniedError("invalid_proof", f"1 to {MAX_PROOFS} key proofs")
    if not all(isinstance(proof, str) and 0 < len(proof) <= MAX_PROOF for proof in found):
        raise DeniedError("invalid_proof", "a key proof is a JWT")
    return tuple(str(proof) for proof in found)


def _response(value: dict[str, JSON]) -> ResponseKey | None:
    wanted = value.get("credential_response_encryption")
    if wanted is None:
        return None
    bad = DeniedError("invalid_encryption_parameters", "jwk on P-256, ECDH-ES, A128GCM or A256GCM")
    if not isinstance(wanted, dict) or "zip" in wanted:
        raise bad
    jwk, enc = wanted.get("jwk"), wanted.get("enc")
    if not isinstance(jwk, dict) or not isinstance(enc, str) or enc not in ENCRYPTIONS:
        raise bad
    algorithms = [found.get("alg", "ECDH-ES") for found in (wanted, jwk)]
    kid = jwk.get("kid")
    if algorithms != ["ECDH-ES"] * 2 or not (
        kid is None or (isinstance(kid, str) and 0 < len(kid) <= MAX_KID)
    ):
        raise bad
    if kid is not None and not (kid.isascii() and kid.isprintable() and " " not in kid):
        raise bad
    try:
        return ResponseKey(read_public_jwk(jwk), kid, enc)
    except FormatError as error:
        raise bad from error


def _text(value: JSON, limit: int) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= limit:
        raise DeniedError("invalid_credential_request", "a short text expected")
    return value
