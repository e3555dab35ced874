"""What a wallet or script that does wrong is told: the protocol's own code and a sentence that a person understands.

By oid4vc-ts against the running house, each beside an offer that would have been good. And who gets no offer at all.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from app.cli import main as akashi
from app.counterparts.jpki.authority import MockJpki
from app.counterparts.jpki.card import SoftwareCard
from app.counterparts.jpki.issuing import issue_card
from app.house.people import PASSWORDS
from app.registers.card_attributes import card_attributes
from app.registers.resident import Resident
from tests.support.foreign_house import ForeignHouse
from tests.support.foreign_wallet import PRE_AUTHORIZED
from tests.support.node_packages import ForeignError
from tests.support.running_house import now
from verifier.formats.encoding import base64url_encode

pytestmark = pytest.mark.slow

MAX_ATTEMPTS = 5


@pytest.fixture(scope="module")
def used(foreign: ForeignHouse, resident: Resident) -> dict[str, Any]:
    """A wallet that did everything right: {offer, got}."""
    offer = foreign.offer(resident)
    return {"offer": offer, "got": foreign.collect(offer)}


@contextmanager
def told(error: str, words: str) -> Iterator[None]:
    """The wallet is told `error` with a sentence that has `words` in it."""
    with pytest.raises(ForeignError) as caught:
        yield
    said = caught.value.answer.get("response")
    assert said is not None, caught.value.answer
    assert said["error"] == error
    assert words in said["error_description"], said
    assert len(said["error_description"].split()) > 2, "a sentence, not a code"


# ---- codes ------------------------------------------------------------------------------------------------------------


def test_the_right_tx_code_comes_too_late_after_five_wrong_ones(
    foreign: ForeignHouse, resident: Resident
) -> None:
    offer = foreign.offer(resident)
    for number in range(1, MAX_ATTEMPTS + 1):
        with told("invalid_grant", "tx_code is wrong"):
            foreign.collect(offer, tx_code=f"{(int(offer['tx_code']) + number) % 1_000_000:06d}")
    with told("invalid_grant", "used"):
        foreign.collect(offer)


def test_a_used_offer(foreign: ForeignHouse, used: dict[str, Any]) -> None:
    with told("invalid_grant", "used"):
        foreign.collect(used["offer"])


def test_an_offer_that_is_over(foreign: ForeignHouse, resident: Resident) -> None:
    """Twenty minutes pass for one offer: its row at the door is moved, since nobody can move the house's clock."""
    offer = foreign.offer(resident)
    content = json.loads(parse_qs(urlsplit(offer["offer"]).query)["credential_offer"][0])
    code = content["grants"][PRE_AUTHORIZED]["pre-authorized_code"]
    digest = base64url_encode(hashlib.sha256(code.encode()).digest())
    with closing(sqlite3.connect(foreign.house.home.store_path("door"), timeout=20)) as store, store:
        moved = store.execute(
            "UPDATE wallet_offers SET expires_minute = expires_minute - 1200 WHERE code_hash = ?", (digest,)
        )
        assert moved.rowcount == 1
    with told("invalid_grant", "expired"):
        foreign.collect(offer)


# ---- nonce, token, notification -----------------------------------------------------------------------------------------


def test_a_nonce_again_and_then_a_new_one(
    foreign: ForeignHouse, resident: Resident, used: dict[str, Any]
) -> None:
    with told("invalid_nonce", "fetch a new one"):
        foreign.collect(foreign.offer(resident), nonce=used["got"]["nonce"])
    with told("invalid_proof", "proof"):
        foreign.collect(foreign.offer(resident), nonces=False)


def test_a_token_bound_to_a_key_shown_as_a_bearer_token(foreign: ForeignHouse, resident: Resident) -> None:
    with told("invalid_token", "bound to a key"):
        foreign.collect(foreign.offer(resident), dpop=True, show_bearer=True)


def test_a_notification_of_another_grant(
    foreign: ForeignHouse, resident: Resident, used: dict[str, Any]
) -> None:
    other = used["got"]["notification"]["id"]
    with told("invalid_notification_id", "notification"):
        foreign.collect(foreign.offer(resident), notification_id=other)


# ---- no offer at all -----------------------------------------------------------------------------------------


def refused(foreign: ForeignHouse, who: Resident, code: str, *act: str) -> None:
    """Exit 1, nothing on stdout, and what to do."""
    said = foreign.run(akashi, foreign.offer_words(who, "--timeout", 60))
    assert (said.code, said.out) == (1, ""), said
    assert f"[{code}]" in said.err, said
    assert any(word in said.err for word in act), said


def test_offers_without_a_person_exist_in_a_demo_only(
    foreign: ForeignHouse, resident: Resident, tmp_path: Path
) -> None:
    words = foreign.offer_words(resident)
    said = foreign.run_alone("app.cli", *words, AKASHI_PROFILE="production")
    assert (said.code, said.out) == (2, "")
    assert "本番では使えません" in said.err and "demo-only" in said.err
    words[words.index("--home") + 1] = str(tmp_path)
    said = foreign.run(akashi, words)
    assert (said.code, said.out) == (2, "") and "not-a-demo" in said.err
    assert not list(tmp_path.iterdir())


def test_a_card_suspended_revoked_or_beyond_what_anybody_can_say(foreign: ForeignHouse) -> None:
    """One card in turn: in order, while nobody can say, suspended, lifted, revoked."""
    house, who = foreign.house, foreign.house.take_resident()
    assert foreign.offer(who)["tx_code"]
    with SoftwareCard(house.home.offers(who.resident_id) / "card.json") as card:
        identifier = card.card_id
    house.kill("jpki")
    try:
        refused(foreign, who, "card-status-unverifiable", "しばらくしてから")
    finally:
        house.restart("jpki")
    authority = MockJpki(house.home.jpki, now=now())
    authority.revoke(identifier, "suspension", now=now())
    refused(foreign, who, "card-certificate-revoked", "窓口")
    authority.issued.resume(identifier)
    assert foreign.offer(who)["tx_code"]
    authority.revoke(identifier, "loss", now=now())
    refused(foreign, who, "card-certificate-revoked", "窓口")


def test_an_expired_card(foreign: ForeignHouse) -> None:
    house, who = foreign.house, foreign.house.take_resident()
    path = house.home.offers(who.resident_id) / "card.json"
    path.parent.mkdir(parents=True, mode=0o700)
    past = now() - timedelta(days=40)
    issue_card(
        MockJpki(house.home.jpki, now=now()), card_attributes(who), path, PASSWORDS.signature,
        PASSWORDS.authentication, now=past, not_after=past + timedelta(days=30), holder=who.resident_id,
    )  # fmt: skip
    refused(foreign, who, "card-certificate-expired", "更新")
