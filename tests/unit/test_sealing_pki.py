"""The demo PKI: made once, with keys that only their owner reads, under names that say MOCK."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from app.counterparts.trust_services.authority import build_crl
from app.errors import UnavailableError
from app.sealing.errors import KeyUnusableError, PkiError
from app.sealing.key_files import create_private_file, read_private_key
from app.sealing.pki import CITY_KEYS, PkiSettings, create_demo_pki, load_demo_pki
from app.sealing.validation_material import MaterialSource, build_material
from tests.support.sealing_world import ISS, NOW, make_pki, world


def test_keys_are_private_files_in_private_directories(tmp_path):
    pki = make_pki(tmp_path / "pki")
    keys = sorted(pki.directory.rglob("*.key.pem"))
    assert len(keys) == 5 + len(CITY_KEYS) + 1
    assert {path.stat().st_mode & 0o777 for path in [*keys, *pki.directory.rglob("*.token")]} == {0o600}
    assert {path.parent.stat().st_mode & 0o777 for path in keys} == {0o700}


def test_a_pki_is_made_once_and_loaded_as_it_is(tmp_path):
    made = make_pki(tmp_path / "pki")
    with pytest.raises(PkiError, match="pki-exists"):
        create_demo_pki(made.directory, PkiSettings(iss=ISS), NOW + timedelta(days=400))
    again = load_demo_pki(made.directory)
    assert again.certificates == made.certificates
    assert again.created == NOW - timedelta(hours=1)


def test_a_pki_whose_making_was_cut_short_is_none(tmp_path):
    pki = make_pki(tmp_path / "pki")
    (pki.directory / "pki.json").unlink()
    with pytest.raises(PkiError, match="no-pki"):
        load_demo_pki(pki.directory)
    with pytest.raises(KeyUnusableError, match="file-exists"):
        create_demo_pki(pki.directory, PkiSettings(iss=ISS), NOW)


def test_every_name_says_mock():
    for certificate in world().pki.certificates.values():
        assert "MOCK/模擬" in certificate.subject.rfc4514_string()
    assert json.loads((world().pki.directory / "pki.json").read_bytes())["mock"] is True


def test_the_seals_certificate_has_its_profile():
    certificate = world().certificate("page-seal-1")
    subject = {attribute.oid: attribute.value for attribute in certificate.subject}
    assert subject[NameOID.COUNTRY_NAME] == "JP"
    assert subject[NameOID.ORGANIZATION_NAME] == "見本市"
    assert subject[NameOID.ORGANIZATION_IDENTIFIER] == "NTRJP-7000020992011"
    assert subject[NameOID.COMMON_NAME] == "見本市 e-seal (MOCK/模擬)"
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.content_commitment
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [oid.dotted_string for oid in purposes] == ["1.3.6.1.5.5.7.3.36"]
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert points[0].full_name[0].value == "http://trust.mihon.example/crl/issuing.crl"
    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert access[0].access_location.value == "http://trust.mihon.example/ocsp"


def test_a_key_file_open_to_others_is_refused(tmp_path):
    pki = make_pki(tmp_path / "pki")
    path = pki.directory / "signer" / "page-seal-1.key.pem"
    path.chmod(0o640)
    with pytest.raises(KeyUnusableError, match="file-open-to-others"):
        read_private_key(path)


def test_no_key_file_is_written_over(tmp_path):
    create_private_file(tmp_path / "key", b"one")
    with pytest.raises(KeyUnusableError, match="file-exists"):
        create_private_file(tmp_path / "key", b"two")
    assert (tmp_path / "key").read_bytes() == b"one"


def test_material_must_fit_together(tmp_path):
    chain = world().pki.page_chain
    crls = world().material.crls
    build_material(chain, crls, at=NOW)
    other = make_pki(tmp_path / "pki")
    for certificates, lists, at in (
        (chain[:4], crls, NOW),
        (chain, crls[:2], NOW),
        (chain, crls, NOW + timedelta(days=9)),
        ((other.der("page-seal-1"), *chain[1:]), crls, NOW),
        ((chain[1], chain[0], *chain[2:]), crls, NOW),
    ):
        with pytest.raises(PkiError, match="bad-material"):
            build_material(certificates, lists, at=at)


def test_lists_are_fetched_again_when_old_and_kept_when_the_authority_is_away():
    pki = world().pki
    calls = []
    away = False
    moment = NOW

    def fetch(stem):
        calls.append(stem)
        if away:
            raise UnavailableError("trust-services-unreachable")
        return build_crl(pki, stem, moment)

    source = MaterialSource(pki.page_chain, fetch)
    first = source.current(NOW)
    assert source.current(NOW + timedelta(minutes=59)) is first
    assert calls == ["root", "issuing", "tsa-ca"]
    moment = NOW + timedelta(minutes=61)
    second = source.current(moment)
    assert second.crls != first.crls
    away = True
    assert source.current(NOW + timedelta(days=2)) is second
    with pytest.raises(PkiError, match="bad-material"):
        source.current(NOW + timedelta(days=9))


def test_without_any_list_an_outage_stays_an_outage():
    def fetch(stem):
        raise UnavailableError("trust-services-unreachable")

    with pytest.raises(UnavailableError):
        MaterialSource(world().pki.page_chain, fetch).current(NOW)
