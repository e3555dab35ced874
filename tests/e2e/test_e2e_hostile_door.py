"""The street door turns hostile: it swaps, forges, replays, re-orders, invents, withholds, asks by itself.

Every attack runs against the whole house (real phones, real city) and ends in the same four questions (`Scene.check`):
did the door read anything, is anything sealed or bound that no card authorised, did a phone believe what the city never
said, is a bundle on a phone somebody else's. Each has its control: a phone or a city whose one check is broken, on
purpose, must be caught by the same questions. Afterwards the honest way works: delay is all that was gained.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import mobile_api.phone_correspondence as phone_client
from mobile_api.client import Phone
from mobile_api.door_client import DoorClient, ProofKey, UrllibTransport
from mobile_api.errors import (
    CityRefused,
    DoorDistrusted,
    PhoneError,
)
from mobile_api.messages import (
    PackageReady,
    Progress,
    Registered,
)
from tests.support.hostile_door import (
    Behaviour,
    Call,
    Forward,
    Said,
    account_of,
    body_of,
    change_list,
    is_answers,
    is_package,
)
from tests.support.hostile_scene import (
    LIE,
    Scene,
    _packages,
    forged_nonces,
    message_of,
    prepend,
)
from tests.support.running_house import (
    Holder,
    now,
)
from verifier.formats.encoding import (
    base64url_encode,
    sha256,
)
from verifier.formats.jose import Jws, es256_signer, thumbprint
from verifier.formats.names import BUNDLE_TYPE
from verifier.formats.package import pack


@contextmanager
def believing_everything(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A broken phone: it takes any key for the city's and never looks at a signature."""
    genuine = phone_client.verify_answer

    class AnyKey(dict[str, Any]):
        def get(self, _name: object, _default: object = None) -> object:
            return object()

    with monkeypatch.context() as patch:
        patch.setattr(Jws, "verify", lambda _self, _key: None)
        patch.setattr(phone_client, "verify_answer", lambda data, _keys: genuine(data, AnyKey()))
        yield


# ---- answers: forged, stolen, old, out of order ------------------------------------------------------------


def forgeries(scene: Scene, phone: Phone, kind: str) -> list[bytes]:
    """Everything a door can say in the city's place about this phone's newest message of a kind."""
    operator, message = scene.operator, message_of(phone, kind)
    city = thumbprint(scene.house.trust.content.statement_key)
    package = pack(b"x", [phone._home.encryption_key.public_key()], content_type=BUNDLE_TYPE)
    bodies = [
        LIE,
        Progress("r" * 22, "logged"),
        PackageReady("r" * 22, "p" * 32, sha256(package)),
        Registered(),
    ]
    made = [operator.answer(phone, message, 500 + n, body) for n, body in enumerate(bodies)]
    made += [operator.answer(phone, message, 600 + n, body, kid=city) for n, body in enumerate(bodies)]
    return [*made, operator.answer(phone, None, 700, LIE), operator.answer(phone, "A" * 22, 701, LIE)]


def test_forged_answers_are_not_believed(scene: Scene) -> None:
    holder = scene.holder()
    with scene.house.door.behaving(prepend(lambda: forgeries(scene, holder.phone, "register"))):
        holder.register()
    request = holder.request("forged")
    with scene.house.door.behaving(prepend(lambda: forgeries(scene, holder.phone, "request_certificate"))):
        stages = holder.wait(request)
        holder.phone.fetch_package(request)
    assert stages[-1] == "ready"
    assert {"unknown-city-key", "bad-signature"} <= set(holder.phone.distrusted)
    scene.check(holder)


