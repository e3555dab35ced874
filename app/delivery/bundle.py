"""Page, data, credential and evidence become one bundle; the bundle becomes a package only one phone can open. Pure.

Formats are the verifier's (`verifier.formats`); this room only puts the pieces together. It keeps nothing and asks
nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from app.storage.certificates import Reservation
from app.storage.copies import CopyReservation
from verifier.formats.bundle import Bundle, build_bundle
from verifier.formats.evidence import Evidence, Part, build_evidence
from verifier.formats.names import BUNDLE_TYPE
from verifier.formats.package import pack


@dataclass(frozen=True, slots=True)
class Documents:
    """The sealed documents of one certificate: page (PDF), certificate.json, SD-JWT text."""

    page: bytes
    data: bytes
    credential: str


def build_leaf_evidence(
    reservation: Reservation | CopyReservation, *, document_kind: str, validity: str
) -> Evidence:
    """The evidence that opens every part of the leaf: a holder's own copy withholds nothing."""
    return Evidence(
        document_kind,
        validity,
        data=Part(salt=reservation.salt_data),
        page=Part(salt=reservation.salt_page),
        credential=Part(salt=reservation.salt_credential),
    )


def leaf_entry_of(documents: Documents, evidence: Evidence) -> bytes:
    """The 32 bytes for the log. The credential's part is its issuer-signed JWT, before the first tilde."""
    issuer_signed = documents.credential.split("~", 1)[0].encode("ascii")
    return evidence.entry(data=documents.data, page=documents.page, credential=issuer_signed)


def assemble_bundle(
    documents: Documents, evidence: Evidence, *, inclusion: str, status: bytes, timestamp: bytes | None = None
) -> bytes:
    """The bundle at the stage *logged* (the phone adds the anchor receipt later, from public files)."""
    return build_bundle(
        Bundle(
            credential=documents.credential.encode("ascii"),
            evidence=build_evidence(evidence),
            inclusion=inclusion.encode("utf-8"),
            status=status,
            page=documents.page,
            certificate=documents.data,
            timestamp=timestamp,
        )
    )


def copy_entry_of(data: bytes, credential: str, evidence: Evidence) -> bytes:
    """The 32 bytes for the log of a copy that was made without a page."""
    issuer_signed = credential.split("~", 1)[0].encode("ascii")
    return evidence.entry(data=data, page=None, credential=issuer_signed)


def assemble_copy_bundle(
    data: bytes, credential: str, evidence: Evidence, *, inclusion: str, status: bytes
) -> bytes:
    """The bundle of a copy without a page: what the city checks before a wallet gets the credential."""
    return build_bundle(
        Bundle(
            credential=credential.encode("ascii"),
            evidence=build_evidence(evidence),
            inclusion=inclusion.encode("utf-8"),
            status=status,
            certificate=data,
        )
    )


def pack_for_phone(bundle: bytes, phone_key: ec.EllipticCurvePublicKey) -> bytes:
    """Encrypt the bundle to the one key that the card's statement named."""
    return pack(bundle, [phone_key], content_type=BUNDLE_TYPE)
