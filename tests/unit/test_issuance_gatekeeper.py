"""Nothing leaves the city that the verifier has not accepted, for another key, with other data, or about somebody else."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from app.errors import GateError
from app.issuance.gatekeeper import Gatekeeper, check_subject
from app.registers.subject import subject_digest
from tests.support.verifier_bundles import NOW, MiniCity, changed, mini_city
from verifier.formats.bundle import parse_bundle
from verifier.formats.encoding import parse_canonical_json


@pytest.fixture(scope="module")
def city() -> MiniCity:
    return mini_city()


def gatekeeper(city: MiniCity) -> Gatekeeper:
    trust = city.trust()
    return Gatekeeper(lambda: trust, lambda: NOW)


def test_what_is_whole_may_leave_before_it_is_anchored(city: MiniCity) -> None:
    bundle = city.issue(anchored=False, stamped=False)
    data = parse_bundle(bundle).certificate or b""
    gatekeeper(city).check(bundle, data=data, holder=city.holder.public_key())


def test_one_changed_byte_of_the_page_stays_inside(city: MiniCity) -> None:
    bundle = city.issue()
    parts = parse_bundle(bundle)
    page = bytearray(parts.page or b"")
    page[len(page) // 2] ^= 1
    with pytest.raises(GateError, match="not-accepted"):
        gatekeeper(city).check(
            changed(bundle, page=bytes(page)), data=parts.certificate or b"", holder=city.holder.public_key()
        )


def test_another_phones_key_stays_inside(city: MiniCity) -> None:
    bundle = city.issue()
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(GateError, match="other-holder"):
        gatekeeper(city).check(bundle, data=parse_bundle(bundle).certificate or b"", holder=stranger)


def test_other_data_than_was_meant_stays_inside(city: MiniCity) -> None:
    bundle = city.issue()
    with pytest.raises(GateError, match="other-data"):
        gatekeeper(city).check(bundle, data=b"{}", holder=city.holder.public_key())


def test_somebody_elses_certificate_stays_inside(city: MiniCity) -> None:
    data = parse_bundle(city.issue()).certificate or b""
    subject = parse_canonical_json(data)["subject"]
    mine = (subject["name"], subject["birthdate"], subject["address_jan1"])
    check_subject(data, subject_digest(*mine))
    # Name and birth date may be shared; the address then still tells the two apart.
    for place, other in enumerate((mine[0] + "子", "1985-03-16", mine[2] + "１号")):
        with pytest.raises(GateError, match="other-person"):
            check_subject(data, subject_digest(*mine[:place], other, *mine[place + 1 :]))
