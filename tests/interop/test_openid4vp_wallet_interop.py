"""A wallet that others wrote (@openid4vc/openid4vp, dcql, @sd-jwt, jose) answers our OpenID4VP request; the desk judges.

The libraries accept our signed request by themselves: JAR, `x509_hash`, DCQL, `direct_post.jwt`. What they check of it and
what they do not is tried with a request that is wrong in one place.
"""

from __future__ import annotations

import pytest
from joserfc.jwk import ECKey

from tests.support.node_packages import ForeignError, run_node
from tests.support.verifier_bundles import mini_city, new_key
from verifier.formats.encoding import canonical_json
from verifier.formats.jose import build_jws, es256_signer, parse_jws
from verifier.presets import PRESETS
from verifier.report import Verdict

# the room of OpenID4VP comes with another branch; when it is here, these lines become two imports
_desk = pytest.importorskip("tests.support.presentation_desk", reason="OpenID4VP is not in this tree yet")
SECONDS, Desk = _desk.SECONDS, _desk.Desk


def wallet(request: bytes, *, key=None, credential: bytes | None = None, **wish):
    holder = ECKey.import_key(key or mini_city().holder).as_dict(private=True)
    question = {
        "request": request.decode(),
        "credential": (credential or mini_city().credential()).decode(),
        "holder": holder,
        "now": SECONDS,
    }
    return run_node("presenter.mjs", question | wish)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_answer_to_a_preset_is_valid(preset: str) -> None:
    desk = Desk(preset=preset)
    said = wallet(desk.request)
    assert said["version"] == 100  # OpenID4VP 1.0
    assert said["client_id"] == desk.asked.client_id
    report = desk.examine(said["response"].encode())
    assert report.verdict is Verdict.VALID, report


@pytest.mark.parametrize("enc", ["A128GCM", "A256GCM"])
def test_both_encryptions(enc: str) -> None:
    desk = Desk()
    assert desk.examine(wallet(desk.request, enc=[enc])["response"].encode()).verdict is Verdict.VALID


def test_a_key_that_the_credential_does_not_name() -> None:
    desk = Desk()
    report = desk.examine(wallet(desk.request, key=new_key())["response"].encode())
    assert report.verdict is Verdict.NOT_VALID


def test_an_answer_to_another_request() -> None:
    desk = Desk()
    response = wallet(desk.build(desk.ask()))["response"].encode()
    assert desk.examine(response).verdict is not Verdict.VALID


def test_the_library_refuses_an_expired_request() -> None:
    desk = Desk()
    with pytest.raises(ForeignError, match="in the past"):
        wallet(desk.build(desk.ask(expires=SECONDS - 120, issued=SECONDS - 3600)))


def test_the_library_refuses_a_request_with_one_byte_changed() -> None:
    request = bytearray(Desk().request)
    place = len(request) - 20
    request[place] = ord("A") if request[place] != ord("A") else ord("B")
    with pytest.raises(ForeignError):
        wallet(bytes(request))


def test_the_library_refuses_a_certificate_that_the_client_id_does_not_name() -> None:
    desk = Desk()
    jws = parse_jws(desk.request, typ="oauth-authz-req+jwt")
    other = Desk()
    head = dict(jws.header) | {"x5c": parse_jws(other.request, typ="oauth-authz-req+jwt").header["x5c"]}
    forged = build_jws(head, canonical_json(jws.payload_object()), es256_signer(other.signing))
    with pytest.raises(ForeignError, match="client identifier"):
        wallet(forged)
