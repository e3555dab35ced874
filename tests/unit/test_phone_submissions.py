"""Scanning and submitting: the phone shows only what is true, sends only what was asked, and can take it
back.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from mobile_api.client import Phone
from mobile_api.door_client import Reply
from mobile_api.errors import DoorRefused, DoorUnavailable, PhoneError, RequestDistrusted, StateError
from mobile_api.presentation import build_presentation
from tests.support.door_house import CITY, PUBLIC_URL, House, make_bundle, make_house
from tests.unit.test_mobile_api_submissions import Desk
from verifier.door import mail_hash
from verifier.errors import FormatError
from verifier.formats.bundle import Bundle, parse_bundle
from verifier.formats.credential import parse_credential
from verifier.formats.encoding import base64_encode, base64url_encode
from verifier.formats.evidence import parse_evidence
from verifier.formats.jose import agreement, es256_signer, thumbprint
from verifier.formats.key_binding import parse_key_binding, presentation_hash
from verifier.formats.package import open_package
from verifier.formats.recipient import RecipientStatement, build_recipient_statement
from verifier.formats.submission_request import (
    SubmissionRequest,
    build_submission_request,
    encrypt_descriptor,
    format_request_qr,
    request_nonce,
    request_secret,
    upload_token_hash,
)


class Company:
    """An employer whose request may be wrong in one point."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.desk = Desk(house)
        self.encryption = ec.generate_private_key(ec.SECP256R1())
        self.descriptor = b""

    def statement(self, signer: ec.EllipticCurvePrivateKey | None = None, **changes: Any) -> str:
        seconds = int(self.house.clock().timestamp())
        values = {
            "city": CITY,
            "name": "模擬商事株式会社",
            "keys": (thumbprint(self.encryption.public_key()),),
            "signing_key": thumbprint(self.desk.key.public_key()),
            "upload": PUBLIC_URL,
            "issued": seconds,
            "expires": seconds + 3600,
            "corporate_number": "7000020992011",
        }
        key = signer or self.house.city.statement_key
        statement = RecipientStatement(**{**values, **changes})
        return build_recipient_statement(
            statement, kid=thumbprint(key.public_key()), sign=es256_signer(key)
        ).decode()

    def ask(self, **changes: Any) -> str:
        """Store the request; returns the QR text."""
        request = SubmissionRequest(
            name="模擬商事株式会社",
            purpose="住居手当の確認",
            items=("all",),
            keep_until=dt.date(2027, 3, 31),
            keys=(self.encryption.public_key(),),
            signing_key=self.desk.key.public_key(),
            upload=PUBLIC_URL,
            expires=self.house.clock() + dt.timedelta(days=7),
            salt=os.urandom(16),
            corporate_number="7000020992011",
        )
        request = dataclasses.replace(request, **changes)
        self.descriptor = build_submission_request(request, es256_signer(self.desk.key))
        secret = request_secret(self.descriptor)
        self.desk.form.update(
            ciphertext=base64_encode(encrypt_descriptor(self.descriptor)),
            upload_token_hash=base64url_encode(upload_token_hash(secret)),
        )
        if request.mail is not None:
            self.desk.form["mail_hash"] = mail_hash(secret, request.mail)
        self.desk.create()
        return format_request_qr(PUBLIC_URL, self.desk.request_id, secret)

    def received(self) -> list[Bundle]:
        """Open everything that has come in."""
        bundles = []
        for entry in self.desk.call("GET", self.desk.path).json["submissions"]:
            body = self.desk.call("GET", f"{self.desk.path}/{entry['receipt']}").data
            bundles.append(parse_bundle(self.open(body)))
        return bundles

    def open(self, package: bytes) -> bytes:
        return open_package(
            package, thumbprint(self.encryption.public_key()), agreement(self.encryption)
        ).plaintext


@pytest.fixture
def house(tmp_path: Path) -> House:
    return make_house(tmp_path)


@pytest.fixture
def company(house: House) -> Company:
    return Company(house)


@pytest.fixture
def phone(house: House) -> Phone:
    return house.phone()


@pytest.fixture
def bundle(house: House, phone: Phone) -> bytes:
    return make_bundle(house.city.credential_key, phone._home.signing_key.public_key())


def test_a_registered_recipient_is_named(company: Company, phone: Phone) -> None:
    scanned = phone.scan(company.ask(statement=company.statement()))
    assert scanned.confirmed_name == "模擬商事株式会社"
    assert scanned.request.purpose == "住居手当の確認"


