"""The city's check of a card's evidence: the honest case, and each adjacent lie refused with its own
reason.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509.oid import NameOID, ObjectIdentifier

from app.counterparts.jpki import profiles
from app.counterparts.jpki.authority import IssuedCard, MockJpki
from app.errors import Refusal, SettingsError
from app.identity.card_certificate import CardKind, check_certificate, load_card_trust
from app.identity.card_evidence import CardChecker, OfflineCardChecker, check_card_evidence
from app.identity.refusals import (
    BadCardSignature,
    CardRefused,
    CertificateExpired,
    CertificateRevoked,
    CertificateUnreadable,
    StatementRefused,
    StatusUnverifiable,
    WrongAuthority,
    WrongProfile,
)
from app.identity.statement import CardStatement, ExpectedStatement, check_statement, format_statement
from mobile_api.messages import NO_REQUEST
from tests.support.door_house import CITY, HANAKO, NOW, DirectStatus, make_jpki, rsa_keys

SIGNING, ENCRYPTION = "S" * 42 + "A", "E" * 42 + "A"
STATEMENT = CardStatement(CITY, "register", SIGNING, ENCRYPTION, NO_REQUEST, "n" * 32, NOW)
EXPECTED = ExpectedStatement(CITY, "register", NO_REQUEST, SIGNING, ENCRYPTION)


class World:
    """A JPKI, one card, and how to check."""

    def __init__(self, directory: Path) -> None:
        self.jpki: MockJpki = make_jpki(directory)
        self.card: IssuedCard = self.jpki.issue(HANAKO, now=NOW)
        self.trust = load_card_trust(self.jpki.anchors, profile="demo")
        self.status = DirectStatus(self.jpki)

    def entry(self, kind: CardKind) -> Any:
        return self.card.signature if kind is CardKind.SIGNATURE else self.card.authentication

    def check(self, by: CardKind = CardKind.SIGNATURE, **changes: Any) -> Any:
        entry = self.entry(by)
        text = changes.get("statement", format_statement(STATEMENT))
        signed = changes.get("signed", text)
        signature = entry.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        certificate = changes.get("certificate", entry.certificate)
        if isinstance(certificate, x509.Certificate):
            certificate = certificate.public_bytes(serialization.Encoding.DER)
        return check_card_evidence(
            text,
            certificate,
            changes.get("signature", signature),
            kind=changes.get("kind", by),
            expected=changes.get("expected", EXPECTED),
            trust=self.trust,
            status=changes.get("status", self.status),
            now=changes.get("now", NOW),
        )

    def make(self, kind: str = "signature", **changes: Any) -> x509.Certificate:
        """A certificate by this authority that differs in one point."""
        entry = self.entry(CardKind(kind))
        return profiles.build_card_certificate(
            kind,
            changes.get("public", entry.key.public_key()),
            changes.get("attributes", HANAKO),
            authority=changes.get("authority", self.jpki.certificates[kind]),
            authority_key=changes.get("authority_key", self.jpki._authority_keys[kind]),
            now=changes.get("now", NOW),
            not_after=changes.get("not_after"),
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("jpki"))


def test_honest_evidence(world: World) -> None:
    signed = world.check()
    assert signed.attributes == HANAKO
    assert signed.kind is CardKind.SIGNATURE
    assert len(signed.issuer) == 64
    assert signed.serial == f"{world.card.signature.certificate.serial_number:x}"  # type: ignore[union-attr]
    auth = world.check(CardKind.AUTHENTICATION)
    assert auth.attributes is None
    assert auth.issuer != signed.issuer
    assert auth.status is not None


def test_only_reference_time_method_and_serial_are_kept(world: World) -> None:
    record = world.check().status
    assert {f.name for f in dataclasses.fields(record)} == {"reference", "method", "at", "serial"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"city": "992012"}, "card-statement-city"),
        ({"purpose": "request"}, "card-statement-purpose"),
        ({"signing_key": ENCRYPTION}, "card-statement-device"),
        ({"encryption_key": SIGNING}, "card-statement-device"),
        ({"request_digest": "B" * 42 + "A"}, "card-statement-request"),
        ({"time": NOW - timedelta(hours=2)}, "card-statement-time"),
        ({"time": NOW + timedelta(hours=2)}, "card-statement-time"),
    ],
)
def test_a_statement_for_something_else(world: World, change: dict[str, Any], code: str) -> None:
    with pytest.raises(StatementRefused) as refused:
        world.check(statement=format_statement(dataclasses.replace(STATEMENT, **change)))
    assert refused.value.code == code
    assert refused.value.retry


def test_a_statement_that_is_none(world: World) -> None:
    for text in ("", "{}", format_statement(STATEMENT) + " "):
        with pytest.raises(StatementRefused, match="form"):
            world.check(statement=text)


def test_the_gate_does_not_know_device_keys() -> None:
    expected = dataclasses.replace(EXPECTED, signing_key=None, encryption_key=None)
    assert check_statement(format_statement(STATEMENT), expected, now=NOW) == STATEMENT


def test_a_signature_over_something_else(world: World) -> None:
    with pytest.raises(BadCardSignature):
        world.check(signed=format_statement(STATEMENT) + " ")
    for signature in (b"", bytes(256), bytes(255)):
        with pytest.raises(BadCardSignature):
            world.check(signature=signature)


def test_the_wrong_kind_of_certificate(world: World) -> None:
    with pytest.raises(WrongAuthority):
        world.check(CardKind.SIGNATURE, kind=CardKind.AUTHENTICATION)
    with pytest.raises(WrongAuthority):
        world.check(CardKind.AUTHENTICATION, kind=CardKind.SIGNATURE)


def test_a_certificate_of_another_authority_with_the_same_name(world: World, tmp_path: Path) -> None:
    key = rsa_keys()[7]
    forged_authority = profiles.build_authority("signature", key, NOW)
    forged = world.make(authority=forged_authority, authority_key=key)
    with pytest.raises(WrongAuthority):
        world.check(certificate=forged)
    # The right key identifier and name do not help either.
    with pytest.raises(WrongAuthority):
        world.check(certificate=_sign_like(world, key))


def test_dates(world: World) -> None:
    with pytest.raises(CertificateExpired):
        world.check(certificate=world.make(not_after=NOW - timedelta(seconds=1)))
    with pytest.raises(CertificateExpired):
        world.check(certificate=world.make(now=NOW + timedelta(days=1)))
    with pytest.raises(WrongAuthority):
        later = NOW + timedelta(days=365 * 11)
        statement = format_statement(dataclasses.replace(STATEMENT, time=later))
        world.check(
            now=later, statement=statement, certificate=world.make(not_after=later + timedelta(days=1))
        )


@pytest.mark.parametrize(
    "how",
    ["policy", "usage", "not critical", "ca", "no attributes", "two names", "key size", "unknown critical"],
)
def test_other_profiles_of_the_same_authority(world: World, how: str) -> None:
    with pytest.raises(WrongProfile if how != "two names" else CertificateUnreadable):
        world.check(certificate=_other_profile(world, how))


def test_attributes_in_the_authentication_certificate_are_refused(world: World) -> None:
    certificate = _other_profile(world, "attributes", kind="authentication")
    with pytest.raises(WrongProfile):
        check_certificate(
            certificate.public_bytes(serialization.Encoding.DER),
            CardKind.AUTHENTICATION,
            world.trust,
            now=NOW,
        )


@pytest.mark.parametrize("der", [b"", b"\x30", b"\x30\x82\x00", bytes(100), bytes(9000)])
def test_rubbish_certificates(world: World, der: bytes) -> None:
    with pytest.raises(CertificateUnreadable):
        world.check(certificate=der)


@pytest.mark.parametrize("version", [b"\x01", b"\x03", b"\x7f", b"\x80"])
def test_a_certificate_of_a_version_that_does_not_exist_is_unreadable(world: World, version: bytes) -> None:
    entry = world.card.signature
    assert entry is not None
    der = entry.certificate.public_bytes(serialization.Encoding.DER)
    assert der.count(b"\xa0\x03\x02\x01\x02") == 1
    with pytest.raises(CertificateUnreadable):
        world.check(certificate=der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01" + version))


def test_cut_and_flipped_certificates_never_pass(world: World) -> None:
    entry = world.card.signature
    assert entry is not None
    der = entry.certificate.public_bytes(serialization.Encoding.DER)
    for position in range(0, len(der), 37):
        flipped = bytearray(der)
        flipped[position] ^= 1
        with pytest.raises(CardRefused):
            world.check(certificate=bytes(flipped))
        with pytest.raises(CardRefused):
            world.check(certificate=der[:position])


def test_revoked_and_unverifiable(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.status.down = True
    with pytest.raises(StatusUnverifiable) as unverifiable:
        world.check()
    assert unverifiable.value.retry
    world.status.down = False
    world.jpki.revoke(world.card.card, "move", now=NOW)
    with pytest.raises(CertificateRevoked):
        world.check()
    assert world.check(CardKind.AUTHENTICATION).serial


def test_the_authority_is_asked_only_about_what_really_signed(world: World) -> None:
    class Never:
        def ask(self, certificate: Any, *, now: datetime) -> Any:
            raise AssertionError("asked")

    with pytest.raises(BadCardSignature):
        world.check(signature=bytes(256), status=Never())


def test_checkers(world: World) -> None:
    text = format_statement(STATEMENT)
    entry = world.card.signature
    assert entry is not None
    der = entry.certificate.public_bytes(serialization.Encoding.DER)
    signature = entry.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    options = {"purpose": "register", "request_digest": NO_REQUEST, "now": NOW}
    offline = OfflineCardChecker(world.trust, CITY).check_signature(text, der, signature, **options)
    assert offline.status is None
    online = CardChecker(world.trust, CITY, world.status)
    assert online.check_signature(text, der, signature, signing_key=SIGNING, **options).status is not None
    with pytest.raises(WrongAuthority):
        online.check_authentication(text, der, signature, **options)
    with pytest.raises(StatementRefused):
        CardChecker(world.trust, "992012", world.status).check_signature(text, der, signature, **options)


def test_every_refusal_has_two_sentences_and_no_data(world: World) -> None:
    for error in (
        StatementRefused("form"),
        CertificateUnreadable(),
        WrongAuthority(),
        WrongProfile(),
        CertificateExpired(),
        CertificateRevoked(),
        StatusUnverifiable("x"),
        BadCardSignature(),
    ):
        assert isinstance(error, Refusal)
        assert error.ja.endswith("。")
        assert error.en.endswith(".")
        assert "花子" not in str(error)


def test_mock_and_real_authorities_never_mix(world: World, tmp_path: Path) -> None:
    for profile in ("production",):
        with pytest.raises(SettingsError, match="never mix"):
            load_card_trust(world.jpki.anchors, profile=profile)
    with pytest.raises(SettingsError, match="never mix"):
        load_card_trust(world.jpki.anchors)
    real = x509.CertificateBuilder().subject_name(_name("REAL")).issuer_name(_name("REAL"))
    certificate = (
        real.public_key(rsa_keys()[0].public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(rsa_keys()[0], hashes.SHA256())
    )
    for kind in CardKind:
        (tmp_path / f"{kind}-ca.der").write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    with pytest.raises(SettingsError, match="never mix"):
        load_card_trust(tmp_path, profile="demo")
    policies = load_card_trust(tmp_path, profile="production").policies
    # Cards only: what real phones carry is unconfirmed.
    assert [policy.dotted_string for policy in policies[CardKind.SIGNATURE]] == ["1.2.392.200149.8.5.1.1.20"]
    (tmp_path / "signature-ca.der").write_bytes(b"x")
    with pytest.raises(SettingsError):
        load_card_trust(tmp_path, profile="production")
    (tmp_path / "signature-ca.der").unlink()
    with pytest.raises(SettingsError, match="no authority"):
        load_card_trust(tmp_path, profile="production")


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _sign_like(world: World, key: Any) -> x509.Certificate:
    """The card's own certificate, every field of it, signed by a stranger."""
    entry = world.card.signature
    assert entry is not None
    original = entry.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(original.subject)
        .issuer_name(original.issuer)
        .public_key(entry.key.public_key())
        .serial_number(original.serial_number)
        .not_valid_before(original.not_valid_before_utc)
        .not_valid_after(original.not_valid_after_utc)
    )
    for extension in original.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return builder.sign(key, hashes.SHA256())


