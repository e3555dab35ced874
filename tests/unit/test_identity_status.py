"""OCSP first, the list as the fallback, and an answer that is stale, foreign or damaged says nothing at
all.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from app.counterparts.jpki import profiles
from app.counterparts.jpki.authority import MockJpki
from app.identity.card_certificate import CardCertificate, CardKind, check_certificate, load_card_trust
from app.identity.refusals import CertificateRevoked, StatusUnverifiable
from app.identity.status import CardStatusClient, StatusAddresses, jpki_status_client
from tests.support.door_house import HANAKO, NOW, make_jpki, rsa_keys

DER = serialization.Encoding.DER


class Wire:
    """The authority behind a wire that can be cut or bent."""

    def __init__(self, directory: Path) -> None:
        self.jpki: MockJpki = make_jpki(directory)
        self.card = self.jpki.issue(HANAKO, now=NOW)
        trust = load_card_trust(self.jpki.anchors, profile="demo")
        der = self.card.authentication.certificate.public_bytes(DER)
        self.certificate: CardCertificate = check_certificate(der, CardKind.AUTHENTICATION, trust, now=NOW)
        self.ocsp: Callable[[bytes], bytes] = lambda body: self.jpki.answer_ocsp(
            "authentication", body, now=NOW
        )
        self.crl: Callable[[], bytes] = lambda: self.jpki.build_crl("authentication", now=NOW)
        self.asked: list[str] = []

    def fetch(self, url: str, body: bytes | None, limit: int) -> bytes:
        self.asked.append(url)
        answer = self.ocsp(body) if body is not None else self.crl()
        if len(answer) > limit:
            raise OSError("too large")
        return answer

    def ask(self, now: Any = NOW) -> Any:
        addresses = {kind: StatusAddresses(f"{kind}/ocsp", f"{kind}/crl") for kind in CardKind}
        return CardStatusClient(addresses, fetch=self.fetch).ask(self.certificate, now=now)


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    return Wire(tmp_path)


def down(*_arguments: Any) -> bytes:
    raise ConnectionRefusedError


def test_good_by_ocsp(wire: Wire) -> None:
    record = wire.ask()
    assert (record.method, record.at, record.serial) == ("ocsp", NOW, wire.certificate.serial)
    assert wire.asked == ["authentication/ocsp"]


def test_good_by_the_list_when_ocsp_is_down(wire: Wire) -> None:
    wire.ocsp = down
    assert wire.ask().method == "crl"
    assert wire.asked == ["authentication/ocsp", "authentication/crl"]


def test_both_down_is_never_valid(wire: Wire) -> None:
    wire.ocsp = wire.crl = down
    with pytest.raises(StatusUnverifiable):
        wire.ask()


@pytest.mark.parametrize("way", ["ocsp", "crl"])
def test_revoked_by_either(wire: Wire, way: str) -> None:
    wire.jpki.revoke(wire.card.card, "loss", now=NOW)
    if way == "crl":
        wire.ocsp = down
    with pytest.raises(CertificateRevoked):
        wire.ask()


def test_unknown_is_not_overruled_by_the_list(wire: Wire, tmp_path: Path) -> None:
    (tmp_path / "issued.json").unlink()
    with pytest.raises(StatusUnverifiable) as unverifiable:
        wire.ask()
    assert unverifiable.value.why == "ocsp-unknown"
    assert wire.asked == ["authentication/ocsp"]


def build_answer(wire: Wire, request: bytes, **changes: Any) -> bytes:
    """An OCSP answer that is wrong in one point."""
    question = ocsp.load_der_ocsp_request(request)
    jpki, kind = wire.jpki, "authentication"
    nonce = next(e.value for e in question.extensions if isinstance(e.value, x509.OCSPNonce))
    responder = changes.get("responder", jpki._responder(kind, NOW))
    begin = changes.get("begin", NOW)
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response_by_hash(
            issuer_name_hash=question.issuer_name_hash,
            issuer_key_hash=changes.get("key_hash", question.issuer_key_hash),
            serial_number=changes.get("serial", question.serial_number),
            algorithm=hashes.SHA1(),
            cert_status=ocsp.OCSPCertStatus.GOOD,
            this_update=begin,
            next_update=changes.get("end", begin + timedelta(minutes=15)),
            revocation_time=None,
            revocation_reason=None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, responder)
    )
    if changes.get("certificates", True):
        builder = builder.certificates([responder])
    if changes.get("nonce", b"") is not None:
        builder = builder.add_extension(changes.get("nonce", nonce) or nonce, critical=False)
    key = changes.get("key", jpki._responder_keys[kind])
    return builder.sign(key, hashes.SHA256()).public_bytes(DER)


def stranger(wire: Wire, **options: Any) -> dict[str, Any]:
    """A responder that is not one: another issuer, or no OCSP usage, or expired."""
    key = rsa_keys()[6]
    authority = wire.jpki.certificates["authentication"]
    authority_key = options.get("authority_key", wire.jpki._authority_keys["authentication"])
    begin = options.get("begin", NOW - timedelta(minutes=5))
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(9)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=1))
    )
    if options.get("usage", True):
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False
        )
    return {"responder": builder.sign(authority_key, hashes.SHA256()), "key": key}


@pytest.mark.parametrize(
    "how",
    [
        "no nonce",
        "other nonce",
        "other serial",
        "other issuer",
        "stale",
        "from the future",
        "over",
        "other key",
        "foreign responder",
        "no ocsp usage",
        "expired responder",
        "card as responder",
        "rubbish",
        "failure",
        "empty",
    ],
)
def test_an_answer_that_says_nothing(wire: Wire, how: str) -> None:
    card = wire.card.authentication
    changes: dict[str, Callable[[], dict[str, Any]]] = {
        "no nonce": lambda: {"nonce": None},
        "other nonce": lambda: {"nonce": x509.OCSPNonce(bytes(16))},
        "other serial": lambda: {"serial": 5},
        "other issuer": lambda: {"key_hash": bytes(20)},
        "stale": lambda: {"begin": NOW - timedelta(hours=2), "end": NOW + timedelta(hours=1)},
        "from the future": lambda: {"begin": NOW + timedelta(hours=1)},
        "over": lambda: {"begin": NOW - timedelta(minutes=30)},
        "other key": lambda: {"certificates": False},
        "foreign responder": lambda: stranger(wire, authority_key=rsa_keys()[7]),
        "no ocsp usage": lambda: stranger(wire, usage=False),
        "expired responder": lambda: stranger(wire, begin=NOW - timedelta(days=3)),
        "card as responder": lambda: {"responder": card.certificate, "key": card.key},
    }
    fixed = {
        "rubbish": b"rubbish",
        "empty": b"",
        "failure": ocsp.OCSPResponseBuilder.build_unsuccessful(
            ocsp.OCSPResponseStatus.TRY_LATER
        ).public_bytes(DER),
    }
    wire.ocsp = lambda body: fixed[how] if how in fixed else build_answer(wire, body, **changes[how]())
    # The list still speaks; without it there is no word at all.
    assert wire.ask().method == "crl"
    wire.crl = down
    with pytest.raises(StatusUnverifiable):
        wire.ask()


def test_a_good_stranger_would_be_accepted(wire: Wire) -> None:
    wire.ocsp = lambda body: build_answer(wire, body, **stranger(wire))
    assert wire.ask().method == "ocsp"


def test_a_replayed_answer_says_nothing(wire: Wire) -> None:
    kept: list[bytes] = []
    real = wire.ocsp

    def replay(body: bytes) -> bytes:
        kept.append(real(body))
        return kept[0]

    wire.ocsp = replay
    assert wire.ask().method == "ocsp"
    wire.jpki.revoke(wire.card.card, "loss", now=NOW)
    with pytest.raises(CertificateRevoked):
        wire.ask()
    assert wire.asked[-1] == "authentication/crl"


def build_crl(wire: Wire, **changes: Any) -> bytes:
    begin = changes.get("begin", NOW)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(changes.get("issuer", wire.jpki.certificates["authentication"].subject))
        .last_update(begin)
        .next_update(changes.get("end", begin + timedelta(hours=24)))
    )
    if changes.get("critical"):
        builder = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True)
    key = changes.get("key", wire.jpki._authority_keys["authentication"])
    return builder.sign(key, hashes.SHA256()).public_bytes(DER)


@pytest.mark.parametrize(
    "how", ["over", "old", "from the future", "other key", "other issuer", "delta", "rubbish", "cut"]
)
def test_a_list_that_says_nothing(wire: Wire, how: str) -> None:
    wire.ocsp = down
    changes: dict[str, dict[str, Any]] = {
        "over": {"begin": NOW - timedelta(hours=25)},
        "old": {"begin": NOW - timedelta(hours=49), "end": NOW + timedelta(hours=1)},
        "from the future": {"begin": NOW + timedelta(hours=1)},
        "other key": {"key": rsa_keys()[7]},
        "other issuer": {"issuer": profiles.authority_name("signature")},
        "delta": {"critical": True},
    }
    raw = build_crl(wire, **changes.get(how, {}))
    wire.crl = lambda: {"rubbish": b"rubbish", "cut": raw[:-3]}.get(how, raw)
    with pytest.raises(StatusUnverifiable):
        wire.ask()
    wire.crl = lambda: build_crl(wire)
    assert wire.ask().method == "crl"


def test_a_list_of_the_other_authority_says_nothing(wire: Wire) -> None:
    wire.ocsp = down
    wire.crl = lambda: wire.jpki.build_crl("signature", now=NOW)
    with pytest.raises(StatusUnverifiable):
        wire.ask()


def test_nobody_listens() -> None:
    from app.identity.status import fetch_over_http

    for url in ("http://127.0.0.1:1/crl", "nonsense", "http://127.0.0.1:1/\n"):
        with pytest.raises(OSError):
            fetch_over_http(url, None, 10)
    assert (
        jpki_status_client("http://127.0.0.1:1/")
        ._addresses[CardKind.SIGNATURE]
        .crl.endswith(":1/signature/crl")
    )
