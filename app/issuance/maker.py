"""From one released record to sealed documents: figures, data, page, seal, credential. Asks the doors in order.

    record ─▶ figures ─▶ certificate.json ─▶ page code ─▶ page ─▶ (is the data on the page?) ─▶ seal ─▶ credential

Nothing is stored here and nothing leaves here. Every signature needs the gate's authorisation under this request and
this certificate's serial.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from app.city_keys import CityKeys
from app.claims.certificate_data import Authority, build_certificate_data
from app.claims.figures import compute_figures
from app.claims.record_json import parse_record
from app.delivery.bundle import Documents
from app.errors import GateError
from app.registers.release import Released
from app.registers.subject import subject_digest
from app.rendering.layout import SEAL_RECT_PT
from app.rendering.page_text import check_page_text
from app.rendering.renderer import CertificateRenderer
from app.sealing.credential import CredentialFrame, finish_credential, prepare_credential
from app.sealing.page_seal import SealField, seal_page
from app.sealing.validation_material import MaterialSource
from app.storage.certificates import Reservation
from verifier.formats.encoding import canonical_json, parse_canonical_json, sha256
from verifier.formats.page_qr import build_statement_from, format_page_qr, statement_to_be_signed


@dataclass(frozen=True, slots=True)
class MakerSettings:
    """What is the same for every certificate of the city.

    public_url               the city's public address
    page_key_id              8 bytes naming the credential key in page codes
    iss, vct                 issuer and type of the credential
    credential_certificates  DER: the credential's certificate, then the issuing authority, no root
    status_uri               address of a status list, by number
    """

    public_url: str
    authority: Authority
    validity_days: int
    page_key_id: bytes
    iss: str
    vct: str
    credential_certificates: tuple[bytes, ...]
    status_uri: Callable[[int], str]


class Maker:
    """Makes the documents of certificates. One instance serves every thread of the worker."""

    def __init__(
        self,
        settings: MakerSettings,
        *,
        renderer: CertificateRenderer,
        keys: CityKeys,
        timestamp: Callable[[bytes], bytes],
        material: MaterialSource,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._renderer = renderer
        self._keys = keys
        self._timestamp = timestamp
        self._material = material
        self._clock = clock

    def make(
        self,
        released: Released,
        reservation: Reservation,
        *,
        issued_on: date,
        purpose: str,
        phone_signing_jwk: str,
    ) -> Documents:
        """The sealed documents. Raises Refusal, UnavailableError, SealingError, RenderingError, GateError."""
        settings = self._settings
        serial = reservation.certificate_id.hex()
        record = parse_record(released.record)
        data = build_certificate_data(
            record,
            compute_figures(record),
            reservation.certificate_id,
            issued_on,
            purpose,
            settings.authority,
            validity_days=settings.validity_days,
        )
        person = data["subject"]
        subject = subject_digest(person["name"], person["birthdate"], person["address_jan1"])
        if not hmac.compare_digest(subject, released.subject_digest):
            raise GateError("other-person", "the record is about somebody else than the request")
        data_bytes = canonical_json(data)
        sign_credential = self._keys.signing("credential", request_id=reservation.request_id, serial=serial)

        statement = build_statement_from(data, reservation.certificate_id, settings.page_key_id)
        code = format_page_qr(
            settings.public_url, statement, sign_credential(sha256(statement_to_be_signed(statement)))
        )
        page = self._renderer.draw_page(data, data_bytes=data_bytes, qr_text=code)
        missing = check_page_text(page, data)
        if missing:
            raise GateError("page-not-data", f"{len(missing)} values of the data are not on the page")

        sealed = seal_page(
            page,
            at=datetime.fromtimestamp(reservation.issued_at, UTC),
            material=self._material.current(self._clock()),
            sign_digest=self._keys.signing("page_seal", request_id=reservation.request_id, serial=serial),
            timestamp=self._timestamp,
            field=SealField(rectangle=SEAL_RECT_PT),
        )
        frame = CredentialFrame(
            iss=settings.iss,
            vct=settings.vct,
            holder_jwk=parse_canonical_json(phone_signing_jwk.encode("ascii")),
            status_uri=settings.status_uri(reservation.status_list),
            status_index=reservation.status_index,
            page_digest=sealed.page_digest,
            certificates=settings.credential_certificates,
        )
        prepared = prepare_credential(data, frame)
        credential = finish_credential(prepared, sign_credential(prepared.digest))
        return Documents(sealed.data, data_bytes, credential)