def _other_profile(world: World, how: str, kind: str = "signature") -> x509.Certificate:
    from cryptography.hazmat.primitives.asymmetric import rsa

    original = world.entry(CardKind(kind)).certificate
    public = original.public_key()
    if how == "key size":
        public = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(original.subject)
        .issuer_name(original.issuer)
        .public_key(public)
        .serial_number(77)
        .not_valid_before(original.not_valid_before_utc)
        .not_valid_after(original.not_valid_after_utc)
    )
    for extension in original.extensions:
        value, critical = extension.value, extension.critical
        if how == "policy" and isinstance(value, x509.CertificatePolicies):
            other = x509.PolicyInformation(
                ObjectIdentifier(profiles.POLICIES["card"]["authentication"]), None
            )
            value = x509.CertificatePolicies([other])
        if isinstance(value, x509.KeyUsage):
            if how == "usage":
                value = profiles._usage(digital_signature=True)
            critical = how != "not critical"
        if isinstance(value, x509.SubjectAlternativeName):
            if how == "no attributes":
                continue
            if how == "two names":
                value = x509.SubjectAlternativeName([*value, next(iter(value))])
        builder = builder.add_extension(value, critical=critical)
    if how == "ca":
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if how == "attributes":
        builder = builder.add_extension(
            x509.SubjectAlternativeName(profiles.attribute_names(HANAKO)), critical=False
        )
    if how == "unknown critical":
        builder = builder.add_extension(
            x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True
        )
    return builder.sign(world.jpki._authority_keys[kind], hashes.SHA256())
