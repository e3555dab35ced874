"""The whole way with real processes' interfaces: register → request → answer → package → submit → employer
fetches.

The door runs as `python -m mobile_api` (gunicorn) on a free port, JPKI and mail as real servers; the city
is a fake in this process, behind the real `CityMailbox` and `CardChecker`.
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from app.counterparts.jpki.server import JpkiServer
from app.counterparts.mail.server import MockMailServer, read_mails
from app.identity.card_certificate import load_card_trust
from app.identity.card_evidence import CardChecker
from app.identity.status import jpki_status_client
from app.mailbox import CityMailbox, format_door_keys
from mobile_api.client import Phone
from mobile_api.errors import CityRefused, PhoneError
from tests.support.door_house import (
    CITY,
    PASSWORDS,
    PUBLIC_URL,
    FakeCity,
    make_card,
    make_jpki,
    register_body,
)
from tests.support.watched_processes import watched
from verifier import door as desk
from verifier.formats.bundle import parse_bundle
from verifier.formats.jose import agreement, es256_signer, thumbprint
from verifier.formats.key_binding import parse_key_binding
from verifier.formats.names import PRESENTATION_TYPE
from verifier.formats.package import open_package
from verifier.formats.recipient import RecipientStatement, build_recipient_statement
from verifier.formats.submission_request import (
    SubmissionRequest,
    build_submission_request,
    format_request_qr,
    request_nonce,
    request_secret,
)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def mail_server(tmp_path: Path):
    port = free_port()
    server = MockMailServer(tmp_path / "mail", profile="demo", port=port)
    server.start()
    yield port, tmp_path / "mail"
    server.stop()


@pytest.fixture
def jpki(tmp_path: Path):
    authority = make_jpki(tmp_path / "jpki", now())
    server = JpkiServer(("127.0.0.1", 0), authority, profile="demo")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield authority, server.base_url, register_body(authority)
    server.shutdown()
    server.server_close()


@pytest.fixture
def door(tmp_path: Path, mail_server):
    with watched(tmp_path):
        yield from _door(tmp_path, mail_server)


def _door(tmp_path: Path, mail_server):
    port, mailbox_key = free_port(), ec.generate_private_key(ec.SECP256R1())
    keys = tmp_path / "city-keys.json"
    keys.write_bytes(format_door_keys([(mailbox_key.public_key(), ["mailbox", "public"])]))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AKASHI_")},
        "AKASHI_PROFILE": "demo",
        "AKASHI_DOOR_DATABASE_URL": f"sqlite:///{tmp_path}/door.sqlite",
        "AKASHI_DOOR_PUBLIC_URL": PUBLIC_URL,
        "AKASHI_DOOR_CITY": CITY,
        "AKASHI_DOOR_CITY_KEYS": str(keys),
        "AKASHI_DOOR_PUBLIC_DIR": str(tmp_path / "public"),
        "AKASHI_DOOR_PORT": str(port),
        "AKASHI_DOOR_SMTP_HOST": "127.0.0.1",
        "AKASHI_DOOR_SMTP_PORT": str(mail_server[0]),
        "AKASHI_DOOR_SMTP_SENDER": "door@mihon.example",
    }
    log = (tmp_path / "door.log").open("wb")
    process = subprocess.Popen([sys.executable, "-m", "mobile_api"], env=environment, stdout=log, stderr=log)
    base = f"http://127.0.0.1:{port}"
    for _ in range(200):
        try:
            if urllib.request.urlopen(f"{base}/readyz", timeout=1).status == 200:
                break
        except OSError:
            assert process.poll() is None, (tmp_path / "door.log").read_text()
            time.sleep(0.05)
    yield base, mailbox_key
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, (tmp_path / "door.log").read_text()
    log.close()


@pytest.fixture
def city(door, jpki):
    base, mailbox_key = door
    authority, address, credential = jpki
    checker = CardChecker(
        load_card_trust(authority.anchors, profile="demo"),
        CITY,
        jpki_status_client(address, credential=credential),
    )
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    found = FakeCity(CityMailbox(base, mailbox_key, city=CITY), checker, now, *keys)
    found.stock()
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            found.work(wait=1)

    thread = threading.Thread(target=loop)
    thread.start()
    yield found
    stop.set()
    thread.join(10)


class Employer:
    """A desk with one encryption and one signing key, registered with the city."""

    def __init__(self, base: str, city: FakeCity, mail: str | None = None) -> None:
        self._base = base
        self.encryption = ec.generate_private_key(ec.SECP256R1())
        self.signing = ec.generate_private_key(ec.SECP256R1())
        seconds = int(now().timestamp())
        statement = RecipientStatement(
            city=CITY,
            name="模擬商事株式会社",
            keys=(thumbprint(self.encryption.public_key()),),
            signing_key=thumbprint(self.signing.public_key()),
            upload=PUBLIC_URL,
            issued=seconds - 60,
            expires=seconds + 86400,
            corporate_number="7000020992011",
        )
        signed = build_recipient_statement(
            statement, kid=city.statement_kid, sign=es256_signer(city.statement_key)
        )
        request = SubmissionRequest(
            name=statement.name,
            purpose="住居手当の確認",
            items=("all",),
            keep_until=dt.date(2027, 3, 31),
            keys=(self.encryption.public_key(),),
            signing_key=self.signing.public_key(),
            upload=PUBLIC_URL,
            expires=now().replace(microsecond=0) + dt.timedelta(days=7),
            salt=os.urandom(16),
            corporate_number=statement.corporate_number,
            statement=signed.decode("ascii"),
            mail=mail,
        )
        self.descriptor = build_submission_request(request, es256_signer(self.signing))
        self.request_id = desk.post_request(base, self.descriptor, self.signing, now())

    @property
    def qr(self) -> str:
        return format_request_qr(PUBLIC_URL, self.request_id, request_secret(self.descriptor))

    def inbox(self) -> tuple[desk.Submission, ...]:
        return desk.list_submissions(self._base, self.request_id, self.signing, now())

    def fetch(self, receipt: str) -> bytes:
        return desk.fetch_submission(self._base, self.request_id, receipt, self.signing, now())

    def open(self, package: bytes) -> bytes:
        kid = thumbprint(self.encryption.public_key())
        opened = open_package(package, kid, agreement(self.encryption))
        assert opened.content_type == PRESENTATION_TYPE
        return opened.plaintext


def test_whole_way(tmp_path: Path, door, jpki, city: FakeCity, mail_server) -> None:
    base, _ = door
    authority, _, _ = jpki
    card, issued = make_card(authority, tmp_path / "card.json", now=now())
    employer = Employer(base, city, mail="jinji@shoji.example")

    with Phone(tmp_path / "phone", base, city.trust) as phone:
        phone.sign_up(card, PASSWORDS, "hanako@mail.example")
        assert phone.is_registered
        phone.confirm_mail("123456", timeout=20)
        request = phone.request_certificate(2026, "住居手当の確認のため", card, PASSWORDS.authentication)
        stages = list(phone.wait(request, timeout=30))
        assert stages == ["accepted", "figures", "page", "sealed", "logged", "ready"]
        phone.fetch_package(request)
        bundle = phone.open(request)
        assert bundle == next(iter(city.bundles.values()))

        scanned = phone.scan(employer.qr)
        assert scanned.confirmed_name == "模擬商事株式会社"
        first = phone.submit_upload(bundle, scanned)
        assert phone.submit_upload(bundle, scanned).receipt == first.receipt
        entries = employer.inbox()
        assert [(e.receipt, e.fetched) for e in entries] == [(first.receipt, False)]

        presentation = parse_bundle(employer.open(employer.fetch(first.receipt)))
        assert presentation.page == parse_bundle(bundle).page
        assert presentation.key_binding is not None
        binding = parse_key_binding(presentation.key_binding)
        binding.jws.verify(next(iter(city.accounts.values())).signing_key)
        assert binding.nonce == request_nonce(employer.descriptor)
        assert binding.audience.endswith(thumbprint(employer.encryption.public_key()))
        with pytest.raises(PhoneError) as fetched:
            phone.withdraw(first.receipt)
        assert fetched.value.code == "already-fetched"

        phone.submit_mail(bundle, scanned)
        [mail] = read_mails(mail_server[1])
        assert mail["To"] == "jinji@shoji.example"
        attachment = [part for part in mail.walk() if part.get_filename()]
        assert parse_bundle(employer.open(attachment[0].get_payload(decode=True))).page is not None
        assert phone.distrusted == ()

        # A move revokes the signature certificate only: requests go on, a new registration does not.
        authority.revoke(issued.card, "move", now=now())
        again = phone.request_certificate(2025, "", card, PASSWORDS.authentication)
        assert list(phone.wait(again, timeout=30))[-1] == "ready"
        with Phone(tmp_path / "phone2", base, city.trust) as other:
            with pytest.raises(CityRefused) as refused:
                other.sign_up(card, PASSWORDS)
            assert refused.value.code == "card-certificate-revoked"

    log = (tmp_path / "door.log").read_text()
    assert '"route": "/v1/accounts/<account>/envelopes"' in log
    for canary in (
        "hanako",
        "jinji",
        "花子",
        phone.account or "?",
        employer.request_id,
        first.receipt or "?",
    ):
        assert canary not in log
