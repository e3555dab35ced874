"""From a certificate to a trusted authority, at a time, for a purpose."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from app.counterparts.trust_services.authority import build_crl, revoke
from app.sealing.certificates import PAGE_SEAL, Issuer, build_certificate, build_name
from tests.support.sealing_world import ISS, NOW, make_pki, world
from verifier.errors import FormatError
from verifier.formats import der
from verifier.formats.x509_path import (
    PathError,
    RevocationUnknownError,
    RevokedError,
    Usage,
    parse_certificate,
    parse_crl,
    verify_path,
    verify_revocation,
)


def path_of(
    name="page-seal-1", usage=Usage.PAGE_SEAL, *, at=NOW, anchors=("root",), between=("issuing",), **more
):
    certificates = world().pki.certificates
    return verify_path(
        certificates[name],
        intermediates=[certificates[one] for one in between],
        anchors=[certificates[one] for one in anchors],
        at=at,
        usage=usage,
        **more,
    )


def test_the_citys_certificates_lead_to_the_root():
    certificates = world().pki.certificates
    expected = (certificates["page-seal-1"], certificates["issuing"], certificates["root"])
    assert path_of() == expected
    assert path_of(anchors=("issuing",), between=()) == expected[:2]
    assert len(path_of("credential-1", Usage.CREDENTIAL, san_uri=ISS)) == 3
    assert len(path_of("status-list-1", Usage.STATUS_LIST, san_uri=f"{ISS}/status")) == 3
    assert len(path_of("tsa", Usage.TIME_STAMP, anchors=("tsa-ca",), between=())) == 2


@pytest.mark.parametrize(
    ("name", "usage", "more", "code"),
    [
        ("credential-1", Usage.PAGE_SEAL, {}, "wrong-usage"),
        ("page-seal-1", Usage.CREDENTIAL, {"san_uri": ISS}, "wrong-usage"),
        ("page-seal-1", Usage.TIME_STAMP, {}, "wrong-usage"),
        ("tsa", Usage.PAGE_SEAL, {"anchors": ("tsa-ca",)}, "wrong-usage"),
        ("issuing", Usage.PAGE_SEAL, {}, "wrong-usage"),
        ("ocsp", Usage.STATUS_LIST, {"san_uri": f"{ISS}/status"}, "wrong-usage"),
        ("credential-1", Usage.CREDENTIAL, {"san_uri": "https://elsewhere.example/992011"}, "wrong-name"),
        ("status-list-1", Usage.CREDENTIAL, {"san_uri": ISS}, "wrong-name"),
        ("credential-1", Usage.CREDENTIAL, {}, "wrong-name"),
        ("page-seal-1", Usage.PAGE_SEAL, {"anchors": ("tsa-ca",)}, "no-path"),
        ("page-seal-1", Usage.PAGE_SEAL, {"between": ()}, "no-path"),
        ("page-seal-1", Usage.PAGE_SEAL, {"anchors": ()}, "no-path"),
        ("page-seal-1", Usage.PAGE_SEAL, {"at": NOW - timedelta(days=1)}, "not-yet-valid"),
        ("page-seal-1", Usage.PAGE_SEAL, {"at": NOW + timedelta(days=6 * 365)}, "expired"),
    ],
)
def test_other_purposes_names_times_and_anchors_are_refused(name, usage, more, code):
    with pytest.raises(PathError) as caught:
        path_of(name, usage, **more)
    assert caught.value.code == code


@pytest.mark.parametrize("ended", ["issuing", "root"])
def test_every_certificate_of_the_path_is_asked_for_its_dates(ended):
    """A seal key that outlives its authority is good for as long as the authority, cold and warm alike."""
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("issuing", "root")}
    made = {}
    for name, above in (("root", "root"), ("issuing", "root")):
        profile = type(PAGE_SEAL)(frozenset({"key_cert_sign"}), path_length=1 if name == "root" else 0)
        made[name] = build_certificate(
            subject=build_name(name, "見本市"),
            key=keys[name].public_key(),
            profile=profile,
            issuer=Issuer(made[above], keys[above], above) if above in made else keys[above],
            not_before=NOW,
            years=2 if name == ended else 9,
            services_url="http://x.example",
        )
    leaf = issue(Issuer(made["issuing"], keys["issuing"], "issuing"), years=5)

    def ask(at):
        return verify_path(
            leaf, intermediates=[made["issuing"]], anchors=[made["root"]], at=at, usage=Usage.PAGE_SEAL
        )

    last = made[ended].not_valid_after_utc
    for _ in range(2):
        assert len(ask(last)) == 3
        with pytest.raises(PathError) as caught:
            ask(last + timedelta(seconds=1))
        assert caught.value.code == "expired"


def test_an_end_certificate_is_no_authority(tmp_path):
    pki = make_pki(tmp_path / "pki")
    forger = Issuer(pki.certificates["credential-1"], pki_key(pki, "credential-1"), "issuing")
    forged = issue(forger)
    with pytest.raises(PathError) as caught:
        verify_path(
            forged,
            intermediates=[pki.certificates["credential-1"], pki.certificates["issuing"]],
            anchors=[pki.certificates["root"]],
            at=NOW,
            usage=Usage.PAGE_SEAL,
        )
    assert caught.value.code == "not-a-ca"


def test_the_issuing_authority_may_have_none_below_it(tmp_path):
    pki = make_pki(tmp_path / "pki")
    key = ec.generate_private_key(ec.SECP256R1())
    below = build_certificate(
        subject=build_name("下位", "偽"),
        key=key.public_key(),
        profile=type(PAGE_SEAL)(frozenset({"key_cert_sign"}), path_length=0),
        issuer=pki.issuer("issuing"),
        not_before=NOW,
        years=1,
        services_url="http://x.example",
    )
    with pytest.raises(PathError) as caught:
        verify_path(
            issue(Issuer(below, key, "below")),
            intermediates=[below, pki.certificates["issuing"]],
            anchors=[pki.certificates["root"]],
            at=NOW,
            usage=Usage.PAGE_SEAL,
        )
    assert caught.value.code == "path-too-long"


def test_a_name_alone_is_no_issuer():
    stranger = ec.generate_private_key(ec.SECP256R1())
    issuing = world().certificate("issuing")
    forged = issue(Issuer(issuing, stranger, "issuing"))
    with pytest.raises(PathError) as caught:
        verify_path(
            forged,
            intermediates=[issuing],
            anchors=[world().certificate("root")],
            at=NOW,
            usage=Usage.PAGE_SEAL,
        )
    assert caught.value.code == "no-path"


def test_not_revoked_and_then_revoked_later_or_earlier(tmp_path):
    pki = make_pki(tmp_path / "pki")
    path = pki_path(pki)
    clean = [parse_crl(build_crl(pki, stem, NOW)) for stem in ("root", "issuing")]
    assert [evidence.revoked_after for evidence in verify_revocation(path, clean, at=NOW)] == [None, None]
    later = NOW + timedelta(days=1)
    revoke(pki, path[0].serial_number, "keyCompromise", later)
    after = [parse_crl(build_crl(pki, stem, later)) for stem in ("root", "issuing")]
    assert verify_revocation(path, after, at=NOW)[0].revoked_after == later
    with pytest.raises(RevokedError) as caught:
        verify_revocation(path, after, at=later)
    assert (caught.value.code, caught.value.revoked_at) == ("revoked", later)
    # An older, still current list beside it does not make the certificate good again.
    with pytest.raises(RevokedError):
        verify_revocation(path, clean + after, at=later)


def test_the_authority_itself_can_be_revoked(tmp_path):
    pki = make_pki(tmp_path / "pki")
    revoke(pki, pki.certificates["issuing"].serial_number, "cACompromise", NOW)
    lists = [parse_crl(build_crl(pki, stem, NOW)) for stem in ("root", "issuing")]
    with pytest.raises(RevokedError):
        verify_revocation(pki_path(pki), lists, at=NOW)


def test_without_a_usable_list_nothing_is_known(tmp_path):
    pki = make_pki(tmp_path / "pki")
    path = pki_path(pki)
    lists = [parse_crl(build_crl(pki, stem, NOW)) for stem in ("root", "issuing")]
    other = make_pki(tmp_path / "other")
    foreign = [parse_crl(build_crl(other, stem, NOW)) for stem in ("root", "issuing")]
    for given, at, code in (
        ([], NOW, "no-crl"),
        (lists[:1], NOW, "no-crl"),
        (foreign, NOW, "no-crl"),
        (lists, NOW + timedelta(days=9), "stale-crl"),
    ):
        with pytest.raises(RevocationUnknownError) as caught:
            verify_revocation(path, given, at=at)
        assert caught.value.code == code


def test_only_whole_der_certificates_and_lists_are_read():
    encoded = world().pki.der("page-seal-1")
    assert parse_certificate(encoded).serial_number == world().certificate("page-seal-1").serial_number
    crl = build_crl(world().pki, "root", NOW)
    for damaged in (b"", encoded[:-1], encoded + b"\x00", b"\x30\x00", crl):
        with pytest.raises(FormatError):
            parse_certificate(damaged)
    for damaged in (b"", crl[:-1], crl + b"\x00", encoded):
        with pytest.raises(FormatError):
            parse_crl(damaged)


def test_the_unsigned_octet_of_a_signature_has_one_value():
    """The count of unused bits in the signature's BIT STRING: 1 would do for a library when the last bit is
    0."""
    for encoded, parse in (
        (world().pki.der("page-seal-1"), parse_certificate),
        (build_crl(world().pki, "issuing", NOW), parse_crl),
    ):
        outer = der.read_single(encoded, der.SEQUENCE)
        before = encoded[: len(encoded) - len(_last(outer).content)]
        assert encoded[len(before)] == 0
        for value in range(1, 8):
            with pytest.raises(FormatError):
                parse(before + bytes([value]) + encoded[len(before) + 1 :])


def _last(reader):
    reader.take(der.SEQUENCE)
    reader.take(der.SEQUENCE)
    return reader.take(der.BIT_STRING)


def pki_path(pki):
    return verify_path(
        pki.certificates["page-seal-1"],
        intermediates=[pki.certificates["issuing"]],
        anchors=[pki.certificates["root"]],
        at=NOW,
        usage=Usage.PAGE_SEAL,
    )


def pki_key(pki, name):
    from app.sealing.key_files import read_private_key

    return read_private_key(pki.directory / "signer" / f"{name}.key.pem")


def issue(issuer, years=1):
    key = ec.generate_private_key(ec.SECP256R1())
    return parse_certificate(
        build_certificate(
            subject=build_name("偽造", "偽"),
            key=key.public_key(),
            profile=PAGE_SEAL,
            issuer=issuer,
            not_before=NOW,
            years=years,
            services_url="http://x.example",
        ).public_bytes(Encoding.DER)
    )
