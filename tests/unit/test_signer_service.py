"""The signer's rules, batch by batch, with real keys and a real store, without the socket."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.registers.authorisation import build_authorisation
from app.sealing.key_files import read_private_key
from app.sealing.signer_audit import verify_audit
from tests.support.sealing_world import ORIGIN
from tests.support.signer_desk import checkpoint_note, note_item, open_desk
from verifier.formats.chain_anchor import AnchorReceipt, format_receipt_text
from verifier.formats.encoding import base64_decode, base64url_decode
from verifier.formats.jose import format_jwk, parse_jwk, verify_es256

MESSAGE = b"what is signed"
DIGEST = hashlib.sha256(MESSAGE).digest()
ROOT = bytes(range(32))


@pytest.fixture
def desk(tmp_path):
    return open_desk(tmp_path)


def ask(desk, *items, **request):
    return desk.service().handle(desk.request(*items, **request))["items"]


def code(desk, *items, **request):
    (answer,) = ask(desk, *items, **request)
    assert answer["ok"] is False
    assert "signature" not in answer
    return answer["code"]


@pytest.mark.parametrize("purpose", ["page_seal", "credential", "status_list", "statement"])
def test_an_authorised_digest_is_signed(desk, purpose):
    service = desk.service()
    item = desk.sign_item(DIGEST, purpose)
    (answer,) = service.handle(desk.request(item))["items"]
    (public,) = service.handle(desk.request({"op": "public", "key_id": item["key_id"]}))["items"]
    assert public["purpose"] == purpose
    verify_es256(parse_jwk(public["jwk"]), base64_decode(answer["signature"]), MESSAGE)


def test_an_authorisation_works_once(desk):
    item = desk.sign_item(DIGEST)
    service = desk.service()
    assert service.handle(desk.request(item))["items"][0]["ok"] is True
    assert service.handle(desk.request(item))["items"][0]["code"] == "authorisation-used"
    assert code(desk, item) == "authorisation-used"  # a restarted signer remembers


def test_an_authorisation_works_once_within_a_batch(desk):
    item = desk.sign_item(DIGEST)
    answers = ask(desk, item, item)
    assert [answer["ok"] for answer in answers] == [True, False]


def test_an_authorisation_works_once_among_threads(desk):
    service = desk.service()
    item = desk.sign_item(DIGEST)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: service.handle(desk.request(item))["items"][0], range(16)))
    assert sum(answer["ok"] for answer in answers) == 1


def test_what_is_not_authorised_is_not_signed(desk):
    other = hashlib.sha256(b"other").digest()
    forged = build_authorisation(
        Ed25519PrivateKey.generate(),
        purpose="page_seal",
        digest=DIGEST,
        request_id="request-1",
        serial="serial-1",
        now=desk.now,
        random=bytes(16),
    ).as_json()
    later = desk.authorisation(DIGEST, lifetime=601)
    changed = {**desk.authorisation(DIGEST), "exp": int(desk.now.timestamp()) + 500}
    for expected, change in (
        ("authorisation-mismatch", {"digest": other.hex()}),
        ("authorisation-mismatch", {"serial": "serial-2"}),
        ("authorisation-mismatch", {"request_id": "request-2"}),
        ("authorisation-mismatch", {"purpose": "credential", "key_id": "credential-1"}),
        ("bad-purpose", {"key_id": "credential-1"}),
        ("bad-purpose", {"purpose": "checkpoint", "key_id": "checkpoint-1"}),
        ("bad-purpose", {"purpose": "envelope", "key_id": "envelope-1"}),
        ("bad-purpose", {"purpose": ["page_seal"]}),
        ("authorisation-forged", {"authorisation": forged}),
        ("authorisation-forged", {"authorisation": changed}),
        ("authorisation-too-long", {"authorisation": later}),
        ("bad-authorisation", {"authorisation": None}),
        ("bad-authorisation", {"authorisation": {}}),
        ("bad-authorisation", {"authorisation": {**forged, "jti": "x"}}),
        ("bad-item", {"digest": DIGEST.hex().upper()}),
        ("bad-item", {"digest": 7}),
        ("bad-item", {"serial": "佐藤 花子"}),
        ("bad-item", {"extra": 1}),
        ("no-such-key", {"key_id": "page-seal-9"}),
        ("bad-item", {"key_id": "../page-seal-1"}),
        ("bad-item", {"op": "export"}),
    ):
        assert code(desk, desk.sign_item(DIGEST, **change)) == expected, change


def test_an_authorisation_expires(desk):
    item = desk.sign_item(DIGEST)
    desk.now += timedelta(seconds=121)
    assert code(desk, item) == "authorisation-expired"


def test_a_refused_item_does_not_use_its_authorisation_up(desk):
    item = desk.sign_item(DIGEST)
    assert code(desk, {**item, "key_id": "credential-1"}) == "bad-purpose"
    assert ask(desk, item)[0]["ok"] is True


def test_who_asks_must_show_the_channels_token(desk):
    item = desk.sign_item(DIGEST)
    for request in (
        {"token": "wrong"},
        {"token": None},
        {"token": desk.settings.tokens["log"]},
        {"channel": "staff"},
        {"channel": ["worker"]},
    ):
        assert code(desk, item, **request) == "unauthenticated"
    assert code(desk, item, v=2) == "bad-request"
    assert code(desk, item, extra=1) == "bad-request"
    assert desk.service().handle({})["items"][0]["code"] == "bad-request"


def test_each_channel_asks_only_for_its_own(desk):
    item = desk.sign_item(DIGEST)
    peer = format_jwk(ec.generate_private_key(ec.SECP256R1()).public_key())
    agree = {"op": "agree", "key_id": "envelope-1", "epk": peer}
    assert code(desk, item, channel="log") == "wrong-channel"
    assert code(desk, agree, channel="log") == "wrong-channel"
    assert code(desk, note_item(checkpoint_note(1))) == "wrong-channel"


def test_batches_are_bounded_and_answered_in_order(desk):
    digests = [hashlib.sha256(bytes([number])).digest() for number in range(5)]
    items = [desk.sign_item(digest) for digest in digests]
    items[2]["key_id"] = "credential-1"
    answers = ask(desk, *items)
    assert [answer["ok"] for answer in answers] == [True, True, False, True, True]
    assert {a["code"] for a in ask(desk, *[{"op": "public", "key_id": "page-seal-1"}] * 257)} == {
        "bad-request"
    }
    assert len(ask(desk, *[{"op": "public", "key_id": "page-seal-1"}] * 256)) == 256
    assert desk.service().handle(desk.request())["items"][0]["code"] == "bad-request"


def test_only_the_envelope_key_agrees(desk):
    mine = ec.generate_private_key(ec.SECP256R1())
    agree = {"op": "agree", "key_id": "envelope-1", "epk": format_jwk(mine.public_key())}
    answer, public = ask(desk, agree, {"op": "public", "key_id": "envelope-1"})
    assert base64_decode(answer["z"]) == mine.exchange(ec.ECDH(), parse_jwk(public["jwk"]))
    assert code(desk, {**agree, "key_id": "page-seal-1"}) == "bad-purpose"
    assert code(desk, {**agree, "epk": {**agree["epk"], "x": agree["epk"]["y"]}}) == "bad-item"
    assert code(desk, {**agree, "epk": "?"}) == "bad-item"


def test_checkpoints_only_grow(desk):
    def sign(size, root=ROOT):
        return ask(desk, note_item(checkpoint_note(size, root)), channel="log")[0]

    first = sign(10)
    key = ask(desk, {"op": "public", "key_id": "checkpoint-1"}, channel="log")[0]["jwk"]
    public = Ed25519PublicKey.from_public_bytes(base64url_decode(key["x"]))
    public.verify(base64_decode(first["signature"]), checkpoint_note(10, ROOT).encode())
    assert sign(10)["signature"] == first["signature"]
    assert sign(11)["ok"] is True
    assert sign(10)["code"] == "not-monotone"
    assert sign(11, bytes(32))["code"] == "not-monotone"
    assert sign(12, bytes(32))["ok"] is True


def test_only_one_of_two_roots_for_one_size_is_signed(desk):
    service = desk.service()
    roots = [bytes([number]) * 32 for number in range(8)]

    def sign(root):
        request = desk.request(note_item(checkpoint_note(5, root)), channel="log")
        return service.handle(request)["items"][0]["ok"]

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(sign, roots)) == 1


@pytest.mark.parametrize(
    ("note", "expected"),
    [
        (checkpoint_note(1, origin="elsewhere.example/992011/log/1"), "wrong-origin"),
        (checkpoint_note(1) + "extension\n", "bad-note"),
        (checkpoint_note(1).rstrip("\n"), "bad-note"),
        ("any text\n", "bad-note"),
        ("", "bad-note"),
        ("akashi/anchor-receipt/v1\n", "bad-note"),
        ("x" * 5000, "bad-note"),
        (7, "bad-note"),
    ],
)
def test_the_logs_key_signs_nothing_else(desk, note, expected):
    assert code(desk, note_item(note), channel="log") == expected


def test_a_receipt_is_signed_only_for_a_signed_checkpoint(desk):
    def receipt(size, root):
        text = format_receipt_text(
            AnchorReceipt(31337, bytes(20), ORIGIN, size, root, 5, bytes(32), bytes(32), 0)
        )
        return ask(desk, note_item(text), channel="log")[0]

    ask(desk, note_item(checkpoint_note(3, ROOT)), channel="log")
    ask(desk, note_item(checkpoint_note(9, ROOT)), channel="log")
    assert receipt(3, ROOT)["ok"] is True
    assert receipt(3, bytes(32))["code"] == "unknown-checkpoint"
    assert receipt(4, ROOT)["code"] == "unknown-checkpoint"
    # A receipt moves no floor.
    assert ask(desk, note_item(checkpoint_note(9, ROOT)), channel="log")[0]["ok"] is True


def test_public_keys_come_with_their_certificates(desk):
    answer = ask(desk, {"op": "public", "key_id": "page-seal-1"})[0]
    chain = [desk.pki.der("page-seal-1"), desk.pki.der("issuing")]
    assert [base64_decode(text) for text in answer["certificates"]] == chain
    assert "d" not in answer["jwk"]


def test_every_wish_is_in_the_audit_before_its_answer_and_nothing_personal(desk):
    item = desk.sign_item(DIGEST)
    ask(desk, item, {**item, "serial": "佐藤 花子"}, {"op": "public", "key_id": "page-seal-1"})
    ask(desk, note_item(checkpoint_note(7, ROOT)), channel="log")
    ask(desk, item, token="wrong-token-of-somebody")
    text = desk.settings.audit.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["granted"] for line in lines] == [True, False, True]
    assert lines[0] | {"op": "sign", "digest": DIGEST.hex(), "serial": "serial-1"} == lines[0]
    assert (lines[1]["code"], lines[2]["size"]) == ("bad-item", 7)
    assert verify_audit(desk.settings.audit) == 3
    secrets = [desk.settings.tokens["worker"], "佐藤", item["authorisation"]["signature"], "wrong-token"]
    assert not any(secret in text for secret in secrets)


def test_without_an_audit_nothing_is_signed(desk, monkeypatch):
    service = desk.service()

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(service._audit, "append", full)
    (answer,) = service.handle(desk.request(desk.sign_item(DIGEST)))["items"]
    assert answer == {"ok": False, "code": "signer-unavailable", "detail": "try again later"}


def test_without_its_store_nothing_is_signed(desk):
    service = desk.service()
    with service._engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE used_authorisations")
    (answer,) = service.handle(desk.request(desk.sign_item(DIGEST)))["items"]
    assert answer["code"] == "signer-unavailable"


def test_a_key_that_fails_fails_alone(desk, monkeypatch):
    from app.errors import UnavailableError

    class Away:
        def sign_digest(self, digest):
            raise UnavailableError("hsm-unavailable", "DeviceRemoved")

    service = desk.service()
    configured = service._keys["page-seal-1"]
    replaced = type(configured)(configured.key_id, configured.purpose, Away(), configured.certificates)
    service._keys["page-seal-1"] = replaced
    first, second = service.handle(
        desk.request(desk.sign_item(DIGEST), desk.sign_item(DIGEST, "credential"))
    )["items"]
    assert (first["code"], second["ok"]) == ("hsm-unavailable", True)


def test_hostile_requests_never_raise(desk):
    service = desk.service()
    for items in (
        None,
        7,
        [None],
        [[]],
        [{"op": []}],
        [{"op": "sign"}],
        [{"op": "agree", "key_id": [], "epk": 1}],
    ):
        answers = service.handle(desk.request() | {"items": items})["items"]
        assert [answer["ok"] for answer in answers] == [False]
        assert answers[0]["code"] != "internal"


def test_the_signers_software_signature_is_deterministic(desk):
    first = ask(desk, desk.sign_item(DIGEST))[0]["signature"]
    assert ask(desk, desk.sign_item(DIGEST))[0]["signature"] == first
    assert read_private_key(desk.pki.directory / "signer" / "page-seal-1.key.pem")
