"""Attacks on the page's seal: properly made, by the wrong key, at the wrong time, or under another's certificate.

Each page is entered into the city's own log with its credential, so that the seal alone is wrong.
"""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from app.counterparts.trust_services.authority import CRL_VALIDITY, build_crl
from app.sealing.certificates import (
    PAGE_SEAL,
    SIGNING,
    TIME_STAMP,
    Issuer,
    Profile,
    build_certificate,
    build_name,
)
from app.sealing.validation_material import CRL_STEMS
from tests.support.attacks.case import Attempt, attack, control
from tests.support.mini_city import CITY_NUMBER, DAY, NOW, Party, city
from tests.support.verifier_bundles import new_key, with_data
from verifier.formats.encoding import canonical_json

MINUTE = dt.timedelta(minutes=1)


@control
def bundle() -> Attempt:
    """The genuine anchored bundle, offline."""
    return Attempt(city().bundle)


@control
def sealed_by_a_second_certificate() -> Attempt:
    """The city's authority may certify a new seal key at any time."""
    return _sealed(city().certified())


@control
def seal_revoked_later() -> Attempt:
    """A seal stays good when its certificate is revoked after the time of the time-stamp."""
    return _sealed_with_revocation(NOW + MINUTE, lists_at=NOW + 2 * MINUTE)


@attack
def seal_of_another_city_with_the_same_names() -> Attempt:
    twin = city().twin
    party = city().party("page-seal-1", twin.pki)
    page = city().seal(city().hanako.certificate, by=party, material=twin.material)
    return Attempt(city().issue(page=page))


@attack
def page_of_another_city_valid_from_the_first_day_of_the_calendar() -> Attempt:
    """Its period begins where no program can count five minutes back, and ends nearly at the calendar's other end."""
    twin = city().twin
    data = with_data(issued_on="0001-01-01", valid_until="9998-12-31")
    party = city().party("page-seal-1", twin.pki)
    return Attempt(city().seal(canonical_json(data), by=party, material=twin.material))


@attack
def everything_of_another_city_with_the_same_names() -> Attempt:
    return Attempt(city().twin.issue())


@attack
def seal_of_another_organisation_under_the_same_authority() -> Attempt:
    return _sealed(city().company)


@attack
def seal_without_an_organisation_under_the_same_authority() -> Attempt:
    return _sealed(city().certified(number=None))


@attack
def seal_with_a_revoked_certificate() -> Attempt:
    return _sealed_with_revocation(NOW - 2 * MINUTE, lists_at=NOW - MINUTE)


@attack
def seal_with_an_expired_certificate() -> Attempt:
    return _sealed(city().certified(start=NOW - 366 * DAY, years=1))


@attack
def seal_with_a_certificate_not_yet_valid() -> Attempt:
    return _sealed(city().certified(start=NOW + DAY))


@attack
def seal_by_the_credential_key() -> Attempt:
    return _sealed(city().party("credential-1"))


@attack
def seal_by_the_status_list_key() -> Attempt:
    return _sealed(city().party("status-list-1"))


@attack
def seal_by_the_time_stamping_authority() -> Attempt:
    return _sealed(city().certified(TIME_STAMP, name="見本TSA", organisation="見本タイムスタンプ"))


@attack
def seal_by_a_certificate_without_the_purpose() -> Attempt:
    return _sealed(city().certified(Profile(PAGE_SEAL.usages)))


@attack
def seal_by_the_authority_itself() -> Attempt:
    issuing = city().party("issuing")
    return _sealed(Party(issuing.key, (issuing.chain[0], city().pki.der("root"))))


@attack
def seal_by_a_subordinate_of_the_city() -> Attempt:
    """A certificate that the city's *seal key* has issued, as if it were an authority."""
    seal = city().party("page-seal-1")
    above = Issuer(x509.load_der_x509_certificate(seal.chain[0]), seal.key, "issuing")
    leaf = _issued_by(above)
    return _sealed(Party(leaf.key, (leaf.chain[0], seal.chain[0])))


@attack
def seal_with_lists_of_another_authority() -> Attempt:
    twin = city().twin.pki
    lists = [build_crl(twin if stem == "issuing" else city().pki, stem, NOW - MINUTE) for stem in CRL_STEMS]
    return _page(city().seal(city().hanako.certificate, material=city().material(crls=lists)))


@attack
def seal_with_lists_that_had_ended() -> Attempt:
    lists = [build_crl(city().pki, stem, NOW - CRL_VALIDITY - MINUTE) for stem in CRL_STEMS]
    return _page(city().seal(city().hanako.certificate, material=city().material(crls=lists)))


@attack
def page_stamped_by_another_authority() -> Attempt:
    return _stamped(city().stamp(by=city().party("tsa", city().twin.pki)))


@attack
def page_stamped_by_a_certificate_without_the_purpose() -> Attempt:
    return _stamped(city().stamp(by=city().certified(Profile(SIGNING), name="見本TSA", issuer="tsa-ca")))


@attack
def page_stamped_under_the_seal_authority() -> Attempt:
    return _stamped(city().stamp(by=city().certified(TIME_STAMP, name="見本TSA")))


@attack
def page_stamped_by_an_expired_authority() -> Attempt:
    party = city().certified(TIME_STAMP, issuer="tsa-ca", start=NOW - 366 * DAY, years=1)
    return _stamped(city().stamp(by=party))


@attack
def page_stamped_in_the_future() -> Attempt:
    return _stamped(city().stamp(at=NOW + 10 * MINUTE))


def _sealed(party: Party) -> Attempt:
    return _page(city().seal(city().hanako.certificate, by=party))


def _stamped(stamp) -> Attempt:
    return _page(city().seal(city().hanako.certificate, stamp=stamp))


def _page(page: bytes) -> Attempt:
    return Attempt(city().issue(page=page))


def _sealed_with_revocation(revoked_at: dt.datetime, *, lists_at: dt.datetime) -> Attempt:
    party = city().certified()
    lists = [build_crl(city().pki, stem, NOW - MINUTE) for stem in CRL_STEMS]
    lists[CRL_STEMS.index("issuing")] = _list_with(party, revoked_at, lists_at)
    material = city().material(party, crls=lists)
    page = city().seal(city().hanako.certificate, by=party, material=material)
    return Attempt(city().issue(page=page))


def _list_with(party: Party, revoked_at: dt.datetime, made_at: dt.datetime) -> bytes:
    issuer = city().pki.issuer("issuing")
    entry = (
        x509.RevokedCertificateBuilder()
        .serial_number(x509.load_der_x509_certificate(party.chain[0]).serial_number)
        .revocation_date(revoked_at)
        .add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
        .build()
    )
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.certificate.subject)
    builder = builder.last_update(made_at).next_update(made_at + CRL_VALIDITY).add_revoked_certificate(entry)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def _issued_by(above: Issuer) -> Party:
    key = new_key()
    certificate = build_certificate(
        subject=build_name("見本市 e-seal", "見本市", CITY_NUMBER),
        key=key.public_key(),
        profile=PAGE_SEAL,
        issuer=above,
        not_before=NOW - dt.timedelta(hours=1),
        years=1,
        services_url="http://trust.mihon.example",
    )
    return Party(key, (certificate.public_bytes(Encoding.DER),))
