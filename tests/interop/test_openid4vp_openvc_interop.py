"""openvc-core in the place of our desk: it opens and verifies answers that our own code makes to our own request.

Known leniency of openvc 1.37: it does not see that something asked for was not handed over; ours does
(`tests/unit/test_presentation_walk.py`). It is told the moment of the answer (`NOW`): a binding grows too old within five
minutes, and these tests may run long after that moment. Only the credential's own dates it reads by the wall clock.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from openvc.errors import OpenvcError
from openvc.keys import P256KeyAgreementKey
from openvc.openid4vp import verify_encrypted_vp_response
from openvc.proof.errors import ClaimsInvalid
from openvc.status.issue import verify_status_list_token
from openvc.x5c import leaf_public_jwk, load_x5c_chain, validate_cert_chain

from tests.support import foreign_world as city
from tests.support.foreign_world import SECONDS
from tests.support.sealing_world import NOW, world
from tests.support.wallet_of_others import read_request
from verifier.desk_certificate import make_certificate
from verifier.formats.credential import parse_credential
from verifier.formats.dcql import ClaimQuery, CredentialQuery, DcqlQuery, select_for_query
from verifier.formats.encoding import base64url_encode, parse_json
from verifier.formats.jose import es256_signer, parse_jws
from verifier.formats.key_binding import build_key_binding
from verifier.formats.presentation_request import PresentationRequest, build_presentation_request
from verifier.formats.presentation_response import encrypt_presentation_response

ID = "income_certificate"
SIGNING, KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))


@pytest.fixture(scope="module")
def asked() -> PresentationRequest:
    claims = (ClaimQuery(("subject", "name")), ClaimQuery(("income", "total")))
    return PresentationRequest(
        certificate=make_certificate(SIGNING.public_key(), NOW)[0],
        public_url="https://door.mihon.example",
        id=base64url_encode(bytes(16)),
        nonce=base64url_encode(os.urandom(32)),
        state=base64url_encode(os.urandom(32)),
        query=DcqlQuery((CredentialQuery(ID, (city.VCT,), claims),)),
        encryption_key=KEY.public_key(),
        issued=SECONDS - 60,
        expires=SECONDS + 3600,
    )


def answer(asked: PresentationRequest, *, enc: str = "A256GCM", holder=None, to=None, **changes) -> str:
    """As a holder with our code: the fewest disclosures, bound to the request, encrypted to its key."""
    document = city.document()
    chosen = select_for_query(parse_credential(document.credential.encode()), asked.query.credentials[0])
    shown = chosen.serialise()
    values = {"audience": asked.client_id, "nonce": asked.nonce, "issued": SECONDS} | changes
    binding = build_key_binding(shown, sign=es256_signer(holder or document.holder), **values)
    return encrypt_presentation_response({ID: [(shown + binding).decode()]}, to or asked, enc=enc).decode()


def judge(asked: PresentationRequest, response: str, *, status: str | None = None, now: datetime = NOW):
    """By what a wallet reads of the request, and with the city's root as a stranger would pin it."""
    read = read_request(build_presentation_request(asked, es256_signer(SIGNING)))
    token, roots = status or city.make_status(), [world().certificate("root")]

    def resolve(uri: str):
        chain = load_x5c_chain(parse_jws(token).header["x5c"])
        validate_cert_chain(chain[0], chain[1:], trust_anchors=roots, now=now)
        key = leaf_public_jwk(chain[0])
        return verify_status_list_token(token, public_key_jwk=key, expected_uri=uri, now=now)

    return verify_encrypted_vp_response(
        response,
        key=P256KeyAgreementKey(KEY, asked.kid),
        dcql_query=read["dcql_query"],
        nonce=read["nonce"],
        client_id=read["client_id"],
        now=now,
        x5c_trust_anchors=roots,
        resolve_status_list_token=resolve,
        require_status=True,
        require_holder_binding=True,
    )


@pytest.mark.parametrize("enc", ["A128GCM", "A256GCM"])
def test_openvc_accepts_what_our_code_presents(asked: PresentationRequest, enc: str) -> None:
    said = judge(asked, answer(asked, enc=enc))
    (presented,) = said.for_query(ID)
    claims = presented.credentials[0].claims
    assert claims["income"] == {"total": 3560000} and set(claims["subject"]) == {"name"}
    assert "tax" not in claims


def test_it_is_judged_by_the_time_it_is_told(asked: PresentationRequest) -> None:
    """However long ago that is: an answer of 20 minutes ago holds at that moment, and is too old at ours."""
    before = NOW - timedelta(minutes=20)
    status = city.make_status(issued=before)
    response = answer(asked, issued=int(before.timestamp()))
    assert judge(asked, response, status=status, now=before).for_query(ID)
    with pytest.raises(ClaimsInvalid, match="KB-JWT is too old"):
        judge(asked, response, status=status)


@pytest.mark.parametrize(
    "changes",
    [
        {"audience": "x509_hash:" + "A" * 43},
        {"nonce": base64url_encode(bytes(32))},
        {"issued": SECONDS - 3600},
        {"issued": SECONDS + 3600},
        {"holder": ec.generate_private_key(ec.SECP256R1())},
    ],
    ids=["audience", "nonce", "old", "of the future", "somebody else's phone"],
)
def test_and_refuses_what_is_wrong_in_one_thing(asked: PresentationRequest, changes) -> None:
    with pytest.raises(OpenvcError):
        judge(asked, answer(asked, **changes))


def test_and_the_audience_without_its_prefix(asked: PresentationRequest) -> None:
    with pytest.raises(OpenvcError):
        judge(asked, answer(asked, audience=asked.client_id.removeprefix("x509_hash:")))


def test_and_what_is_revoked_or_encrypted_to_another_key(asked: PresentationRequest) -> None:
    with pytest.raises(OpenvcError):
        judge(asked, answer(asked), status=city.make_status([city.STATUS_INDEX]))
    other = ec.generate_private_key(ec.SECP256R1())
    elsewhere = PresentationRequest(
        **{name: getattr(asked, name) for name in asked.__slots__} | {"encryption_key": other.public_key()}
    )
    with pytest.raises(OpenvcError):
        judge(asked, answer(asked, to=elsewhere))


def test_the_state_is_the_callers_question_for_openvc(asked: PresentationRequest) -> None:
    from openvc.jwe import decrypt_compact

    plain = decrypt_compact(answer(asked), key=P256KeyAgreementKey(KEY, asked.kid))
    assert parse_json(plain)["state"] == asked.state
