"""From one released record to the drafts of N copies: figures, data, credential without page, all but the signature.

Each copy has its own id (and so its own certificate number), salts, status entry and key; what two of them share is what
the certificate says. The page is not drawn here, and no page seal is ever asked for. Nothing is stored or signed.
"""

from __future__ import annotations

import hmac
from datetime import date

from app.claims.certificate_data import build_certificate_data
from app.claims.figures import compute_figures
from app.claims.record_json import parse_record
from app.errors import GateError
from app.issuance.maker import MakerSettings
from app.registers.release import Released
from app.registers.subject import subject_digest
from app.sealing.credential import CredentialFrame, PreparedCredential, finish_credential, prepare_credential
from app.storage.copies import CopyReservation
from app.storage.copy_drafts import CopyDraft
from verifier.formats.encoding import canonical_json, parse_canonical_json, sha256


class CopyMaker:
    """Makes drafts. One instance serves every thread of the worker."""

    def __init__(self, settings: MakerSettings) -> None:
        self._settings = settings

    def draft(
        self,
        released: Released,
        reservations: tuple[CopyReservation, ...],
        *,
        issued_on: date,
        purpose: str,
    ) -> list[CopyDraft]:
        """One draft a reservation. Raises ClaimError, SealingError, GateError("other-person")."""
        record = parse_record(released.record)
        figures = compute_figures(record)
        drafts = []
        for reservation in reservations:
            data = build_certificate_data(
                record,
                figures,
                reservation.copy_id,
                issued_on,
                purpose,
                self._settings.authority,
                validity_days=self._settings.validity_days,
            )
            person = data["subject"]
            subject = subject_digest(person["name"], person["birthdate"], person["address_jan1"])
            if not hmac.compare_digest(subject, released.subject_digest):
                raise GateError("other-person", "the record is about somebody else than the request")
            frame = CredentialFrame(
                iss=self._settings.iss,
                vct=self._settings.vct,
                holder_jwk=parse_canonical_json(reservation.holder_jwk.encode("ascii")),
                status_uri=self._settings.status_uri(reservation.status_list),
                status_index=reservation.status_index,
                page_digest=None,
                certificates=self._settings.credential_certificates,
            )
            prepared = prepare_credential(data, frame)
            drafts.append(
                CopyDraft(
                    reservation.copy_id,
                    canonical_json(data),
                    prepared.signing_input,
                    prepared.disclosures,
                )
            )
        return drafts


def draft_digest(draft: CopyDraft) -> bytes:
    """What is signed: SHA-256 of the signing input (32 bytes)."""
    return sha256(draft.signing_input.encode("ascii"))


def finish_draft(draft: CopyDraft, signature: bytes) -> str:
    """The credential (SD-JWT text) of a draft with its signature (64 bytes)."""
    return finish_credential(
        PreparedCredential(draft.signing_input, draft_digest(draft), draft.disclosures), signature
    )