def test_control_a_phone_that_checks_no_signature_is_caught(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = scene.holder().register()
    request = holder.request("believed")
    with (
        believing_everything(monkeypatch),
        scene.house.door.behaving(prepend(lambda: forgeries(scene, holder.phone, "request_certificate"))),
        pytest.raises(CityRefused),
    ):
        holder.wait(request)
    with pytest.raises(AssertionError, match="believed what the city never said"):
        scene.check(holder)
    scene.believed.clear()


def test_swapped_replayed_and_reordered_answers(scene: Scene) -> None:
    """Two phones get each other's answers, all old ones again, and everything backwards."""
    one, two = scene.holder().register(), scene.holder().register()
    seen: list[dict[str, Any]] = []

    def behave(call: Call, forward: Forward) -> Said:
        said = forward(call)
        if not is_answers(call) or said.status != 200:
            return said
        seen.extend(said.json()["answers"])
        mixed = [{**item, "n": 0} for item in reversed(seen[-60:])]
        return change_list(said, "answers", lambda genuine: [*mixed, *reversed(genuine)])

    with scene.house.door.behaving(behave):
        requests = {holder.phone.account: holder.request("mixed") for holder in (one, two)}
        for holder in (one, two):
            assert holder.wait(requests[holder.phone.account])[-1] == "ready"
            holder.phone.fetch_package(requests[holder.phone.account])
    assert "not-for-this-key" in one.phone.distrusted + two.phone.distrusted
    scene.check(one, two)


def test_an_old_refusal_again_does_not_end_a_new_request(scene: Scene) -> None:
    """A refusal that the city really signed, for a nonce it did not know, handed over at every later poll."""
    holder = scene.holder().register()
    with scene.house.door.behaving(forged_nonces()):
        refused = holder.request("first")
        with pytest.raises(CityRefused, match="nonce"):
            holder.wait(refused)
    old = [
        body_of(item)
        for call, said in scene.records
        if is_answers(call) and account_of(call) == holder.phone.account and said.status == 200
        for item in said.json()["answers"]
    ]
    request = holder.request("second")
    with scene.house.door.behaving(prepend(lambda: old)):
        assert holder.wait(request)[-1] == "ready"
        holder.phone.fetch_package(request)
    scene.check(holder)


def answers_at(number: int) -> Behaviour:
    def behave(call: Call, forward: Forward) -> Said:
        said = forward(call)
        return (
            change_list(said, "answers", lambda _: [{"body": "AAAA", "n": number}])
            if is_answers(call)
            else said
        )

    return behave


def test_a_cursor_far_ahead_costs_time_only(scene: Scene) -> None:
    """The door numbers an answer so high that the phone would never ask for the real ones again."""
    holder = scene.holder().register()
    request = holder.request("cursor")
    for number in (1 << 40, 1 << 51, 1 << 60, 10**300):
        with scene.house.door.behaving(answers_at(number)), pytest.raises(PhoneError):
            holder.wait(request, timeout=1.5)
    assert holder.wait(request)[-1] == "ready"
    holder.phone.fetch_package(request)
    scene.check(holder)


# ---- packages ------------------------------------------------------------


def test_swapped_packages_are_noticed(scene: Scene) -> None:
    one, two = scene.holder().register(), scene.holder().register()
    requests = [one.request("swap"), two.request("swap")]
    for holder, request in zip((one, two), requests, strict=True):
        holder.wait(request)
    theirs = [
        call.body for call, _ in scene.records if call.path.startswith(f"/city/packages/{two.phone.account}")
    ][-1]
    own = pack(b"made up", [one.phone._home.encryption_key.public_key()], content_type=BUNDLE_TYPE)
    for data in (theirs, own, b"", b"\x00" * 9, theirs[:-1]):

        def behave(call: Call, forward: Forward, data: bytes = data) -> Said:
            mine = is_package(call) and account_of(call) == one.phone.account
            return Said(200, data) if mine else forward(call)

        with scene.house.door.behaving(behave), pytest.raises(DoorDistrusted, match="package-substituted"):
            one.phone.fetch_package(requests[0])
        # Other bytes are as good as none: the phone would have the city put the right ones there again.
        assert one.phone.requests()[0]["state"] == "missing"
    for holder, request in zip((one, two), requests, strict=True):
        holder.phone.fetch_package(request)
    scene.check(one, two)


def test_control_a_phone_that_takes_any_package_is_caught(scene: Scene) -> None:
    one, two = scene.holder().register(), scene.holder().register()
    bundle = two.certify("given away")
    request = one.request("robbed")
    one.wait(request)
    stolen = pack(bundle, [one.phone._home.encryption_key.public_key()], content_type=BUNDLE_TYPE)
    one.phone._state["requests"][request]["sha256"] = base64url_encode(sha256(stolen))  # does not compare

    def behave(call: Call, forward: Forward) -> Said:
        return Said(200, stolen) if is_package(call) else forward(call)

    with scene.house.door.behaving(behave):
        one.phone.fetch_package(request)
    with pytest.raises(AssertionError, match="somebody else's"):
        scene.check(one)


# ---- the door's own store ------------------------------------------------------------


def test_the_operator_edits_its_store(scene: Scene) -> None:
    """Device keys exchanged: the operator fetches answers and packages as if it were the phone. Bodies exchanged."""
    from mobile_api.accounts import key_bytes

    one, two = scene.holder().register(), scene.holder().register()
    requests = [one.request("edited"), two.request("edited")]
    for holder, request in zip((one, two), requests, strict=True):
        holder.wait(request)
    store = sqlite3.connect(scene.house.home.store_path("door"), timeout=20, isolation_level=None)
    accounts = [one.phone.account, two.phone.account]
    genuine = dict(
        store.execute("SELECT account, device_key FROM accounts WHERE account IN (?, ?)", accounts)
    )
    packages = dict(store.execute("SELECT account, body FROM packages WHERE account IN (?, ?)", accounts))
    store.executemany(
        "UPDATE accounts SET device_key = ? WHERE account = ?",
        [(key_bytes(scene.operator.signing.public_key()), account) for account in accounts],
    )
    client = DoorClient(
        scene.house.base_url, transport=UrllibTransport(), clock=now, random=os.urandom, attempts=1
    )
    proof = ProofKey(thumbprint(scene.operator.signing.public_key()), es256_signer(scene.operator.signing))
    stolen = []
    for account in accounts:
        stolen.append(
            client.call("GET", f"/v1/accounts/{account}/answers", query="after=0&wait=0", proof=proof).body
        )
        name = store.execute("SELECT package_id FROM packages WHERE account = ?", (account,)).fetchone()[0]
        stolen.append(client.call("GET", f"/v1/accounts/{account}/packages/{name}", proof=proof).body)
    assert len([data for body in stolen for data in _packages(body)]) >= 6
    with pytest.raises(PhoneError):
        one.phone.fetch_package(requests[0])
    store.executemany(
        "UPDATE accounts SET device_key = ? WHERE account = ?", [(k, a) for a, k in genuine.items()]
    )
    store.executemany(
        "UPDATE packages SET body = ? WHERE account = ?",
        [(packages[accounts[1]], accounts[0]), (packages[accounts[0]], accounts[1])],
    )
    for holder, request in zip((one, two), requests, strict=True):
        with pytest.raises(DoorDistrusted, match="package-substituted"):
            holder.phone.fetch_package(request)
    store.executemany("UPDATE packages SET body = ? WHERE account = ?", [(b, a) for a, b in packages.items()])
    store.close()
    for holder, request in zip((one, two), requests, strict=True):
        holder.phone.fetch_package(request)
    scene.check(one, two)


@contextmanager
def edited_package(scene: Scene, holder: Holder, body: bytes) -> Iterator[str]:
    """Other bytes in the door's own row of this account's package, put back afterwards; the package's name."""
    store = sqlite3.connect(scene.house.home.store_path("door"), timeout=20, isolation_level=None)
    where = "WHERE account = ?"
    (name, genuine) = store.execute(
        f"SELECT package_id, body FROM packages {where}", (holder.phone.account,)
    ).fetchone()
    store.execute(f"UPDATE packages SET body = ? {where}", (body, holder.phone.account))
    try:
        yield str(name)
    finally:
        store.execute(f"UPDATE packages SET body = ? {where}", (genuine, holder.phone.account))
        store.close()


def test_control_a_city_that_encrypts_for_the_doors_device_key_is_caught(scene: Scene) -> None:
    """What a city would hand over that took the phone's key from the door's store instead of the card's statement."""
    holder = scene.holder().register()
    request = holder.request("encrypted to the door")
    holder.wait(request)
    before = len(scene.records)
    broken = pack(b"a bundle", [scene.operator.encryption.public_key()], content_type=BUNDLE_TYPE)
    with edited_package(scene, holder, broken), pytest.raises(DoorDistrusted):
        holder.phone.fetch_package(request)
    with pytest.raises(AssertionError, match="the door read something"):
        scene.check(holder, since=before)
    # What was planted here must not be found by the questions of the tests that follow.
    del scene.records[before:]
    scene.check(holder)


def test_control_a_phone_that_takes_what_the_edited_store_holds_is_caught(scene: Scene) -> None:
    """The operator knows another's bundle and packs it for this phone, which does not compare the city's word."""
    one, two = scene.holder().register(), scene.holder().register()
    bundle = two.certify("packed anew")
    request = one.request("edited and believed")
    one.wait(request)
    body = pack(bundle, [one.phone._home.encryption_key.public_key()], content_type=BUNDLE_TYPE)
    with edited_package(scene, one, body):
        with pytest.raises(DoorDistrusted, match="package-substituted"):
            one.phone.fetch_package(request)
        one.phone._state["requests"][request]["sha256"] = base64url_encode(sha256(body))
        one.phone.fetch_package(request)
    with pytest.raises(AssertionError, match="somebody else's"):
        scene.check(one)
