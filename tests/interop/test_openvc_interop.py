"""Our credential, presentation and status list for the Python package openvc-core, which shares no code with ours.

It judges strictly. It is told the moment (`NOW`), since a binding grows too old within five minutes and the tests may run
long after that moment; only the credential's own dates it reads by the wall clock. Two things it leaves to its caller,
done here as it says: the status list comes to it already verified (by its own `verify_status_list_token` and chain
check), and audience and nonce are given together. It does not check that everything asked for was disclosed: that is
`verifier`'s own test.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from openvc.proof.errors import ClaimsInvalid, CredentialExpired, SignatureInvalid
from openvc.proof.sd_jwt import SdJwtError
from openvc.status import CredentialRevoked, StatusListError
from openvc.status.issue import verify_status_list_token
from openvc.verify import KeyResolutionFailed, StatusUnavailable, VerificationPolicy, verify_credential
from openvc.x5c import leaf_public_jwk, load_x5c_chain, validate_cert_chain

from tests.support import foreign_world as city
from tests.support.foreign_world import AUDIENCE, NONCE, SECONDS, with_one_byte_changed
from tests.support.sealing_world import NOW, world
from verifier.formats.credential import parse_credential, peek_processed
from verifier.formats.encoding import base64url_decode, base64url_encode


def judge(credential, *, status=None, bound=False, anchors=None, now=NOW, **policy):
    """As an employer with openvc would: root pinned, type expected, status asked for."""
    roots = [world().certificate("root")] if anchors is None else anchors
    token = status or city.make_status()

    def resolve(uri):
        head = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
        chain = load_x5c_chain(head["x5c"])
        validate_cert_chain(chain[0], chain[1:], trust_anchors=roots, now=now)
        key = leaf_public_jwk(chain[0])
        return verify_status_list_token(token, public_key_jwk=key, expected_uri=uri, now=now)

    values = {"expected_vct": city.VCT, "now": now} | policy
    if bound:
        values = {"audience": AUDIENCE, "nonce": NONCE, "require_key_binding": True} | values
    return verify_credential(
        credential,
        policy=VerificationPolicy(**values),
        x5c_trust_anchors=roots,
        resolve_status_list_token=resolve,
    )


def test_the_credential_is_verified_and_every_disclosure_read():
    result = judge(city.document().credential)
    ours = peek_processed(parse_credential(city.document().credential.encode()))
    assert {name: value for name, value in result.claims.items() if name != "_sd_alg"} == ours
    assert result.issuer == city.ISS and result.key_bound is False
    assert not result.status.revoked and result.status.ref.index == city.STATUS_INDEX


@pytest.mark.parametrize("place", [-20, -60])
def test_one_byte_of_the_signature_changed(place):
    credential = city.document().credential
    with pytest.raises(SignatureInvalid):
        judge(with_one_byte_changed(credential, credential.index("~") + place))


def test_one_byte_of_the_payload_changed():
    """The first character of the first digest: what is changed is read without complaint, but is not what was signed."""
    header, payload, rest = city.document().credential.split(".", 2)
    plain = base64url_decode(payload).decode()
    assert plain.startswith('{"_sd":["')
    changed = base64url_encode(with_one_byte_changed(plain, len('{"_sd":["')).encode())
    with pytest.raises(SignatureInvalid):
        judge(f"{header}.{changed}.{rest}")


def test_a_disclosure_that_no_digest_names_is_refused():
    forged = base64url_encode(json.dumps(["AAAAAAAAAAAAAAAAAAAAAA", "bonus", 1]).encode())
    with pytest.raises(SdJwtError):
        judge(city.document().credential + forged + "~")


def test_one_byte_of_a_disclosure_changed():
    """A character of the salt: still a disclosure, but no digest names it."""
    issuer_jwt, first, rest = city.document().credential.split("~", 2)
    changed = base64url_encode(with_one_byte_changed(base64url_decode(first).decode(), 10).encode())
    with pytest.raises(SdJwtError, match="not referenced"):
        judge(f"{issuer_jwt}~{changed}~{rest}")


def test_the_issuer_is_bound_to_the_certificate_and_the_certificate_to_the_root():
    with pytest.raises(KeyResolutionFailed):
        judge(city.document().credential, anchors=[world().certificate("tsa-ca")])
    other = city.make_document(iss="https://door.mihon.example/992020")
    with pytest.raises(KeyResolutionFailed, match="not bound"):
        judge(other.credential)


def test_of_another_type():
    with pytest.raises(ClaimsInvalid):
        judge(city.document().credential, expected_vct=city.VCT + "0")


def test_expired():
    """openvc judges a credential's dates by the wall clock, so the day is moved instead of the clock. The day is today's,
    also where midnight has passed since `NOW`; its leeway of a minute covers a midnight within this test.
    """
    issued = datetime.now(UTC) - timedelta(days=10)
    last_day = city.make_document(city.make_data(issued=issued, days=10))
    assert not judge(last_day.credential).expired
    day_before = city.make_document(city.make_data(issued=issued, days=8))
    with pytest.raises((CredentialExpired, ClaimsInvalid), match="expired"):
        judge(day_before.credential)


def test_revoked():
    with pytest.raises(CredentialRevoked):
        judge(city.document().credential, status=city.make_status([city.STATUS_INDEX]))
    neighbours = [city.STATUS_INDEX - 1, city.STATUS_INDEX + 1]
    assert not judge(city.document().credential, status=city.make_status(neighbours)).status.revoked


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(lambda: city.make_status(uri=city.STATUS_URI + "0"), id="of another address"),
        pytest.param(lambda: city.make_status(issued=NOW - timedelta(days=8)), id="expired"),
        pytest.param(lambda: city.make_status(issued=NOW + timedelta(hours=1)), id="of tomorrow"),
    ],
)
def test_a_status_list_that_says_nothing_about_now(status):
    with pytest.raises(StatusListError):
        judge(city.document().credential, status=status())


def test_without_a_status_list_nothing_is_accepted():
    with pytest.raises(StatusUnavailable):
        verify_credential(city.document().credential, x5c_trust_anchors=[world().certificate("root")])


def test_a_presentation_bound_by_our_phone():
    result = judge(city.document().present(("income", "total"), ("subject", "name")), bound=True)
    assert result.key_bound is True
    assert result.claims["income"] == {"total": 3560000}
    assert set(result.claims["subject"]) == {"name"} and "tax" not in result.claims


def test_a_presentation_is_judged_by_the_time_openvc_is_told():
    """However long ago that is: a binding of 20 minutes ago holds at that moment, and is too old at ours."""
    before = NOW - timedelta(minutes=20)
    shown, status = city.document().present(issued=SECONDS - 1200), city.make_status(issued=before)
    assert judge(shown, bound=True, status=status, now=before).key_bound is True
    with pytest.raises(ClaimsInvalid, match="KB-JWT is too old"):
        judge(shown, bound=True, status=status)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nonce": NONCE + "x"}, "nonce"),
        ({"audience": AUDIENCE + "x"}, "aud"),
        ({"issued": SECONDS - 3600}, "KB-JWT"),
        ({"issued": SECONDS + 3600}, "KB-JWT"),
    ],
    ids=["nonce", "audience", "old", "of the future"],
)
def test_presentations_that_are_not_for_this_request(changes, said):
    with pytest.raises(ClaimsInvalid, match=said):
        judge(city.document().present(**changes), bound=True)


def test_a_presentation_by_somebody_elses_phone():
    thief = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(SignatureInvalid):
        judge(city.document().present(holder=thief), bound=True)


def test_a_binding_is_not_left_out_or_moved():
    with pytest.raises(ClaimsInvalid, match="no KB-JWT"):
        judge(city.document().credential, bound=True)
    binding = city.document().present(("income", "total")).split("~")[-1]
    with pytest.raises(ClaimsInvalid, match="sd_hash"):
        judge(city.document().credential + binding, bound=True)
