"""The scene of an attack by the street door: who attacks, what passed, what phones believed, and the four questions.

scene.check(holder)     did the door read anything · is anything bound or sealed that no card authorised · did a phone
                        believe what the city never said · is a bundle on a phone somebody else's
"""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import mobile_api.phone_correspondence as phone_client
from app.house.setup import CITY
from app.registers.gate import METADATA_REQUEST
from mobile_api.client import Phone
from mobile_api.messages import (
    CityAnswer,
    DeviceBody,
    DeviceRequest,
    Refused,
    build_answer,
    build_device_request,
    new_message_id,
    open_answer,
    parse_statement,
    seal_answer,
    seal_envelope,
    verify_answer,
)
from tests.support.hostile_door import (
    Behaviour,
    Call,
    Forward,
    Said,
    change_list,
    is_answers,
    is_inbox,
)
from tests.support.running_house import (
    Holder,
    RunningHouse,
    certificate_of,
    judge,
    now,
)
from verifier.errors import AkashiVerifierError, FormatError
from verifier.formats.bundle import parse_bundle
from verifier.formats.credential import parse_credential, peek_claims
from verifier.formats.encoding import (
    base64_encode,
    base64url_encode,
    canonical_json,
)
from verifier.formats.jose import agreement, es256_signer, thumbprint
from verifier.formats.package import open_package
from verifier.report import Verdict

LIE = Refused(
    "card-certificate-revoked", "電子証明書が失効しています。", "The certificate was revoked.", False
)
QUICK: dict[str, Any] = {"attempts": 2, "sleep": lambda seconds: time.sleep(min(seconds, 0.05))}


@dataclass
class Operator:
    """Who runs the door: every key an operator can make, none of the city's, of a phone's or of a card's."""

    city_key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    signing: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    encryption: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    account: str = field(default_factory=lambda: new_message_id(os.urandom))

    @property
    def keys(self) -> list[ec.EllipticCurvePrivateKey]:
        return [self.city_key, self.signing, self.encryption]

    def open(self, data: bytes) -> bytes | None:
        """What of a package the operator can read."""
        for key in self.keys:
            with suppress(AkashiVerifierError):
                return open_package(data, thumbprint(key.public_key()), agreement(key)).plaintext
        return None

    def answer(
        self, phone: Phone, in_reply_to: str | None, sequence: int, body: Any, *, kid: str | None = None
    ) -> bytes:
        """An answer that looks like the city's, sealed to the phone (generously: the door knows its key)."""
        made = CityAnswer(
            CITY, phone.account or "", in_reply_to, sequence, now().replace(microsecond=0), body
        )
        message = build_answer(
            made, kid or thumbprint(self.city_key.public_key()), es256_signer(self.city_key)
        )
        return seal_answer(message, phone._home.encryption_key.public_key(), os.urandom)

    def envelope(
        self, house: RunningHouse, body: DeviceBody, *, account: str = "", message_id: str = ""
    ) -> bytes:
        """A message of the operator's own device to the city."""
        wire = DeviceRequest(
            CITY,
            account or self.account,
            message_id or new_message_id(os.urandom),
            now().replace(microsecond=0),
            body,
        )
        signed = build_device_request(wire, thumbprint(self.signing.public_key()), es256_signer(self.signing))
        return seal_envelope(signed, house.trust.content.envelope_key, os.urandom)


