"""evidence.json: what a reader needs to compute the log entry of a bundle again.

Each part of the leaf (data, page, credential) comes with its salt when its content is in the bundle, or
with its hash alone when it is withheld:

    {"v":1,"document_kind":"income_certificate","validity":"2026-11-20/2027-02-20",
     "parts":{"credential":{"salt":…},"data":{"salt":…}|{"hash":…},"page":{"salt":…}|{"hash":…}}}

Canonical JSON. A salt without its content is refused (it would let the reader guess the content), with one
exception: a page salt without page says that this copy was made without a page (`leaf.NO_PAGE`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from verifier.errors import FormatError
from verifier.formats.encoding import (
    JSON,
    base64url_decode,
    base64url_encode,
    canonical_json,
    parse_canonical_json,
)
from verifier.formats.leaf import (
    CREDENTIAL,
    DATA,
    HASH_SIZE,
    NO_PAGE,
    PAGE,
    check_document_kind,
    leaf_entry,
    parse_validity,
    part_hash,
)

MAX_EVIDENCE_BYTES: Final = 4 << 10


@dataclass(frozen=True, slots=True)
class Part:
    """One part: exactly one of `salt` (content is shown) and `hash` (content is withheld), 32 bytes."""

    salt: bytes | None = None
    hash: bytes | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """evidence.json taken apart. `validity` as in `leaf.format_validity`."""

    document_kind: str
    validity: str
    data: Part
    page: Part
    credential: Part

    def entry(self, *, data: bytes | None, page: bytes | None, credential: bytes) -> bytes:
        """The log entry (32 bytes) of these contents: certificate.json, sealed page, issuer-signed JWT.

        None = not in the bundle.
        Raises: FormatError("evidence-mismatch") when shown and withheld parts disagree.
        """
        no_page = NO_PAGE if page is None and self.page.salt is not None else page
        return leaf_entry(
            self.document_kind,
            self.validity,
            _part_value(DATA, self.data, data),
            _part_value(PAGE, self.page, no_page),
            _part_value(CREDENTIAL, self.credential, credential),
        )

    def has_page(self, page: bytes | None) -> bool | None:
        """True: with page; False: this copy was made without one; None: the page is withheld."""
        return None if self.page.hash is not None else page is not None


def build_evidence(evidence: Evidence) -> bytes:
    """The canonical bytes. Raises: FormatError."""
    check_document_kind(evidence.document_kind)
    parse_validity(evidence.validity)
    parts = {"credential": evidence.credential, "data": evidence.data, "page": evidence.page}
    return canonical_json(
        {
            "v": 1,
            "document_kind": evidence.document_kind,
            "validity": evidence.validity,
            "parts": {name: _format_part(part) for name, part in parts.items()},
        }
    )


def parse_evidence(data: bytes) -> Evidence:
    """Inverse of `build_evidence`. Raises: LimitError, FormatError."""
    value = parse_canonical_json(data, max_bytes=MAX_EVIDENCE_BYTES)
    if not isinstance(value, dict) or set(value) != {"v", "document_kind", "validity", "parts"}:
        raise FormatError("bad-evidence", "wrong members")
    kind, validity, parts = value["document_kind"], value["validity"], value["parts"]
    if value["v"] != 1 or value["v"] is True or not isinstance(kind, str) or not isinstance(validity, str):
        raise FormatError("bad-evidence", "wrong version or types")
    if not isinstance(parts, dict) or set(parts) != {"credential", "data", "page"}:
        raise FormatError("bad-evidence", "the parts are data, page and credential")
    check_document_kind(kind)
    parse_validity(validity)
    data_part, page_part, credential_part = (
        _parse_part(parts[name]) for name in ("data", "page", "credential")
    )
    if credential_part.salt is None:
        raise FormatError("bad-evidence", "the credential is never withheld")
    return Evidence(kind, validity, data_part, page_part, credential_part)


def withhold(evidence: Evidence, *, data: bytes | None = None, page: bytes | None = None) -> Evidence:
    """The evidence for a presentation that leaves out `data` (certificate.json) and/or `page` (sealed PDF).

    Give the contents that are left out; their salts become hashes. Raises: FormatError.
    """
    changed = evidence
    if data is not None:
        changed = dataclasses.replace(changed, data=Part(hash=_part_value(DATA, evidence.data, data)))
    if page is not None:
        changed = dataclasses.replace(changed, page=Part(hash=_part_value(PAGE, evidence.page, page)))
    return changed


def _part_value(kind: bytes, part: Part, content: bytes | None) -> bytes:
    if part.salt is not None and content is not None:
        return part_hash(kind, part.salt, content)
    if part.hash is not None and content is None:
        return part.hash
    raise FormatError("evidence-mismatch", f"{kind.decode()}: shown and withheld parts do not agree")


def _format_part(part: Part) -> JSON:
    name, value = ("salt", part.salt) if part.hash is None else ("hash", part.hash)
    if value is None or len(value) != HASH_SIZE or (part.salt is not None and part.hash is not None):
        raise FormatError("bad-part", "a part has exactly one of salt and hash, 32 bytes")
    return {name: base64url_encode(value)}


def _parse_part(value: JSON) -> Part:
    if not isinstance(value, dict) or len(value) != 1:
        raise FormatError("bad-part", "a part has exactly one of salt and hash")
    name, text = next(iter(value.items()))
    if name not in ("salt", "hash") or not isinstance(text, str):
        raise FormatError("bad-part", "a part has exactly one of salt and hash")
    raw = base64url_decode(text)
    if len(raw) != HASH_SIZE:
        raise FormatError("bad-part", "a salt or hash has 32 bytes")
    return Part(salt=raw) if name == "salt" else Part(hash=raw)
