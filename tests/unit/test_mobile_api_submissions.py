"""Submission requests at the street door: who may upload, list, fetch, withdraw; and mail, which nobody can
abuse.
"""

from __future__ import annotations

import os
import smtplib
import threading
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from mobile_api.forms import BASE32
from mobile_api.mail_relay import check_address, mail_hash
from mobile_api.proofs import PROOF_HEADER, build_proof
from tests.support.door_house import House, make_house
from verifier.formats.encoding import (
    base64_encode,
    base64url_decode,
    base64url_encode,
    canonical_json,
    sha256,
)
from verifier.formats.jose import es256_signer, format_jwk, thumbprint
from verifier.formats.names import ENVELOPE_TYPE, PRESENTATION_TYPE
from verifier.formats.package import pack


class Desk:
    """An employer's calls, with knobs."""

    def __init__(self, house: House, *, mail: str | None = None, life: timedelta = timedelta(days=7)) -> None:
        self.house = house
        self.client = house.app.test_client()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.token = os.urandom(32)
        self.secret = os.urandom(32)
        form: dict[str, Any] = {
            "ciphertext": base64_encode(os.urandom(500)),
            "desk_jwk": format_jwk(self.key.public_key()),
            "expires": (house.clock() + life).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "upload_token_hash": base64url_encode(sha256(self.token)),
        }
        if mail is not None:
            form["mail_hash"] = mail_hash(self.token, mail)
        self.form = form
        self.request_id = ""

    def create(self) -> Desk:
        answer = self.call("POST", "/v1/requests", canonical_json(self.form))
        assert answer.status_code == 201, answer.data
        self.request_id = answer.json["id"]
        return self

    def call(self, method: str, path: str, body: bytes = b"", key: ec.EllipticCurvePrivateKey | None = None):
        signer = key or self.key
        proof = build_proof(
            thumbprint(signer.public_key()),
            es256_signer(signer),
            method=method,
            path=path,
            body=body,
            now=self.house.clock(),
            random=os.urandom,
        )
        return self.client.open(path, method=method, data=body or None, headers={PROOF_HEADER: proof})

    @property
    def path(self) -> str:
        return f"/v1/requests/{self.request_id}/submissions"

    def package(self, text: bytes = b"certificate", typ: str | None = None) -> bytes:
        options = {"typ": typ} if typ else {}
        return pack(text, [self.key.public_key()], content_type=PRESENTATION_TYPE, **options)

    def upload(self, body: bytes, **headers: str):
        sent = {
            "Akashi-Upload": base64url_encode(self.token),
            "Akashi-Withdraw": base64url_encode(sha256(self.secret)),
            **headers,
        }
        return self.client.post(self.path, data=body, headers={k: v for k, v in sent.items() if v})

    def withdraw(self, receipt: str, secret: bytes | None = None):
        headers = {"Akashi-Withdraw-Secret": base64url_encode(self.secret if secret is None else secret)}
        return self.client.delete(f"{self.path}/{receipt}", headers=headers)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return make_house(tmp_path)


@pytest.fixture
def desk(house: House) -> Desk:
    return Desk(house, mail="jinji@shoji.example").create()


def test_a_request_is_stored_once_and_read_by_anybody(house: House, desk: Desk) -> None:
    again = desk.call("POST", "/v1/requests", canonical_json(desk.form))
    assert again.json["id"] == desk.request_id
    assert len(desk.request_id) == 10
    assert set(desk.request_id) <= set(BASE32)
    stored = house.app.test_client().get(f"/v1/requests/{desk.request_id}").data
    assert base64_encode(stored) == desk.form["ciphertext"]
    assert house.app.test_client().get("/v1/requests/aaaaaaaaaa").status_code == 404
    assert house.app.test_client().get("/v1/requests/AAAA").status_code == 404


def test_a_request_of_another_desk_is_not_taken_over(desk: Desk) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    form = {**desk.form, "desk_jwk": format_jwk(other.public_key())}
    answer = desk.call("POST", "/v1/requests", canonical_json(form), key=other)
    assert (answer.status_code, answer.json["code"]) == (409, "other-desk")


@pytest.mark.parametrize(
    "change",
    [
        {"expires": "2026-11-20T01:02:03Z"},
        {"expires": "2028-01-01T00:00:00Z"},
        {"expires": "soon"},
        {"expires": 5},
        {"ciphertext": ""},
        {"ciphertext": "!"},
        {"ciphertext": 5},
        {"ciphertext": base64_encode(bytes((32 << 10) + 1))},
        {"upload_token_hash": "x"},
        {"mail_hash": "jinji@shoji.example"},
        {"desk_jwk": {}},
        {"name": "会社"},
    ],
)
def test_damaged_requests_are_refused(house: House, change: dict[str, Any]) -> None:
    desk = Desk(house)
    desk.form.update(change)
    assert desk.call("POST", "/v1/requests", canonical_json(desk.form)).status_code in (400, 413)


