"""build_certificate_data: certificate.json, the data of one certificate, from a record and its figures.

The shape is docs/formats/certificate-data.md and verifier/formats/schema/income-certificate-1.schema.json.
Text is taken over as it is, code point for code point: nothing is normalised. Absent data are left out,
zeros too where allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from app.claims.certificate_number import certificate_number
from app.claims.decision import INCOME_CERTIFICATE
from app.claims.errors import RecordError
from app.claims.figures import Figures
from app.claims.record import TaxpayerRecord

VALIDITY_DAYS: Final = 92
MAX_PURPOSE: Final = 100


@dataclass(frozen=True, slots=True)
class Authority:
    """Who certifies: the city and its mayor as printed. `mock` True marks everything as 模擬."""

    code: str
    name: str
    corporate_number: str
    issuer_title: str
    issuer_name: str
    mock: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "name": self.name,
            "corporate_number": self.corporate_number,
            "issuer_title": self.issuer_title,
            "issuer_name": self.issuer_name,
            "mock": self.mock,
        }


DEMO_AUTHORITY: Final = Authority("992011", "見本市", "7000020992011", "見本市長", "見本 一郎", True)


def build_certificate_data(
    record: TaxpayerRecord,
    figures: Figures,
    certificate_id: bytes,
    issued_on: date,
    purpose: str,
    authority: Authority,
    *,
    validity_days: int = VALIDITY_DAYS,
) -> dict[str, Any]:
    """The data of one certificate as a plain dict (give it to `canonical_json`).

    `issued_on` is the legal day in Asia/Tokyo; `purpose` may be empty. Raises: RecordError where the record
    lacks what a certificate must say, ValueError if figures and record are of different years or the id has
    not 16 bytes.
    """
    if figures.fiscal_year != record.fiscal_year:
        raise ValueError("the figures are of another fiscal year than the record")
    if not record.declared:
        raise RecordError("declared", "there is no certificate of an undeclared year")
    return {
        "document_kind": INCOME_CERTIFICATE,
        "title": figures.title,
        "fiscal_year": figures.fiscal_year,
        "income_year": figures.income_year,
        "issuing_authority": authority.as_json(),
        "certificate_number": certificate_number(certificate_id),
        "issued_on": issued_on.isoformat(),
        "valid_until": (issued_on + timedelta(days=validity_days)).isoformat(),
        "subject": _subject(record),
        "income": dict(figures.income),
        "deductions": dict(figures.deductions),
        "dependants": dict(figures.dependants),
        "person_status": dict(figures.person_status),
        "tax": dict(figures.tax),
        "remarks": _purpose(purpose),
    }


def _subject(record: TaxpayerRecord) -> dict[str, str]:
    person = record.person
    if person.name is None:
        raise RecordError("person.name", "a certificate must name the person")
    if person.birthdate is None:
        raise RecordError("person.birthdate", "a certificate must state the birth date")
    if person.address_jan1 is None:
        raise RecordError("person.address_jan1", "a certificate must state the address on 1 January")
    optional = {
        "family_name": person.family_name,
        "given_name": person.given_name,
        "family_name_kana": person.family_name_kana,
        "given_name_kana": person.given_name_kana,
        "alias": person.alias,
    }
    return {
        "name": person.name,
        **{key: text for key, text in optional.items() if text is not None},
        "birthdate": person.birthdate.isoformat(),
        "address_jan1": person.address_jan1,
    }


def _purpose(purpose: str) -> str:
    if len(purpose) > MAX_PURPOSE or any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in purpose):
        raise RecordError("purpose", f"must be one line of at most {MAX_PURPOSE} characters")
    return purpose
