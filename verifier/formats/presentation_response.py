"""What a wallet of others answers: presentations by the id of what was asked, encrypted to the key of the request.

Sources: OpenID4VP 1.0 sections 8.1 (vp_token), 8.3 and 8.3.1 (`direct_post.jwt`); RFC 9901 sections 4 and 5 (SD-JWT+KB).
The form field `response` is a compact JWE over {"vp_token":{"<query id>":["<sd-jwt~…~kb>"]},"state":"…"}. Each value is an
array of exactly one text: `multiple` is never asked for, and the bare text of older drafts is refused. Members that are
not known are ignored, as OAuth demands. Instead of presentations there may be an error: the person said no.
Nothing here is trusted: this module compares nothing with a request, checks no signature and asks nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from verifier.errors import FormatError, LimitError
from verifier.formats.compact_jwe import encrypt_compact, open_compact, parse_compact_jwe
from verifier.formats.credential import MAX_CREDENTIAL_BYTES, Credential, parse_credential
from verifier.formats.dcql import MAX_CREDENTIALS
from verifier.formats.encoding import JSON, canonical_json, parse_json
from verifier.formats.jose import same_thumbprint
from verifier.formats.key_binding import MAX_KEY_BINDING_BYTES
from verifier.formats.package import KeyAgreement
from verifier.formats.presentation_request import PresentationRequest

MAX_RESPONSE_BYTES: Final = 768 << 10
"""The whole JWE: four credentials of 128 KiB, base64url."""
MAX_PLAINTEXT_BYTES: Final = 560 << 10
MAX_STATE_LENGTH: Final = 512
MAX_MEMBERS: Final = 16


@dataclass(frozen=True, slots=True)
class Presentation:
    """One SD-JWT with its key binding, taken apart and unverified.

    sd_jwt       the bytes before the key binding, `<jwt>~<disclosure>~…~`: what sd_hash is over, as the wallet wrote it
    credential   the same, with its disclosures in the order of their digests, as the city writes them
    key_binding  the KB-JWT
    """

    sd_jwt: bytes
    credential: Credential
    key_binding: bytes


@dataclass(frozen=True, slots=True)
class PresentationResponse:
    """An answer taken apart: presentations by query id, and the state that it claims to belong to (None = no state).

    error  the wallet's own word instead of presentations ("access_denied"); then `presentations` is empty
    """

    presentations: Mapping[str, Presentation]
    state: str | None
    error: str | None = None


def open_presentation_response(data: bytes, request: PresentationRequest, agree: KeyAgreement) -> bytes:
    """The plaintext of an answer to `request`; `agree` performs the ECDH with the key of that request.

    Raises: LimitError, FormatError("not-for-this-key") for another key's kid, FormatError("decryption-failed", …).
    """
    jwe = parse_compact_jwe(data, max_bytes=MAX_RESPONSE_BYTES)
    if jwe.kid is None or not same_thumbprint(jwe.kid, request.kid):
        raise FormatError("not-for-this-key", "encrypted to another key than the request's")
    return open_compact(data, agree, max_bytes=MAX_RESPONSE_BYTES)


def encrypt_presentation_response(
    vp_token: Mapping[str, JSON], request: PresentationRequest, *, enc: str = "A256GCM"
) -> bytes:
    """What a wallet posts. Raises: FormatError, LimitError."""
    plaintext = canonical_json({"vp_token": dict(vp_token), "state": request.state})
    return encrypt_compact(plaintext, request.encryption_key, enc=enc, header={"kid": request.kid})


def parse_presentation_response(data: bytes) -> PresentationResponse:
    """Take the plaintext of an answer apart. Raises: LimitError, FormatError."""
    value = parse_json(data, max_bytes=MAX_PLAINTEXT_BYTES)
    if not isinstance(value, dict) or len(value) > MAX_MEMBERS:
        raise FormatError("bad-response", "an answer is a JSON object")
    state = value.get("state")
    if "state" in value and (not isinstance(state, str) or not 1 <= len(state) <= MAX_STATE_LENGTH):
        raise FormatError("bad-response", "state is a short text")
    if "error" in value:
        return PresentationResponse({}, state, _error(value))
    token = value.get("vp_token")
    if not isinstance(token, dict) or not token:
        raise FormatError("bad-response", "vp_token is an object with at least one member")
    if len(token) > MAX_CREDENTIALS:
        raise LimitError("too-many-credentials", f"more than {MAX_CREDENTIALS} answers")
    return PresentationResponse({name: _only(item) for name, item in token.items()}, state)


def parse_presentation(data: bytes) -> Presentation:
    """An SD-JWT with key binding (RFC 9901 section 4). Raises: LimitError, FormatError("no-key-binding", …)."""
    if len(data) > MAX_CREDENTIAL_BYTES + MAX_KEY_BINDING_BYTES:
        raise LimitError("credential-too-large", "a presentation of more than 144 KiB")
    sd_jwt, separator, binding = data.rpartition(b"~")
    if not separator:
        raise FormatError("bad-credential", "not an SD-JWT")
    if not binding:
        raise FormatError(
            "no-key-binding", "a credential without key binding shows nothing about who hands it over"
        )
    written = parse_credential(sd_jwt + separator)
    # Wallets keep disclosures in any order; the order says nothing, and one order is easier to check.
    ordered = tuple(sorted(written.disclosures, key=lambda disclosure: disclosure.digest))
    return Presentation(sd_jwt + separator, Credential(written.issuer_jwt, written.jws, ordered), binding)


def _only(value: JSON) -> Presentation:
    if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], str):
        raise FormatError("bad-response", "each answer is an array of exactly one presentation")
    return parse_presentation(value[0].encode("utf-8", "surrogatepass"))


def _error(value: Mapping[str, JSON]) -> str:
    error = value["error"]
    plain = isinstance(error, str) and error.isascii() and error.replace("_", "").isalnum()
    if not plain or len(error) > 64 or "vp_token" in value:
        raise FormatError("bad-response", "an error is one word, and stands alone")
    return str(error)
