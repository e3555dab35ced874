"""Which trust list may be believed: k of n signatures, version after version, never back, never past its end.

The rules are TUF's for root metadata (specification 1.0.x section 5.3): a new version is exactly one higher
and signed by the threshold of both the old and the new keys. First contact is by comparing a fingerprint
with the city's letter. There is no default trust: every function takes what it relies on. Mock and real
lists never follow each other. Expiry is a question to `TrustList.is_expired`, because a verdict under an
expired list is "undetermined", not an error.
"""

from __future__ import annotations

import datetime as dt
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from verifier.errors import FormatError, TrustError
from verifier.formats.encoding import canonical_json, sha256
from verifier.formats.trust_list import (
    TrustContent,
    TrustDocument,
    canonical_olpc,
    format_signed,
    parse_trust_list,
    tuf_key,
)

FINGERPRINT_LABEL: Final = b"akashi/trust-fingerprint/v1\n"
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base32, as on the certificates
_FINGERPRINT_BYTES: Final = 20


@dataclass(frozen=True, slots=True)
class TrustList:
    """A trust list whose signatures were checked.

    version, expires (UTC), keys (key id → raw Ed25519), threshold, content (what is trusted), data (the file)
    """

    version: int
    expires: dt.datetime
    keys: Mapping[str, bytes]
    threshold: int
    content: TrustContent
    data: bytes

    def is_expired(self, now: dt.datetime) -> bool:
        """Whether nothing may be concluded from this list any more at `now` (UTC)."""
        return now >= self.expires

    @property
    def fingerprint(self) -> str:
        """For people: who may sign lists of this city, as 8 groups of 4 characters.

        Stays until the keys change.
        """
        return format_fingerprint(self.content, self.keys, self.threshold)


def build_trust_list(
    content: TrustContent, *, version: int, expires: dt.datetime, keys: Sequence[bytes], threshold: int
) -> bytes:
    """A trust list without signatures; `keys` are raw Ed25519 public keys. Raises: FormatError."""
    signed = format_signed(content, version=version, expires=expires, keys=tuple(keys), threshold=threshold)
    data = _format({"signatures": [], "signed": signed})
    parse_trust_list(data)
    return data


def sign_trust_list(data: bytes, key: Ed25519PrivateKey | tuple[bytes, Callable[[bytes], bytes]]) -> bytes:
    """The list with one more signature.

    `key` is a private key, or (raw public key, function that signs) when the key lives elsewhere.
    Raises: FormatError.
    """
    document = parse_trust_list(data)
    if isinstance(key, Ed25519PrivateKey):
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        signature = key.sign(document.signed)
    else:
        public, sign = key
        signature = sign(document.signed)
    signatures = {**document.signatures, tuf_key(public)[0]: signature}
    entries = [{"keyid": keyid, "sig": value.hex()} for keyid, value in sorted(signatures.items())]
    return _format({"signatures": entries, "signed": json.loads(data)["signed"]})


def accept_trust_list(data: bytes, fingerprint: str) -> TrustList:
    """First contact: the list, if it is whole and `fingerprint` (from the city's letter) names its keys.

    Raises: FormatError, TrustError("threshold", "other-fingerprint").
    """
    document = parse_trust_list(data)
    _check_threshold(document, document.keys, document.threshold)
    expected = format_fingerprint(document.content, document.keys, document.threshold)
    if not hmac.compare_digest(normalise_fingerprint(fingerprint).encode(), expected.encode()):
        raise TrustError("other-fingerprint", "the fingerprint is not the one of this trust list")
    return _trusted(document, data)


def verify_trust_list(data: bytes, pinned: TrustList) -> TrustList:
    """The list in `data`, if it may follow `pinned` (or is the same version with the same content).

    Raises: FormatError, TrustError with codes rollback, version-gap, threshold, other-city, mock-mix,
    equivocation.
    """
    document = parse_trust_list(data)
    if document.content.city != pinned.content.city:
        raise TrustError("other-city", "the list is of another city")
    if document.content.mock != pinned.content.mock:
        raise TrustError("mock-mix", "mock (模擬) and real trust never follow each other")
    if document.version < pinned.version:
        raise TrustError("rollback", f"version {document.version} is older than {pinned.version}")
    if document.version > pinned.version + 1:
        raise TrustError("version-gap", f"version {pinned.version + 1} has to come first")
    if document.version == pinned.version:
        if document.signed != parse_trust_list(pinned.data).signed:
            raise TrustError("equivocation", "two lists with one version")
        return pinned
    _check_threshold(document, pinned.keys, pinned.threshold)
    _check_threshold(document, document.keys, document.threshold)
    return _trusted(document, data)


def load_trust_list(data: bytes) -> TrustList:
    """A list that the user has accepted before: only its wholeness is checked.

    Raises: FormatError, TrustError.
    """
    document = parse_trust_list(data)
    _check_threshold(document, document.keys, document.threshold)
    return _trusted(document, data)


def format_fingerprint(content: TrustContent, keys: Mapping[str, bytes], threshold: int) -> str:
    """Eight groups of four characters (160 bits) over city, mock, keys and threshold."""
    who = {
        "city": content.city,
        "keys": sorted(raw.hex() for raw in keys.values()),
        "mock": content.mock,
        "threshold": threshold,
    }
    number = int.from_bytes(sha256(FINGERPRINT_LABEL + canonical_json(who))[:_FINGERPRINT_BYTES], "big")
    text = "".join(_ALPHABET[number >> shift & 31] for shift in range(155, -1, -5))
    return "-".join(text[place : place + 4] for place in range(0, 32, 4))


def normalise_fingerprint(text: str) -> str:
    """What a person typed, in the printed form (case, spaces, O for 0, I and L for 1 are forgiven)."""
    plain = "".join(char for char in text.upper() if char not in "- \t\r\n\u3000")
    plain = plain.translate(str.maketrans("OIL", "011"))
    return "-".join(plain[place : place + 4] for place in range(0, len(plain), 4))


def _check_threshold(document: TrustDocument, keys: Mapping[str, bytes], threshold: int) -> None:
    good = 0
    for keyid, raw in keys.items():
        signature = document.signatures.get(keyid)
        if signature is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(raw).verify(signature, document.signed)
        except (InvalidSignature, ValueError):
            continue
        good += 1
    if good < threshold:
        raise TrustError("threshold", f"{good} of {threshold} needed signatures")


def _trusted(document: TrustDocument, data: bytes) -> TrustList:
    return TrustList(
        document.version, document.expires, document.keys, document.threshold, document.content, data
    )


def _format(value: object) -> bytes:
    # Indented for people; TUF signs the canonical form of `signed`, not the file.
    data = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True).encode("utf-8") + b"\n"
    if canonical_olpc(json.loads(data)) != canonical_olpc(value):
        raise FormatError("bad-trust-list", "content that has no form")
    return data