def test_an_unregistered_recipient_has_no_confirmed_name(company: Company, phone: Phone) -> None:
    scanned = phone.scan(company.ask())
    assert scanned.confirmed_name is None
    assert scanned.request.name == "模擬商事株式会社"


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "別の会社"},
        {"corporate_number": None},
        {"upload": "https://evil.example"},
        {"city": "992012"},
        {"expires": 1},
        {"signing_key": "A" * 43},
        {"keys": ("A" * 43,)},
        {"signer": ec.generate_private_key(ec.SECP256R1())},
    ],
)
def test_a_statement_about_somebody_else_is_refused(
    company: Company, phone: Phone, changes: dict[str, Any]
) -> None:
    with pytest.raises(RequestDistrusted):
        phone.scan(company.ask(statement=company.statement(**changes)))


def test_one_strangers_key_among_the_companys_is_refused(company: Company, phone: Phone) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    qr = company.ask(statement=company.statement(), keys=(company.encryption.public_key(), stranger))
    with pytest.raises(RequestDistrusted, match="other-recipient"):
        phone.scan(qr)


def test_an_ended_request_is_refused(house: House, company: Company, phone: Phone) -> None:
    qr = company.ask(expires=house.clock() + dt.timedelta(minutes=10))
    phone.scan(qr)
    house.clock.forward(minutes=11)
    with pytest.raises(RequestDistrusted, match="request-expired"):
        phone.scan(qr)


@pytest.mark.parametrize(
    "change",
    [
        lambda qr: qr.replace("door.mihon", "door.evil"),
        lambda qr: qr[:-1],
        lambda qr: qr + "A",
        lambda qr: qr.replace("https", "http"),
        lambda qr: "otpauth://totp/x",
        lambda qr: "",
    ],
)
def test_other_qr_codes_are_refused(company: Company, phone: Phone, change: Callable[[str], str]) -> None:
    with pytest.raises(RequestDistrusted):
        phone.scan(change(company.ask()))


def test_the_door_cannot_swap_the_descriptor(house: House, company: Company) -> None:
    other = Company(house)
    other.ask(name="悪い会社")
    qr = company.ask()
    transport = house.transport()
    swapped = house.app.test_client().get(f"/v1/requests/{other.desk.request_id}").data
    phone = house.phone("victim", transport)
    for body in (swapped, b"", b"x" * 100, os.urandom(40000)):
        transport.after = lambda _m, _p, _r, body=body: Reply(200, {}, body)
        with pytest.raises(RequestDistrusted):
            phone.scan(qr)


def test_an_unknown_request_is_the_doors_word(company: Company, phone: Phone) -> None:
    qr = company.ask()
    with pytest.raises(DoorRefused, match="no-request"):
        phone.scan(qr.replace(company.desk.request_id, "a" * 10))


def test_upload_everything(company: Company, phone: Phone, bundle: bytes) -> None:
    scanned = phone.scan(company.ask())
    receipt = phone.submit_upload(bundle, scanned)
    assert phone.submit_upload(bundle, scanned).receipt == receipt.receipt
    [got] = company.received()
    whole = parse_bundle(bundle)
    assert (got.page, got.certificate, got.credential) == (whole.page, whole.certificate, whole.credential)
    assert got.key_binding is not None
    binding = parse_key_binding(got.key_binding)
    binding.jws.verify(phone._home.signing_key.public_key())
    assert binding.sd_hash == presentation_hash(whole.credential)
    assert binding.nonce == request_nonce(company.descriptor)
    assert binding.audience == scanned.request.audience()


def test_upload_one_claim_only(company: Company, phone: Phone, bundle: bytes) -> None:
    phone.submit_upload(bundle, phone.scan(company.ask(items=("title",))))
    [got] = company.received()
    assert (got.page, got.certificate) == (None, None)
    assert [d.name for d in parse_credential(got.credential).disclosures] == ["title"]
    evidence, whole = parse_evidence(got.evidence), parse_evidence(parse_bundle(bundle).evidence)
    assert evidence.page.salt is None
    assert evidence.data.salt is None
    jwt = got.credential.split(b"~")[0]
    original = parse_bundle(bundle)
    assert evidence.entry(data=None, page=None, credential=jwt) == whole.entry(
        data=original.certificate, page=original.page, credential=jwt
    )


def test_the_page_goes_only_when_asked_for(company: Company, phone: Phone, bundle: bytes) -> None:
    phone.submit_upload(bundle, phone.scan(company.ask(items=("page", "title"))))
    [got] = company.received()
    assert got.page == parse_bundle(bundle).page
    assert got.certificate is None