def test_upload_list_fetch(desk: Desk) -> None:
    body = desk.package()
    first, second = desk.upload(body), desk.upload(body)
    assert (first.status_code, first.json) == (201, second.json)
    receipt = first.json["receipt"]
    listed = desk.call("GET", desk.path).json["submissions"]
    assert listed == [
        {"fetched": False, "received": "2026-11-20T01:02Z", "receipt": receipt, "size": len(body)}
    ]
    assert desk.call("GET", f"{desk.path}/{receipt}").data == body
    assert desk.call("GET", desk.path).json["submissions"][0]["fetched"] is True
    assert desk.call("GET", f"{desk.path}/{'x' * 22}").status_code == 404


def test_only_the_desk_lists_and_fetches(house: House, desk: Desk) -> None:
    receipt = desk.upload(desk.package()).json["receipt"]
    stranger = ec.generate_private_key(ec.SECP256R1())
    for path in (desk.path, f"{desk.path}/{receipt}"):
        assert desk.call("GET", path, key=stranger).status_code == 401
        assert house.app.test_client().get(path).status_code == 401
    other = Desk(house).create()
    assert other.call("GET", f"{other.path}/{receipt}").status_code == 404
    assert desk.withdraw(receipt).status_code == 204


@pytest.mark.parametrize("token", ["", "x", base64url_encode(bytes(32)), base64url_encode(bytes(31))])
def test_only_the_token_uploads(desk: Desk, token: str) -> None:
    answer = desk.upload(desk.package(), **{"Akashi-Upload": token})
    assert (answer.status_code, answer.json["code"]) == (403, "wrong-upload-token")


@pytest.mark.parametrize("bad", ["text", "envelope", "large"])
def test_only_packages_are_submissions(desk: Desk, bad: str) -> None:
    body = {
        "text": b"certificate",
        "envelope": desk.package(typ=ENVELOPE_TYPE),
        "large": desk.package(bytes(4 << 20)),
    }[bad]
    assert desk.upload(body).status_code in (400, 413)
    assert desk.call("GET", desk.path).json == {"submissions": []}


def test_withdraw_only_unfetched_and_only_with_the_secret(desk: Desk) -> None:
    receipt = desk.upload(desk.package()).json["receipt"]
    for wrong in (os.urandom(32), b"", bytes(31)):
        assert desk.withdraw(receipt, wrong).status_code == 404
    assert desk.withdraw(receipt).status_code == 204
    assert desk.withdraw(receipt).status_code == 404
    assert desk.call("GET", desk.path).json == {"submissions": []}
    fetched = desk.upload(desk.package(b"another")).json["receipt"]
    desk.call("GET", f"{desk.path}/{fetched}")
    answer = desk.withdraw(fetched)
    assert (answer.status_code, answer.json["code"]) == (409, "already-fetched")
    without = desk.upload(desk.package(b"third"), **{"Akashi-Withdraw": ""}).json["receipt"]
    assert desk.withdraw(without).status_code == 404


