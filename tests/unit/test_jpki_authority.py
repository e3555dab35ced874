"""The mock JPKI: profiles of both certificates, dates, revocation by event, OCSP and CRL, refused in
production.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from app.counterparts.jpki.authority import MockJpki
from app.counterparts.jpki.errors import JpkiError
from app.counterparts.jpki.server import JpkiServer
from app.counterparts.mail.server import MockMailServer
from app.errors import SettingsError
from tests.support.door_house import HANAKO, NOW, key_supply, make_card, make_jpki


@pytest.fixture
def jpki(tmp_path: Path) -> MockJpki:
    return make_jpki(tmp_path / "jpki")


def attributes_of(certificate: x509.Certificate) -> dict[str, str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = {}
    for name in names:
        assert isinstance(name, x509.OtherName)
        assert name.value[0] == 0x0C
        found[name.type_id.dotted_string] = name.value[2 if name.value[1] < 0x80 else 3 :].decode()
    return found


def test_the_signature_certificate_carries_the_attributes(jpki: MockJpki) -> None:
    signature = jpki.issue(HANAKO, now=NOW).signature
    assert signature is not None
    arc = "1.2.392.200149.8.5.5."
    assert attributes_of(signature.certificate) == {
        f"{arc}1": HANAKO.name,
        f"{arc}2": HANAKO.name_substitutes,
        f"{arc}3": "2",
        f"{arc}4": "319850315",
        f"{arc}5": HANAKO.address,
        f"{arc}6": HANAKO.address_substitutes,
    }
    assert "花子" not in signature.certificate.subject.rfc4514_string()


def test_the_authentication_certificate_carries_none(jpki: MockJpki) -> None:
    certificate = jpki.issue(HANAKO, now=NOW).authentication.certificate
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.content_commitment) == (True, False)


def test_everything_says_mock(jpki: MockJpki) -> None:
    for authority in jpki.certificates.values():
        assert "MOCK JPKI" in authority.subject.rfc4514_string()
        assert "J-LIS" not in authority.subject.rfc4514_string()
        assert "Japan Agency" not in authority.subject.rfc4514_string()


@pytest.mark.parametrize(
    ("birthdate", "now", "until"),
    [
        ("319850315", datetime(2026, 11, 20, tzinfo=UTC), datetime(2031, 3, 15, tzinfo=UTC)),
        ("319851225", datetime(2026, 11, 20, tzinfo=UTC), datetime(2030, 12, 25, tzinfo=UTC)),
        ("420000229", datetime(2026, 11, 20, tzinfo=UTC), datetime(2031, 2, 28, tzinfo=UTC)),
    ],
)
def test_valid_until_the_fifth_birthday(
    jpki: MockJpki, birthdate: str, now: datetime, until: datetime
) -> None:
    person = dataclasses.replace(HANAKO, birthdate=birthdate)
    assert jpki.issue(person, now=now).authentication.certificate.not_valid_after_utc == until


def test_under_fifteen_there_is_no_signature_certificate(jpki: MockJpki, tmp_path: Path) -> None:
    child = dataclasses.replace(HANAKO, birthdate="420120101")
    reader, issued = make_card(jpki, tmp_path / "card.json", child)
    assert issued.signature is None
    assert reader.authenticate("1234", b"x").signature
    with pytest.raises(JpkiError):
        reader.sign_document("ABC123", b"x")


@pytest.mark.parametrize(
    ("event", "kinds"),
    [
        ("move", {"signature"}),
        ("name-change", {"signature"}),
        ("death", {"signature", "authentication"}),
        ("loss", {"signature", "authentication"}),
        ("renewal", {"signature", "authentication"}),
        ("suspension", {"signature", "authentication"}),
    ],
)
def test_events_revoke_what_they_end(jpki: MockJpki, event: str, kinds: set[str]) -> None:
    card, other = jpki.issue(HANAKO, now=NOW), jpki.issue(HANAKO, now=NOW)
    assert len(jpki.revoke(card.card, event, now=NOW)) == len(kinds)
    assert jpki.revoke(card.card, event, now=NOW) == []
    for kind in ("signature", "authentication"):
        crl = x509.load_der_x509_crl(jpki.build_crl(kind, now=NOW))
        serials = {entry.serial_number for entry in crl}
        mine = getattr(card, kind).certificate.serial_number
        assert (mine in serials) == (kind in kinds)
        assert getattr(other, kind).certificate.serial_number not in serials
        assert crl.next_update_utc == NOW + timedelta(hours=24)


def test_an_unknown_card_cannot_be_revoked(jpki: MockJpki) -> None:
    with pytest.raises(JpkiError, match="unknown-card"):
        jpki.revoke("00", "loss", now=NOW)


def ask(jpki: MockJpki, kind: str, certificate: x509.Certificate, now: datetime = NOW) -> ocsp.OCSPResponse:
    request = (
        ocsp.OCSPRequestBuilder().add_certificate(certificate, jpki.certificates[kind], hashes.SHA1()).build()
    )
    raw = jpki.answer_ocsp(kind, request.public_bytes(serialization.Encoding.DER), now=now)
    return ocsp.load_der_ocsp_response(raw)


def test_ocsp_says_good_revoked_unknown(jpki: MockJpki, tmp_path: Path) -> None:
    card = jpki.issue(HANAKO, now=NOW)
    certificate = card.authentication.certificate
    assert ask(jpki, "authentication", certificate).certificate_status is ocsp.OCSPCertStatus.GOOD
    jpki.revoke(card.card, "suspension", now=NOW)
    answer = ask(jpki, "authentication", certificate)
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert answer.revocation_reason is x509.ReasonFlags.certificate_hold
    (tmp_path / "jpki" / "issued.json").unlink()
    assert ask(jpki, "authentication", certificate).certificate_status is ocsp.OCSPCertStatus.UNKNOWN


def test_ocsp_of_another_authority_is_unauthorised(jpki: MockJpki) -> None:
    certificate = jpki.issue(HANAKO, now=NOW).authentication.certificate
    request = ocsp.OCSPRequestBuilder().add_certificate(
        certificate, jpki.certificates["signature"], hashes.SHA1()
    )
    raw = jpki.answer_ocsp(
        "authentication", request.build().public_bytes(serialization.Encoding.DER), now=NOW
    )
    assert ocsp.load_der_ocsp_response(raw).response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED
    malformed = ocsp.load_der_ocsp_response(jpki.answer_ocsp("signature", b"rubbish", now=NOW))
    assert malformed.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_the_responder_is_renewed(jpki: MockJpki) -> None:
    certificate = jpki.issue(HANAKO, now=NOW).authentication.certificate
    later = NOW + timedelta(days=100)
    responder = ask(jpki, "authentication", certificate, later).certificates[0]
    assert responder.not_valid_after_utc > later


def test_the_directory_is_opened_again(jpki: MockJpki, tmp_path: Path) -> None:
    card = jpki.issue(HANAKO, now=NOW)
    again = MockJpki(tmp_path / "jpki", now=NOW, keys=key_supply())
    assert again.certificates == jpki.certificates
    assert again.find_card(f"{card.authentication.certificate.serial_number:x}") == card.card


@pytest.mark.parametrize("profile", ["production", None, "", "Demo"])
def test_mocks_run_in_demo_only(jpki: MockJpki, tmp_path: Path, profile: str | None) -> None:
    with pytest.raises(SettingsError, match="MOCK"):
        JpkiServer(("127.0.0.1", 0), jpki, profile=profile)
    with pytest.raises(SettingsError, match="MOCK"):
        MockMailServer(tmp_path / "mail", profile=profile)


@pytest.mark.parametrize("module", ["app.counterparts.jpki", "app.counterparts.mail"])
def test_the_processes_refuse_production(tmp_path: Path, module: str) -> None:
    arguments = (
        ["serve", "--directory", str(tmp_path)] if module.endswith("jpki") else ["--directory", str(tmp_path)]
    )
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={"AKASHI_PROFILE": "production"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "MOCK" in done.stderr