@dataclass
class Scene:
    """The house under attack, everything that passed the door, and everything phones believed."""

    house: RunningHouse
    records: list[tuple[Call, Said]]
    operator: Operator = field(default_factory=Operator)
    believed: list[CityAnswer] = field(default_factory=list)
    # What other files of the shared house had asked for before the attack, with cards that nobody here watched.
    before: frozenset[tuple[Any, ...]] = frozenset()

    def __post_init__(self) -> None:
        self.before = frozenset(unauthorised(self.worker_rows, self.house.witnessed))

    def holder(self) -> Holder:
        return self.house.holder(**QUICK)

    def check(self, *holders: Holder, since: int = 0) -> None:
        """The four questions."""
        assert self.plaintexts(since) == [], "the door read something"
        gained = set(unauthorised(self.worker_rows, self.house.witnessed)) - self.before
        assert gained == set(), "something no card authorised"
        assert self.false_beliefs(*holders) == [], "a phone believed what the city never said"
        for holder in holders:
            assert somebody_elses(holder) == [], "a phone holds somebody else's bundle"

    def worker_rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.house.rows("worker", query)

    def plaintexts(self, since: int = 0) -> list[bytes]:
        """Everything the operator can read of what passed."""
        found = []
        for call, said in self.records[since:]:
            for data in (*_packages(call.body), *_packages(said.body)):
                plain = self.operator.open(data)
                if plain is not None and not self.is_refusal_to_operator(plain):
                    found.append(plain)
        return found

    def is_refusal_to_operator(self, plain: bytes) -> bool:
        """The city's no to what the operator asked for under its own account: no gain."""
        key = self.house.trust.content.statement_key
        try:
            answer = verify_answer(plain, {thumbprint(key): key})
        except FormatError:
            return False
        return answer.account == self.operator.account and isinstance(answer.body, Refused)

    def false_beliefs(self, *holders: Holder) -> list[CityAnswer]:
        """Answers that these phones took into their state and the city never sent."""
        wrong = []
        for holder in holders:
            said = self.said_by_the_city(holder.phone)
            wrong += [a for a in self.believed if a.account == holder.phone.account and a not in said]
        return wrong

    def said_by_the_city(self, phone: Phone) -> list[CityAnswer]:
        """What the city put for this account, as it left the city."""
        key = self.house.trust.content.statement_key
        keys, kid = {thumbprint(key): key}, thumbprint(phone._home.encryption_key.public_key())
        found = []
        for call, _ in list(self.records):
            if call.method == "PUT" and call.path.startswith(f"/city/answers/{phone.account}/"):
                with suppress(FormatError):
                    message = open_answer(call.body, kid, agreement(phone._home.encryption_key))
                    found.append(verify_answer(message, keys))
        return found


def unauthorised(
    rows: Callable[[str], Sequence[Sequence[Any]]], cards: Sequence[Any]
) -> list[tuple[Any, ...]]:
    """Accounts and certificates in a worker's store that no card's signature speaks for."""
    registered = {parse_statement(data.decode()) for card in cards for data, _ in card.documents}
    asked = {parse_statement(data.decode()) for card in cards for data, _ in card.authentications}
    devices = {(s.signing_key, s.encryption_key) for s in registered if s.purpose == "register"}
    wishes = {(s.signing_key, s.encryption_key, s.request_digest) for s in asked if s.purpose == "request"}
    accounts = rows("SELECT signing_thumbprint, encryption_thumbprint, account FROM accounts")
    requests = rows(
        "SELECT a.signing_thumbprint, a.encryption_thumbprint, r.body_hash, r.request_id FROM requests r"
        " JOIN accounts a ON a.account = r.account"
    )
    return [
        *(("account", *row) for row in accounts if (row[0], row[1]) not in devices),
        *(("request", *row) for row in requests if (row[0], row[1], row[2]) not in wishes),
    ]


def sealed_without_request(house: RunningHouse) -> list[str]:
    """Seals in the signer's audit and the gate's store that belong to no request of the worker's store."""
    known = {row[0] for row in house.rows("worker", "SELECT request_id FROM requests")}
    # An offer to a wallet is authorised when it is made, and becomes a request when a wallet comes.
    offered = {row[0] for row in house.rows("worker", "SELECT request_id FROM wallet_grants")}
    documents = set(house.rows("worker", "SELECT request_id, certificate_id FROM certificates"))
    documents |= set(house.rows("worker", "SELECT request_id, copy_id FROM copies"))
    wrong = []
    for event in house.audit():
        is_seal = event.get("op") == "sign" and event["purpose"] in ("page_seal", "credential")
        is_seal = is_seal and event["request_id"] != METADATA_REQUEST
        if is_seal and (event["request_id"], event["serial"]) not in documents:
            wrong.append(event["request_id"])
    opened = {row[0] for row in house.rows("gate", "SELECT request_id FROM authorised_requests")}
    return wrong + sorted((opened - offered) ^ (known - offered))


def somebody_elses(holder: Holder) -> list[str]:
    """Bundles on this phone that are not this resident's, not bound to this phone, or not sound."""
    wrong = []
    for request in holder.phone.requests():
        if request["state"] != "fetched":
            continue
        bundle = holder.phone.open(request["id"])
        subject = certificate_of(bundle)["subject"]
        bound = peek_claims(parse_credential(parse_bundle(bundle).credential)).holder_key
        if (subject["name"], subject["birthdate"]) != (
            holder.resident.name,
            holder.resident.birthdate.isoformat(),
        ):
            wrong.append("another person")
        if thumbprint(bound) != holder.phone.signing_thumbprint:
            wrong.append("another key")
        if judge(holder.house, bundle).verdict is not Verdict.VALID:
            wrong.append("not valid")
    return wrong


