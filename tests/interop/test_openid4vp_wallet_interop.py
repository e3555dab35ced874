"""A wallet that others wrote (@openid4vc/openid4vp, dcql, @sd-jwt, jose) answers our OpenID4VP request; the desk judges.

The libraries accept our signed request by themselves: JAR, `x509_hash`, DCQL, `direct_post.jwt`. What they check of it and
what they do not is tried with a request that is wrong in one place.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from tests.support.employers_office import now, open_office
from tests.support.node_packages import ForeignError, run_node
from tests.support.presentation_desk import SECONDS, Desk
from tests.support.verifier_bundles import PUBLIC_URL, mini_city, new_key, with_data
from verifier.formats.encoding import canonical_json
from verifier.formats.jose import build_jws, es256_signer, parse_jws, thumbprint
from verifier.formats.recipient import RecipientStatement, build_recipient_statement
from verifier.presets import PRESETS
from verifier.report import Verdict


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
    low = with_data(income={"gross_total": 900_000, "total": 900_000})
    # the sample's income is above the limit for a dependant, so another one answers that preset
    held = mini_city().credential(low) if preset == "health-insurance-dependant" else None
    said = wallet(desk.request, credential=held)
    assert said["version"] == 100  # OpenID4VP 1.0
    assert said["client_id"] == desk.asked.client_id
    report = desk.examine(said["response"].encode())
    assert report.verdict is Verdict.VALID, report


@pytest.mark.parametrize("enc", ["A128GCM", "A256GCM"])
def test_both_encryptions(enc: str) -> None:
    desk = Desk()
    assert desk.examine(wallet(desk.request, enc=[enc])["response"].encode()).verdict is Verdict.VALID


def test_the_optional_members_do_not_disturb_the_library() -> None:
    """The city's recipient statement in verifier_info, a name, and the return address, which is a claim of our own."""
    desk, city_key = Desk(), new_key()
    statement = RecipientStatement(
        city="992011",
        name="株式会社見本商事",
        keys=(thumbprint(desk.key.public_key()),),
        signing_key=thumbprint(desk.signing.public_key()),
        upload=PUBLIC_URL,
        issued=SECONDS - 60,
        expires=SECONDS + 3600,
    )
    made = build_recipient_statement(
        statement, kid=thumbprint(city_key.public_key()), sign=es256_signer(city_key)
    )
    desk.asked = desk.ask(
        statement=made.decode(), name="株式会社見本商事", return_uri="https://shoji.example/done"
    )
    assert desk.examine(wallet(desk.request)["response"].encode()).verdict is Verdict.VALID


def test_a_wallet_that_does_not_hold_the_threshold_has_no_answer() -> None:
    with pytest.raises(ForeignError, match="holds nothing"):
        wallet(Desk(preset="health-insurance-dependant").request)


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


def test_the_whole_way_over_sockets_by_the_commands(tmp_path: Path) -> None:
    """The library fetches the request from the door and posts the answer itself."""
    with open_office(tmp_path) as office:
        asked = office.ask()
        held = office.wallet()
        for address in (asked["request"], asked["link"]):
            said = run_node(
                "presenter.mjs",
                {
                    "address": address,
                    "credential": held.credential.decode(),
                    "holder": ECKey.import_key(held.key).as_dict(private=True),
                    "now": int(now().timestamp()),
                    "base": {PUBLIC_URL: office.base},
                },
            )
            first = address == asked["request"]
            assert (said["status"], "error" in (said["answer"] or {})) == (
                (200, False) if first else (400, True)
            )
        done = office.result(asked["result"], "--json")
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["certificate"]["income"] == said["shown"]["income"] == {"total": 3560000}