def test_an_unknown_claim_is_not_sent(company: Company, phone: Phone, bundle: bytes) -> None:
    with pytest.raises(FormatError):
        phone.submit_upload(bundle, phone.scan(company.ask(items=("salary",))))
    assert company.desk.call("GET", company.desk.path).json == {"submissions": []}


def test_withdraw(company: Company, phone: Phone, bundle: bytes) -> None:
    receipt = phone.submit_upload(bundle, phone.scan(company.ask())).receipt or ""
    phone.withdraw(receipt)
    phone.withdraw(receipt)
    assert company.received() == []
    assert [line["event"] for line in phone.history()] == ["submitted", "withdrawn"]
    with pytest.raises(StateError, match="unknown-receipt"):
        phone.withdraw("x" * 22)


def test_a_fetched_submission_cannot_be_withdrawn(company: Company, phone: Phone, bundle: bytes) -> None:
    receipt = phone.submit_upload(bundle, phone.scan(company.ask())).receipt or ""
    company.received()
    with pytest.raises(PhoneError, match="already-fetched"):
        phone.withdraw(receipt)


def test_after_a_withdrawal_one_can_submit_again(company: Company, phone: Phone, bundle: bytes) -> None:
    scanned = phone.scan(company.ask())
    first = phone.submit_upload(bundle, scanned).receipt or ""
    phone.withdraw(first)
    assert phone.submit_upload(bundle, scanned).receipt != first
    assert len(company.received()) == 1


def test_a_lost_answer_is_one_submission(house: House, company: Company, bundle: bytes) -> None:
    transport = house.transport()
    phone = house.phone("lossy", transport, attempts=1)
    scanned = phone.scan(company.ask())
    transport.after = lambda _m, _p, _r: Reply(502, {}, b"")
    with pytest.raises(DoorUnavailable):
        phone.submit_upload(bundle, scanned)
    transport.after = lambda _m, _p, reply: reply
    phone.submit_upload(bundle, scanned)
    assert len(company.received()) == 1


def test_nothing_of_a_submission_names_the_account(house: House, company: Company, bundle: bytes) -> None:
    transport = house.transport()
    phone = house.registered_phone("named", transport)
    seen: list[str] = []
    transport.before = lambda method, url, body: seen.append(f"{method} {url} {body!r}")
    phone.submit_upload(bundle, phone.scan(company.ask()))
    assert phone.account
    assert not any(phone.account in line for line in seen)


def test_mail(house: House, company: Company, phone: Phone, bundle: bytes) -> None:
    scanned = phone.scan(company.ask(mail="jinji@shoji.example"))
    assert phone.submit_mail(bundle, scanned).receipt is None
    phone.submit_mail(bundle, scanned)
    [mail] = house.mails
    [attachment] = mail.iter_attachments()
    assert parse_bundle(company.open(attachment.get_content())).key_binding is not None


def test_no_mail_without_an_address(company: Company, phone: Phone, bundle: bytes) -> None:
    with pytest.raises(RequestDistrusted, match="no-mail"):
        phone.submit_mail(bundle, phone.scan(company.ask()))


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"receipt":5}', b'{"receipt":"../../x/aaaaaaaaaaaaaaaa"}']
)
def test_a_strange_receipt_is_refused(house: House, company: Company, bundle: bytes, body: bytes) -> None:
    transport = house.transport()
    phone = house.phone("strange", transport)
    scanned = phone.scan(company.ask())
    transport.after = lambda _m, _p, _r: Reply(201, {}, body)
    with pytest.raises(PhoneError, match="bad-door-answer"):
        phone.submit_upload(bundle, scanned)


def test_a_presentation_is_bound_once(company: Company, phone: Phone, bundle: bytes) -> None:
    scanned = phone.scan(company.ask())
    sign = es256_signer(phone._home.signing_key)
    bound = build_presentation(bundle, scanned.request, scanned.descriptor, sign, company.house.clock())
    with pytest.raises(FormatError, match="already-bound"):
        build_presentation(bound, scanned.request, scanned.descriptor, sign, company.house.clock())


def test_refreshed_evidence_is_kept(house: House) -> None:
    with house.registered_phone("fresh") as phone:
        from tests.support.door_house import FakeCard

        request = phone.request_certificate(2026, "", FakeCard(), "1234")
        list(phone.wait(request))
        phone.fetch_package(request)
        old = phone.open(request)
        renewed = phone.refresh_evidence(request, lambda bundle: bundle + b"newer")
        assert renewed == old + b"newer"
        assert phone.open(request) == renewed
        with pytest.raises(ZeroDivisionError):
            phone.refresh_evidence(request, lambda _bundle: b"%d" % (1 // 0))
        assert phone.open(request) == renewed