def _packages(data: bytes) -> Iterator[bytes]:
    """Whatever in a body may be a package: the body, the items of a list, what stands behind a mail's first line."""
    if data[:1] != b"{":
        return
    yield data
    if b"\n" in data[:1100]:
        yield data.split(b"\n", 1)[1]
    with suppress(ValueError, TypeError, AttributeError):
        for name in ("answers", "messages"):
            for item in json.loads(data).get(name, ()):
                yield base64.b64decode(item["body"])


def watched_scene(house: RunningHouse) -> Iterator[Scene]:
    """The body of a fixture: everything that passes the door is kept, and every answer a phone believes."""
    patch = pytest.MonkeyPatch()
    with house.door.recording() as records:
        made = Scene(house, records)
        apply = phone_client.apply_answer

        def witness(answer: CityAnswer, state: dict[str, Any]) -> None:
            made.believed.append(answer)
            apply(answer, state)

        patch.setattr(phone_client, "apply_answer", witness)
        try:
            yield made
        finally:
            patch.undo()


def message_of(phone: Phone, kind: str) -> str:
    """The newest message of a kind that this phone sent (the attacker is told: a real door would have to guess)."""
    return [m for m, entry in phone._state["messages"].items() if entry["kind"] == kind][-1]


def items(*bodies: bytes) -> list[dict[str, Any]]:
    # A number of the door's choice moves the phone's cursor; 0 leaves it, so that the attack can go on.
    return [{"body": base64_encode(body), "n": 0} for body in bodies]


def prepend(bodies: Callable[[], list[bytes]]) -> Behaviour:
    """Hand these answers to every phone, before the genuine ones."""

    def behave(call: Call, forward: Forward) -> Said:
        said = forward(call)
        if is_answers(call):
            return change_list(said, "answers", lambda genuine: [*items(*bodies()), *genuine])
        return said

    return behave


class Replayer:
    """Every envelope it ever saw goes to the city again and again: under its account, under others', backwards."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, str]] = []
        self.extra: list[tuple[str, bytes]] = []
        self.delivered = 0

    def __call__(self, call: Call, forward: Forward) -> Said:
        said = forward(call)
        if not is_inbox(call) or said.status != 200:
            return said
        genuine = said.json()["messages"]
        self.bodies += [(item["account"], item["body"]) for item in genuine]
        accounts = sorted({account for account, _ in self.bodies})
        again = [(account, body) for account, body in reversed(self.bodies)]
        others = [(other, body) for account, body in self.bodies for other in accounts if other != account]
        own = [(account, base64_encode(body)) for account, body in self.extra]
        self.extra = []
        made = [
            {
                "account": account,
                "body": body,
                "id": new_message_id(os.urandom),
                "received": "2026-11-20T00:00Z",
            }
            for account, body in (own + again + others)[:50]
        ]
        self.delivered += len(made)
        return said.with_json({"messages": [*made, *reversed(genuine)][:64]})


def forged_nonces() -> Behaviour:
    def behave(call: Call, forward: Forward) -> Said:
        if call.path == "/v1/nonces":
            return Said(200, canonical_json({"nonces": [base64url_encode(os.urandom(24))]}))
        return forward(call)

    return behave


def scene_nonce(scene: Scene) -> str:
    """A nonce of the city, out of the door's own store: the operator needs no phone to get one."""
    connection = sqlite3.connect(scene.house.home.store_path("door"), timeout=20, isolation_level=None)
    try:
        row = connection.execute(
            "DELETE FROM nonces WHERE position = (SELECT min(position) FROM nonces) RETURNING nonce"
        ).fetchone()
    finally:
        connection.close()
    return str(row[0])


def forward_as(scene: Scene, holder: Holder, call: Call) -> Said:
    """What lies in the door's store for this account, whoever asks."""
    found = scene.house.rows(
        "door",
        "SELECT answer_number, body FROM answers WHERE account = ? ORDER BY answer_number",
        holder.phone.account,
    )
    time.sleep(0.2)
    return Said(
        200, canonical_json({"answers": [{"body": base64_encode(bytes(body)), "n": n} for n, body in found]})
    )
