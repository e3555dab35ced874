"""Wallets that others wrote collect certificates from the running house: oid4vc-ts in both profiles, Sphereon's client.

The deferred one takes about 20 s: the door lets a wallet wait five seconds before it says "later", and tells it to come
again after five.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from app.errors import CityError
from app.house.foreign_wallet_story import PRESET, SmallWallet
from app.house.people import PASSWORDS
from app.house.setup import ISSUER
from app.registers.resident import Resident
from tests.support.foreign_house import SECONDS, ForeignHouse
from tests.support.foreign_wallet import collect_by_draft_15, make_wallet_maker
from tests.support.form_browser import FormBrowser
from tests.support.node_packages import ForeignError
from tests.support.running_house import wait_for
from verifier.formats.credential import parse_credential, peek_claims
from verifier.formats.jose import parse_jwk, thumbprint

pytestmark = pytest.mark.slow

WALLET = "https://wallet.example/akashi-test"


def check(got: dict[str, Any], count: int) -> None:
    """As many copies as keys, each for its own key."""
    claims = [peek_claims(parse_credential(text.encode())) for text in got["credentials"]]
    keys = [
        thumbprint(parse_jwk({name: key[name] for name in ("crv", "kty", "x", "y")})) for key in got["keys"]
    ]
    assert [thumbprint(claim.holder_key) for claim in claims] == keys
    assert len(set(keys)) == count
    assert {claim.all["iss"] for claim in claims} == {ISSUER}


def calls_to(got: dict[str, Any], end_point: str) -> list[dict[str, Any]]:
    return [call for call in got["calls"] if call["url"].endswith("/" + end_point)]


# ---- pre-authorized ----------------------------------------------------------------------------------------------


def test_an_offer_of_the_command_and_a_bearer_token(foreign: ForeignHouse, resident: Resident) -> None:
    said = foreign.run_alone("app.cli", *foreign.offer_words(resident))
    offer = said.json
    assert len(offer["tx_code"]) == 6 and offer["offer"].startswith(
        "openid-credential-offer://?credential_offer="
    )
    got = foreign.collect(offer)
    check(got, 1)
    assert got["version"] == "V1"  # OpenID4VCI 1.0, not a draft
    assert (got["token_type"], got["token_members"]) == (
        "Bearer",
        ["access_token", "expires_in", "token_type"],
    )
    assert got["notification"]["status"] == 204


def test_by_reference_and_encrypted_both_ways(foreign: ForeignHouse, resident: Resident) -> None:
    offer = foreign.offer(resident, "--reference")
    assert "credential_offer_uri=" in offer["offer"] and "credential_offer=" not in offer["offer"]
    got = foreign.collect(offer, batch=2, request_encryption=True, response_encryption=True)
    check(got, 2)
    assert [call["encrypted"] for call in calls_to(got, "credential")] == [[True, True]]


def test_ten_copies_with_a_token_bound_to_a_key(ten_copies: dict[str, Any]) -> None:
    check(ten_copies, 10)
    assert ten_copies["token_type"] == "DPoP"
    assert all(call["dpop"] for call in calls_to(ten_copies, "token") + calls_to(ten_copies, "credential"))
    assert ten_copies["notification"]["status"] == 204


def test_a_city_that_is_late(foreign: ForeignHouse, resident: Resident) -> None:
    """First nobody of the city is there (the door answers for it), then the log is not (the city answers)."""
    offer = foreign.offer(resident)
    door = foreign.house.door
    with ThreadPoolExecutor(1) as pool, door.recording() as seen:

        def later(end_point: str) -> bool:
            return any(
                call.path.endswith("/" + end_point) and said.status == 202 for call, said in list(seen)
            )

        with foreign.standing_still("log") as log_goes_on:
            with foreign.standing_still("worker"):
                wallet = pool.submit(foreign.collect, offer, batch=3)
                wait_for(lambda: later("credential") or wallet.done(), SECONDS, "a 202 of the door")
            wait_for(lambda: later("deferred_credential") or wallet.done(), SECONDS, "a 202 of the city")
            log_goes_on()
            got = wallet.result(SECONDS)
    check(got, 3)
    assert [call["status"] for call in calls_to(got, "credential")] == [202]
    assert got["polls"] >= 2
    # left out of deferred answers: oid4vc-ts up to 0.5.1 refuses them with it
    assert got["notification"] is None


def test_a_draft_with_one_singular_proof(foreign: ForeignHouse, resident: Resident) -> None:
    """Sphereon's client; it also looks for the metadata behind the path, as old drafts did."""
    offer = foreign.offer(resident)
    got = collect_by_draft_15(offer["offer"], foreign.base, tx_code=offer["tx_code"])
    check(got, 1)
    assert got["version"] == "1015"
    with pytest.raises(ForeignError, match="400"):
        collect_by_draft_15(offer["offer"], foreign.base, tx_code=offer["tx_code"])