def test_withdrawing_and_fetching_at_once_has_one_winner(desk: Desk) -> None:
    for number in range(6):
        receipt = desk.upload(desk.package(b"%d" % number)).json["receipt"]
        results: dict[str, int] = {}
        start = threading.Barrier(2)

        def withdraw(
            receipt: str = receipt, results: dict = results, start: threading.Barrier = start
        ) -> None:
            start.wait()
            results["withdraw"] = desk.withdraw(receipt).status_code

        def fetch(receipt: str = receipt, results: dict = results, start: threading.Barrier = start) -> None:
            start.wait()
            results["fetch"] = desk.call("GET", f"{desk.path}/{receipt}").status_code

        threads = [threading.Thread(target=withdraw), threading.Thread(target=fetch)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (results["withdraw"], results["fetch"]) in ((204, 404), (409, 200))


def test_a_request_ends(house: House) -> None:
    desk = Desk(house, life=timedelta(minutes=5)).create()
    receipt = desk.upload(desk.package()).json["receipt"]
    house.clock.forward(minutes=6)
    for answer in (
        desk.client.get(f"/v1/requests/{desk.request_id}"),
        desk.upload(desk.package(b"late")),
        desk.call("GET", desk.path),
        desk.withdraw(receipt),
    ):
        assert answer.status_code == 404


def test_a_request_has_room_for_so_many(tmp_path: Path) -> None:
    desk = Desk(make_house(tmp_path, max_submissions=2)).create()
    statuses = [desk.upload(desk.package(b"%d" % n)).status_code for n in range(3)]
    assert statuses == [201, 201, 409]


def test_calls_are_limited_per_request(tmp_path: Path) -> None:
    house = make_house(tmp_path, rate_request=3)
    desk = Desk(house).create()
    statuses = [desk.client.get(f"/v1/requests/{desk.request_id}").status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]


def test_the_qr_address_is_a_page_without_script(house: House, desk: Desk) -> None:
    page = house.app.test_client().get(f"/r/{desk.request_id}")
    assert page.content_type.startswith("text/html")
    assert page.headers["Content-Security-Policy"] == "default-src 'none'"
    assert b"<script" not in page.data
    assert house.app.test_client().get("/r/<script>").status_code == 404


# Mail


def send(desk: Desk, to: Any = "jinji@shoji.example", body: bytes | None = None, token: bytes | None = None):
    line = canonical_json({"request": desk.request_id, "to": to})
    headers = {"Akashi-Upload": base64url_encode(token or desk.token)}
    data = line + b"\n" + (desk.package() if body is None else body)
    return desk.client.post("/v1/mail", data=data, headers=headers)


def test_mail_goes_out_at_once_and_nothing_stays(house: House, desk: Desk) -> None:
    package = desk.package()
    assert send(desk, body=package).status_code == 202
    [mail] = house.mails
    assert mail["To"] == "jinji@shoji.example"
    assert mail["From"] == "door@mihon.example"
    assert "模擬/MOCK" in mail["Subject"]
    [attachment] = mail.iter_attachments()
    assert attachment.get_content() == package
    assert attachment.get_filename() == f"{desk.request_id}.akashi"
    stored = b"".join(p.read_bytes() for p in (house.directory / "door").rglob("*") if p.is_file())
    assert b"jinji@shoji.example" not in stored
    assert package[20:80] not in stored


@pytest.mark.parametrize(
    "to",
    [
        "other@shoji.example",
        "jinji@shoji.example\r\nBcc: all@example.com",
        "jinji@shoji.example\nBcc: all@example.com",
        "jinji@shoji.example, all@example.com",
        "<jinji@shoji.example>",
        '"x\r\ny"@shoji.example',
        "人事@shoji.example",
        "jinji@shoji",
        "jinji",
        "a" * 65 + "@shoji.example",
        "",
        5,
        None,
    ],
)
def test_mail_goes_only_to_the_address_of_the_request(house: House, desk: Desk, to: Any) -> None:
    assert send(desk, to=to).status_code in (400, 403)
    assert house.mails == []


def test_mail_needs_the_token_a_package_and_a_mail_address(house: House, desk: Desk) -> None:
    assert send(desk, token=os.urandom(32)).status_code == 403
    assert send(desk, body=b"hello").status_code == 400
    assert send(desk, body=b"").status_code == 400
    without = Desk(house).create()
    assert send(without).status_code == 403
    assert desk.client.post("/v1/mail", data=b"x" * 2000).status_code == 400
    assert house.mails == []


def test_mail_is_limited_per_request(tmp_path: Path) -> None:
    desk = Desk(make_house(tmp_path, rate_mail=2), mail="jinji@shoji.example").create()
    assert [send(desk).status_code for _ in range(3)] == [202, 202, 429]


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(), smtplib.SMTPServerDisconnected(), TimeoutError()]
)
def test_a_mail_server_that_is_away_is_503(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from mobile_api.door import EXTENSION

    def away(_message: EmailMessage) -> None:
        raise error

    house = make_house(tmp_path)
    desk = Desk(house, mail="jinji@shoji.example").create()
    house.app.extensions[EXTENSION] = dataclasses.replace(house.app.extensions[EXTENSION], deliver=away)
    answer = send(desk)
    assert (answer.status_code, answer.json["code"]) == (503, "mail-away")
    assert "Retry-After" in answer.headers


def test_the_real_deliverer_speaks_smtp_only_when_configured(tmp_path: Path) -> None:
    from mobile_api.mail_relay import smtp_deliverer

    house = make_house(tmp_path)
    assert smtp_deliverer(house.settings) is None


def test_addresses() -> None:
    assert check_address("a.b+c@x-y.example.jp") == "a.b+c@x-y.example.jp"
    token = base64url_decode(base64url_encode(bytes(32)))
    assert mail_hash(token, "a@b.example") != mail_hash(os.urandom(32), "a@b.example")
