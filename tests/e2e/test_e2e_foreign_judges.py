"""What wallets of others got, judged by programs of others, and by `akashi-verify` behind a wallet of others.

The credentials are those that oid4vc-ts collected. @sd-jwt/sd-jwt-vc and openvc-core verify them with the status list that
lies at the street door; @openid4vc/openid4vp presents them to an employer. At the end they are revoked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from cryptography import x509
from joserfc.jwk import ECKey
from openvc.status import CredentialRevoked
from openvc.status.issue import verify_status_list_token
from openvc.verify import VerificationPolicy, verify_credential
from openvc.x5c import leaf_public_jwk, load_x5c_chain, validate_cert_chain

from app.house.setup import ISSUER
from app.sealing.credential import CLEAR
from tests.support.foreign_house import SECONDS, ForeignHouse
from tests.support.node_packages import ForeignError, run_node
from tests.support.running_house import now, wait_for
from tests.support.shared_strings import COMMON_WORDS, all_strings, strings
from verifier.formats.credential import ENVELOPE_CLAIMS, parse_credential, peek_processed
from verifier.formats.dcql import select_for_query
from verifier.formats.encoding import base64url_decode
from verifier.presets import PRESETS, load_preset

pytestmark = pytest.mark.slow

NONCE, AUDIENCE = "n-0S6_WzA2Mj", "https://shoji.example/desk"
IN_THE_CLEAR = {*CLEAR, *ENVELOPE_CLAIMS}
FRAME = {"subject": {"name": True}, "income": {"total": True}}


def status_of(credential: str) -> tuple[str, int]:
    issued = credential.rpartition("~")[0] + "~"  # without the key binding of a presentation
    entry = peek_processed(parse_credential(issued.encode()))["status"]["status_list"]
    return entry["uri"], entry["idx"]


def judge_by_sd_jwt(foreign: ForeignHouse, credential: str, **wish: Any) -> dict[str, Any]:
    status = foreign.fetch(status_of(credential)[0]).decode()
    seconds = int(now().timestamp())
    question = {"do": "verify", "credential": credential, "anchors": foreign.anchors, "status": status}
    return run_node("sd_jwt.mjs", question | {"nonce": None, "aud": None, "now": seconds} | wish)


def judge_by_openvc(foreign: ForeignHouse, credential: str, **policy: Any) -> Any:
    roots = [x509.load_der_x509_certificate(der) for der in foreign.house.trust.content.credential_cas]

    def resolve(uri: str) -> Any:
        token = foreign.fetch(uri).decode()
        chain = load_x5c_chain(json.loads(base64url_decode(token.split(".")[0]))["x5c"])
        validate_cert_chain(chain[0], chain[1:], trust_anchors=roots)
        return verify_status_list_token(token, public_key_jwk=leaf_public_jwk(chain[0]), expected_uri=uri)

    values = {"expected_vct": foreign.house.trust.content.vct[0]} | policy
    return verify_credential(
        credential,
        policy=VerificationPolicy(**values),
        x5c_trust_anchors=roots,
        resolve_status_list_token=resolve,
    )


def present(credential: str, key: Mapping[str, Any]) -> str:
    """By @sd-jwt: name and total income, bound to NONCE and AUDIENCE."""
    question = {
        "do": "present",
        "credential": credential,
        "frame": FRAME,
        "holder": dict(key),
        "nonce": NONCE,
    }
    done = run_node("sd_jwt.mjs", question | {"aud": AUDIENCE, "now": int(now().timestamp())})
    presentation: str = done["presentation"]
    return presentation


@pytest.fixture(scope="module")
def presentation(ten_copies: dict[str, Any]) -> str:
    return present(ten_copies["credentials"][0], ten_copies["keys"][0])


# ---- programs of others ----------------------------------------------------------------------------------------------


def test_sd_jwt_vc_verifies_credential_and_key_binding(
    foreign: ForeignHouse, ten_copies: dict[str, Any], presentation: str
) -> None:
    whole = judge_by_sd_jwt(foreign, ten_copies["credentials"][0])
    assert (whole["claims"]["iss"], whole["status"], whole["kb"]) == (ISSUER, 0, None)
    shown = judge_by_sd_jwt(foreign, presentation, nonce=NONCE, aud=AUDIENCE)
    assert shown["claims"]["income"] == {"total": whole["claims"]["income"]["total"]}
    assert shown["claims"]["subject"] == {"name": whole["claims"]["subject"]["name"]}
    assert "tax" not in shown["claims"]
    with pytest.raises(ForeignError, match="Nonce"):
        judge_by_sd_jwt(foreign, presentation, nonce=NONCE + "x", aud=AUDIENCE)


def test_openvc_verifies_credential_and_presentation(
    foreign: ForeignHouse, ten_copies: dict[str, Any], presentation: str
) -> None:
    whole = judge_by_openvc(foreign, ten_copies["credentials"][1])
    assert (whole.issuer, whole.status.revoked, whole.key_bound) == (ISSUER, False, False)
    bound = {"audience": AUDIENCE, "nonce": NONCE, "require_key_binding": True}
    shown = judge_by_openvc(foreign, presentation, **bound)
    assert shown.key_bound is True
    assert set(shown.claims["income"]) == {"total"} and "tax" not in shown.claims
    thief = present(ten_copies["credentials"][0], ECKey.generate_key("P-256").as_dict(private=True))
    with pytest.raises(Exception, match=r"(?i)signature"):
        judge_by_openvc(foreign, thief, **bound)


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "all"])
def test_two_copies_share_only_what_everybody_of_the_day_shares(
    ten_copies: dict[str, Any], preset: str
) -> None:
    """Issuer, year, day, and what is disclosed of the resident."""
    query = load_preset(preset).query.credentials[0]
    copies = [
        select_for_query(parse_credential(text.encode()), query).serialise()
        for text in ten_copies["credentials"][2:4]
    ]
    claims = [peek_processed(parse_credential(copy)) for copy in copies]
    of_city = ("iss", "vct", "iat", "exp", "document_kind", "fiscal_year", "income_year", "issuing_authority")
    disclosed = set(claims[0]) - set(of_city) - {*ENVELOPE_CLAIMS, "cnf", "status"}
    allowed = strings({member: claims[0][member] for member in (*of_city, *disclosed)})
    allowed |= COMMON_WORDS | {claims[0]["status"]["status_list"]["uri"]}
    shared = all_strings(copies[0]) & all_strings(copies[1])
    assert shared <= allowed, shared - allowed
    # Positive control: a copy shares everything with itself, its key, place and salts among it.
    assert all_strings(copies[0]) - allowed


def test_status_entries_of_a_batch_are_no_neighbours(ten_copies: dict[str, Any]) -> None:
    places = sorted(status_of(text) for text in ten_copies["credentials"])
    assert len(set(places)) == 10
    for (uri, one), (other_uri, other) in pairwise(places):
        assert uri != other_uri or other - one > 1


# ---- an employer -----------------------------------------------------------------------------------------------------


def ask(
    foreign: ForeignHouse, preset: str, ten_copies: dict[str, Any], number: int
) -> tuple[str, dict[str, Any]]:
    """The desk asks, the wallet answers with one of its copies: (result file, what the wallet says)."""
    asked = foreign.verify(*foreign.request_words(preset)).json
    said = foreign.present(asked["request"], ten_copies["credentials"][number], ten_copies["keys"][number])
    assert said["status"] == 200
    return asked["result"], said


@pytest.mark.parametrize("number", range(len(PRESETS)))
def test_a_preset_is_answered_with_what_it_asks_for(
    foreign: ForeignHouse, ten_copies: dict[str, Any], number: int
) -> None:
    preset = list(PRESETS)[number]
    result, said = ask(foreign, preset, ten_copies, number)
    done = foreign.verify(*foreign.result_words(result))
    assert done.code == 0, done
    report = json.loads(done.out)
    assert report["verdict"] == "valid"
    told = {name: value for name, value in report["certificate"].items() if name not in IN_THE_CLEAR}
    assert told == said["shown"], "nothing but what was asked for"
    whole = peek_processed(parse_credential(ten_copies["credentials"][number].encode()))
    assert preset == "all" or whole["certificate_number"] not in done.out


def test_revoked_by_the_number_that_a_copy_says(foreign: ForeignHouse, ten_copies: dict[str, Any]) -> None:
    """The same answer is valid before and not valid after, and each of the ten copies is invalid in its list."""
    places = [status_of(text) for text in ten_copies["credentials"]]
    assert not {index for _, index in places} & foreign.invalid_entries(places[0][0])
    asked = foreign.run_alone("verifier.cli", *foreign.request_words("housing")).json
    foreign.present(asked["request"], ten_copies["credentials"][9], ten_copies["keys"][9])
    before = foreign.run_alone("verifier.cli", *foreign.result_words(asked["result"]))
    assert before.json["verdict"] == "valid"
    number = peek_processed(parse_credential(ten_copies["credentials"][0].encode()))["certificate_number"]
    words = (
        "revoke",
        "--home",
        foreign.house.home.root,
        "--number",
        number,
        "--reason",
        "wrong-figures",
        "--json",
    )
    assert foreign.run_alone("app.cli", *words).json["revoked"] is True

    def is_invalid() -> bool:
        return all(index in foreign.invalid_entries(uri) for uri, index in places)

    wait_for(is_invalid, SECONDS, "the lists that say so", pause=1)
    # Desks keep a list for as long as it says that it may be kept.
    after = wait_for(
        lambda: (said := foreign.verify(*foreign.result_words(asked["result"]))).code == 1 and said,
        SECONDS,
        "a desk that says no",
        pause=1,
    )
    report = json.loads(after.out)
    assert (report["verdict"], report["certificate"]) == ("not-valid", None)
    assert [item["code"] for item in report["findings"] if item["check"] == "status"] == ["revoked"]
    with pytest.raises(ForeignError, match="Status is not valid"):
        judge_by_sd_jwt(foreign, ten_copies["credentials"][5])
    with pytest.raises(CredentialRevoked):
        judge_by_openvc(foreign, ten_copies["credentials"][6])
