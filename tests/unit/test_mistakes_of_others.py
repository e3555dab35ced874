"""Mistakes that peers made in public: docs/reference/mistakes-of-others.md names the test for each, and some are here."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.sealing.city_key import SoftwareKey
from app.sealing.credential import finish_credential, prepare_credential
from app.sealing.key_files import read_private_key
from mobile_api.key_proof import verify_key_proofs
from tests.support.presentation_desk import Desk
from tests.support.sealing_world import SAMPLE, world
from tests.unit.test_key_proof import AUDIENCE, NOW, proof
from tests.unit.test_sealing_credential import frame
from verifier.errors import AkashiVerifierError, FormatError
from verifier.formats.credential import parse_credential, peek_claims
from verifier.formats.encoding import base64url_decode
from verifier.formats.jose import format_jwk, parse_jwk
from verifier.formats.presentation_request import parse_presentation_request
from verifier.policy import OFFLINE
from verifier.sources import OfflineSources
from verifier.verify import examine

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "mistakes-of-others.md"


def missing(page: str) -> list[str]:
    """Tests that a page names and that do not exist; a row without any."""
    faults = []
    for row in re.findall(r"^\| (?!mistake|-)(.+)\|$", page, re.M):
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", row)
        if not named:
            faults.append(row[:40])
        for file, function in named:
            text = (ROOT / file).read_text("utf-8") if (ROOT / file).exists() else ""
            if not text or (function and not re.search(rf"def {function}\b", text)):
                faults.append(f"{file}::{function}")
    return faults


def test_every_mistake_has_a_test_that_exists() -> None:
    page = PAGE.read_text("utf-8")
    assert len(re.findall(r"^\| ", page, re.M)) > 20
    assert missing(page) == []
    # the control: a test that is not there, and a row without one
    assert missing("| a | b | `tests/unit/test_nothing.py::test_x` |") == [
        "tests/unit/test_nothing.py::test_x"
    ]
    assert missing("| a | b | nowhere |") != []


def short_key() -> ec.EllipticCurvePrivateKey:
    """A key whose x or y begins with a zero byte: one in 128 does."""
    while True:
        key = ec.generate_private_key(ec.SECP256R1())
        numbers = key.public_key().public_numbers()
        if min(numbers.x, numbers.y) < 1 << 248:
            return key


def test_leading_zeros_of_a_holders_key_are_kept() -> None:
    key = short_key()
    jwk = format_jwk(key.public_key())
    assert {len(base64url_decode(jwk[name])) for name in ("x", "y")} == {32}
    found = verify_key_proofs([proof(key)], audience=AUDIENCE, now=NOW, anonymous=True)
    prepared = prepare_credential(SAMPLE, frame(holder_jwk=format_jwk(found.keys[0])))
    credential = finish_credential(prepared, bytes(64)).encode()
    assert format_jwk(peek_claims(parse_credential(credential)).holder_key) == jwk
    # the control: a coordinate without its zero is no key
    dropped = {**jwk, **{name: jwk[name].removeprefix("AA") for name in ("x", "y")}}
    if dropped != jwk:
        with pytest.raises(FormatError):
            parse_jwk(dropped)


def test_issuing_leaves_the_machines_random_numbers_alone() -> None:
    before = random.getstate()
    one, two = (prepare_credential(SAMPLE, frame()) for _ in range(2))
    assert random.getstate() == before
    assert not set(one.disclosures) & set(two.disclosures)


def test_keys_and_certificates_are_read_once_for_many_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    key = SoftwareKey(read_private_key(world().pki.directory / "signer" / "credential-1.key.pem"))
    finish_credential(prepared := prepare_credential(SAMPLE, frame()), key.sign_digest(prepared.digest))
    read: list[str] = []

    def counted(name: str, real: Any) -> Any:
        def count(*arguments: Any, **options: Any) -> Any:
            read.append(name)
            return real(*arguments, **options)

        return count

    for module, name in (
        (x509, "load_der_x509_certificate"),
        (serialization, "load_pem_private_key"),
        (serialization, "load_der_private_key"),
    ):
        monkeypatch.setattr(module, name, counted(name, getattr(module, name)))
    for _ in range(5):
        finish_credential(made := prepare_credential(SAMPLE, frame()), key.sign_digest(made.digest))
    assert read == []
    # the control: reading is noticed
    x509.load_der_x509_certificate(world().pki.der("credential-1"))
    assert read == ["load_der_x509_certificate"]


def test_two_requests_to_a_wallet_share_no_nonce_state_or_key() -> None:
    one, two = (parse_presentation_request(Desk().request) for _ in range(2))
    assert not {one.nonce, one.state} & {two.nonce, two.state}
    assert one.encryption_key.public_numbers() != two.encryption_key.public_numbers()
    assert min(len(base64url_decode(one.nonce)), len(base64url_decode(one.state))) >= 16


def test_a_credential_never_brings_its_own_trust() -> None:
    """Its x5c is a path to check, not a key to believe: without a trust list nothing is examined at all."""
    prepared = prepare_credential(SAMPLE, frame())
    key = SoftwareKey(read_private_key(world().pki.directory / "signer" / "credential-1.key.pem"))
    credential = finish_credential(prepared, key.sign_digest(prepared.digest)).encode()
    with pytest.raises(AkashiVerifierError) as error:
        examine(
            credential,
            trust=[],
            policy=OFFLINE,
            now=datetime.now(UTC) + timedelta(0),
            sources=OfflineSources(),
        )
    assert error.value.code == "no-trust"
