"""Our credential, presentation and status list for the npm packages @sd-jwt/*, and a presentation of theirs for us.

They are lenient where the tests say so (version 0.19): they check no `aud`, and take disclosures that no digest names.
Where they are, `openvc-core` is asked as well (`test_openvc_interop`).
"""

from __future__ import annotations

import base64
import functools
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.jwk import ECKey

from tests.support import foreign_world as city
from tests.support.foreign_world import AUDIENCE, NONCE, SECONDS, with_one_byte_changed
from tests.support.node_packages import ForeignError, run_node
from verifier.errors import FormatError
from verifier.formats.credential import parse_credential, peek_claims, peek_processed
from verifier.formats.encoding import base64url_encode
from verifier.formats.key_binding import parse_key_binding, presentation_hash


def judge(credential, *, status=None, nonce=None, aud=None, now=SECONDS, anchors=None):
    question = {
        "do": "verify",
        "credential": credential,
        "anchors": city.anchor_pems() if anchors is None else anchors,
        "status": status or city.make_status(),
        "nonce": nonce,
        "aud": aud,
        "now": now,
    }
    return run_node("sd_jwt.mjs", question)


refused = functools.partial(pytest.raises, ForeignError)


def test_the_credential_is_verified_and_every_disclosure_read():
    answer = judge(city.document().credential)
    ours = peek_processed(parse_credential(city.document().credential.encode()))
    assert answer["claims"] == ours
    assert answer["claims"]["income"]["total"] == 3560000
    assert answer["header"]["typ"] == "dc+sd-jwt"
    assert answer["status"] == 0


@pytest.mark.parametrize("part", ["header", "payload", "signature"])
def test_one_byte_of_the_signed_part_changed(part):
    credential = city.document().credential
    pieces = credential.split("~")[0].split(".")
    place = {"header": 12, "payload": len(pieces[0]) + 200, "signature": credential.index("~") - 20}[part]
    with refused():
        judge(with_one_byte_changed(credential, place))


def test_a_disclosure_that_no_digest_names_shows_nothing():
    """@sd-jwt 0.19 does not refuse it, against RFC 9901 section 7.1 step 5; at least it adds no claim. openvc refuses."""
    forged = base64url_encode(json.dumps(["AAAAAAAAAAAAAAAAAAAAAA", "bonus", 1]).encode())
    answer = judge(city.document().credential + forged + "~")
    assert "bonus" not in answer["claims"]


def test_a_changed_disclosure_is_not_read_as_what_it_says():
    """The same leniency: the claim is missing from what the library gives out, and no error is raised."""
    credential = city.document().credential
    disclosures = credential.split("~")[1:-1]
    changed = next(d for d in disclosures if '"title"' in _decoded(d))
    forged = base64url_encode(_decoded(changed).replace("課税", "非課税").encode())
    answer = judge(credential.replace(changed, forged))
    assert "title" not in answer["claims"]


def test_a_certificate_of_somebody_else_is_no_issuer():
    with refused(match="does not lead to an anchor"):
        judge(city.document().credential, anchors=[])


def test_expired_by_one_second():
    credential = city.make_document(city.make_data(days=0)).credential
    last = peek_claims(parse_credential(credential.encode())).expires
    assert judge(credential, now=last)["status"] == 0
    with refused(match="JWT is expired"):
        judge(credential, now=last + 1)


def test_revoked():
    revoked = city.make_status([city.STATUS_INDEX])
    with refused(match="Status is not valid"):
        judge(city.document().credential, status=revoked)
    assert judge(city.document().credential, status=city.make_status([city.STATUS_INDEX + 1]))["status"] == 0


def test_a_status_list_signed_by_nobody_of_the_city():
    status = city.make_status([city.STATUS_INDEX])
    with refused(match="Status List JWT verification failed"):
        judge(city.document().credential, status=with_one_byte_changed(status, len(status) - 20))


def test_the_status_list_is_unpacked_entry_by_entry():
    chosen = [0, 7, 8, 1234, city.STATUS_SIZE - 1]
    answer = run_node("sd_jwt.mjs", {"do": "entries", "status": city.make_status(chosen)})
    assert answer == {"bits": 1, "size": city.STATUS_SIZE, "set": chosen}


def test_a_presentation_bound_by_our_phone():
    shown = city.document().present(("income", "total"), ("subject", "name"))
    answer = judge(shown, nonce=NONCE, aud=AUDIENCE)
    assert answer["kb"]["payload"]["aud"] == AUDIENCE
    assert answer["claims"]["income"] == {"total": 3560000}
    assert set(answer["claims"]["subject"]) == {"name"}
    assert "tax" not in answer["claims"] and "page_digest" not in answer["claims"]


def test_presentations_that_are_not_for_this_request():
    document = city.document()
    with refused(match="Invalid Nonce"):
        judge(document.present(nonce=NONCE + "x"), nonce=NONCE, aud=AUDIENCE)
    # checked by the caller: the library does not look at aud
    with refused(match="aud is another"):
        judge(document.present(audience=AUDIENCE + "x"), nonce=NONCE, aud=AUDIENCE)
    with refused(match="Signature"):
        judge(document.present(holder=ec.generate_private_key(ec.SECP256R1())), nonce=NONCE, aud=AUDIENCE)
    with refused(match="Key Binding JWT not exist"):
        judge(document.credential, nonce=NONCE, aud=AUDIENCE)


def test_a_binding_moved_to_a_wider_selection():
    narrow, wide = city.document().present(("income", "total")), city.document().credential
    with refused(match="sd_hash"):
        judge(wide + narrow.split("~")[-1], nonce=NONCE, aud=AUDIENCE)


def test_a_presentation_of_a_foreign_wallet_is_read_by_our_verifier():
    document = city.document()
    question = {
        "do": "present",
        "credential": document.credential,
        "frame": {"income": {"total": True}, "subject": {"name": True}},
        "holder": ECKey.import_key(document.holder).as_dict(private=True),
        "nonce": NONCE,
        "aud": AUDIENCE,
        "now": SECONDS,
    }
    presentation = run_node("sd_jwt.mjs", question)["presentation"].encode()
    shown, _, binding = presentation.rpartition(b"~")
    claims = peek_claims(parse_credential(shown + b"~"))
    bound = parse_key_binding(binding)
    bound.jws.verify(claims.holder_key)
    assert bound.sd_hash == presentation_hash(shown + b"~")
    assert (bound.audience, bound.nonce) == (AUDIENCE, NONCE)
    assert claims.all["income"] == {"total": 3560000} and "tax" not in claims.all
    with pytest.raises(FormatError):
        bound.jws.verify(ec.generate_private_key(ec.SECP256R1()).public_key())


def _decoded(disclosure):
    return base64.urlsafe_b64decode(disclosure + "=" * (-len(disclosure) % 4)).decode()