# ---- authorization code ------------------------------------------------------------------------------------------


def test_login_attestations_and_encryption(foreign: ForeignHouse, login_card: Path) -> None:
    """P2 in full. What the wallet reads of the issuer is signed, by a chain to the trust list's root."""
    got = foreign.collect_after_login(login_card, batch=3, anchors=foreign.anchors)
    check(got, 3)
    assert got["signed_metadata"] is True and got["metadata"]["credential_issuer"] == f"{ISSUER}/haip"
    assert (got["grant"], got["token_type"]) == ("authorization_code", "DPoP")
    assert [(call["status"], call["dpop"]) for call in calls_to(got, "par")] == [(201, True)]
    assert [call["encrypted"] for call in calls_to(got, "credential")] == [[True, True]]
    assert got["notification"]["status"] == 204


def test_one_proof_is_one_credential(foreign: ForeignHouse, login_card: Path) -> None:
    """An attestation that names three keys proves possession of none but the one that signed."""
    got = foreign.collect_after_login(login_card, batch=3, one_proof=True)
    assert len(got["credentials"]) == 1
    check(got | {"keys": got["keys"][:1]}, 1)


def test_signed_metadata_by_the_root_of_somebody_else_is_no_metadata(
    foreign: ForeignHouse, login_card
) -> None:
    stranger = make_wallet_maker().root
    with pytest.raises(ForeignError, match="signed credential issuer metadata"):
        foreign.collect_after_login(login_card, anchors=[stranger.public_bytes(Encoding.PEM).decode()])


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        ({"provider": make_wallet_maker().provider}, "invalid_client"),
        ({"attest_client": False}, "invalid_client"),
        ({"attest_redirect": False}, "invalid_request"),
        ({"response_encryption": False}, "invalid_encryption_parameters"),
    ],
    ids=["maker-nobody-knows", "no-wallet-attestation", "address-nobody-vouches-for", "no-encryption"],
)
def test_what_profile_p2_does_not_do_without(
    foreign: ForeignHouse, login_card: Path, wish: dict[str, Any], error: str
) -> None:
    with pytest.raises(ForeignError) as caught:
        foreign.collect_after_login(login_card, **wish)
    said = caught.value.answer["response"]
    assert said["error"] == error
    assert " " in said["error_description"]


def test_the_metadata_says_that_keys_are_attested_and_the_library_keeps_to_it(
    foreign: ForeignHouse, login_card: Path
) -> None:
    with pytest.raises(ForeignError, match="requires key attestations"):
        foreign.collect_after_login(login_card, attest_keys=False)


def test_who_does_not_agree_gets_nothing(foreign: ForeignHouse, login_card: Path) -> None:
    def cancel(screen: FormBrowser) -> None:
        screen.send(choice="cancel")
        while screen.reached is None:
            screen.follow_link()

    with pytest.raises(ForeignError) as caught:
        foreign.collect_after_login(login_card, cancel)
    assert caught.value.answer["response"]["error"] == "access_denied"
    assert PASSWORDS.signature not in str(caught.value.answer)


# ---- the wallet of `make demo` -----------------------------------------------------------------------------------


def test_the_small_wallet_of_the_demo_collects_and_answers(foreign: ForeignHouse, resident: Resident) -> None:
    """Encrypted both ways; the employer learns what the preset asks for and nothing else."""
    offer, wallet = foreign.offer(resident, "--copies", 2), SmallWallet(foreign.house.base_url)
    wallet.collect(offer["offer"], offer["tx_code"], 2)
    assert len({credential for credential, _ in wallet.held}) == 2
    asked = foreign.verify(*foreign.request_words(PRESET)).json
    wallet.present(asked["request"])
    told = foreign.verify(*foreign.result_words(asked["result"])).json["certificate"]
    assert told["income_at_most"] == {"1300000": True}
    assert set(told["subject"]) == {"name"} and not {"income", "tax", "dependants"} & set(told)
    # The desk has what it asked for and took the request from the door.
    with pytest.raises(CityError, match="404"):
        wallet.present(asked["request"])
