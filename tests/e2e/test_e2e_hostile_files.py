"""The street door turns hostile with what is public and with what is handed over: trust lists, tiles, receipts, status
lists, descriptors, submissions, rubbish to everybody. It gains delay; each broken check, on purpose, is caught.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import zlib
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

import app.mailbox as city_mailbox
import mobile_api.phone_correspondence as phone_correspondence
import mobile_api.phone_submissions as phone_submissions
import verifier.refresh as refreshing
from app.errors import CityError
from app.house.people import PASSWORDS
from app.house.setup import CITY, PUBLIC_URL
from app.mailbox import CityMailbox
from app.sealing.key_files import read_private_key
from app.worker import Worker
from mobile_api.client import Phone
from mobile_api.errors import (
    MobileError,
    NoAnswerYet,
    PhoneError,
    RequestDistrusted,
)
from tests.support.fault_lines import find_faults
from tests.support.hostile_door import (
    Behaviour,
    Call,
    Forward,
    Said,
)
from tests.support.hostile_scene import (
    QUICK,
    Scene,
    sealed_without_request,
)
from tests.support.running_house import (
    Desk,
    Holder,
    RunningHouse,
    judge,
    now,
    read_rows,
)
from verifier import door as desk_door
from verifier.errors import AkashiVerifierError, FormatError, SourceError
from verifier.formats.encoding import (
    base64url_decode,
    base64url_encode,
    canonical_json,
)
from verifier.formats.submission_request import encrypt_descriptor
from verifier.http import HttpSources
from verifier.policy import find_policy
from verifier.refresh import refresh_evidence
from verifier.report import Verdict
from verifier.sources import OfflineSources
from verifier.trust import (
    TrustError,
    TrustList,
    build_trust_list,
    load_trust_list,
    sign_trust_list,
    verify_trust_list,
)
from verifier.verify import examine

# ---- trust lists ------------------------------------------------------------


def operators_trust(scene: Scene, *, version: int = 2, keys: list[bytes] | None = None) -> bytes:
    """A trust list with the operator's keys for the city's."""
    signer = ed25519.Ed25519PrivateKey.generate()
    public = scene.operator.city_key.public_key()
    data = build_trust_list(
        replace(scene.house.trust.content, envelope_key=public, statement_key=public),
        version=version,
        expires=now().replace(microsecond=0) + timedelta(days=90),
        keys=keys or [signer.public_key().public_bytes_raw()],
        threshold=1,
    )
    return sign_trust_list(data, signer)


def genuine_next(scene: Scene) -> bytes:
    """Version 2 as the real signers would make it."""
    pinned = scene.house.trust
    data = build_trust_list(
        pinned.content,
        version=pinned.version + 1,
        expires=now().replace(microsecond=0) + timedelta(days=90),
        keys=list(pinned.keys.values()),
        threshold=pinned.threshold,
    )
    for number in (1, 2):
        key = read_private_key(scene.house.home.trust_signer(number))
        assert isinstance(key, ed25519.Ed25519PrivateKey)
        data = sign_trust_list(data, key)
    return data


def fetched_trust(scene: Scene, pinned: TrustList) -> TrustList:
    """The phone looks for a newer list, as the updater does. Raises: TrustError, FormatError, SourceError."""
    data = scene.house.sources().public_file(PUBLIC_URL, f"/{CITY}/trust/root.json")
    return verify_trust_list(data, pinned)


def test_another_or_an_old_trust_list_is_refused(scene: Scene) -> None:
    pinned = scene.house.trust
    newer = verify_trust_list(genuine_next(scene), pinned)
    mixed = json.loads(genuine_next(scene))
    mixed["signed"]["x-akashi"]["envelope_key"] = json.loads(operators_trust(scene))["signed"]["x-akashi"][
        "envelope_key"
    ]
    lies = {
        "operator": (operators_trust(scene), pinned),
        "same version": (operators_trust(scene, version=1), pinned),
        "real keys named": (operators_trust(scene, keys=list(pinned.keys.values())), pinned),
        "real signatures, other key": (json.dumps(mixed).encode(), pinned),
        "old": (pinned.data, newer),
        "cut": (pinned.data[:-20], pinned),
        "noise": (os.urandom(3000), pinned),
    }
    for name, (data, known) in lies.items():

        def behave(call: Call, forward: Forward, data: bytes = data) -> Said:
            return Said(200, data) if "/trust/" in call.path else forward(call)

        with scene.house.door.behaving(behave), pytest.raises((TrustError, AkashiVerifierError)):
            assert fetched_trust(scene, known) is None, name
    assert fetched_trust(scene, pinned) == pinned


def test_control_a_phone_that_takes_its_trust_from_the_door_is_caught(scene: Scene) -> None:
    data = operators_trust(scene)
    holder = scene.holder()
    since = len(scene.records)
    robbed = Phone(scene.house.root / "robbed", scene.house.base_url, load_trust_list(data).content, **QUICK)
    with pytest.raises(NoAnswerYet):
        robbed.sign_up(holder.card, PASSWORDS, timeout=2)
    robbed.close()
    with pytest.raises(AssertionError, match="the door read something"):
        scene.check(since=since)
    del scene.records[since:]


# ---- public files ------------------------------------------------------------


def tampered(data: bytes, how: str) -> bytes:
    if how == "flipped":
        changed = bytearray(data)
        changed[len(changed) * 2 // 3] ^= 1
        return bytes(changed)
    return {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "noise": os.urandom(len(data) or 9),
        "huge": bytes(3 << 20),
    }[how]


PUBLIC = ("/anchored", "/checkpoint", "/tile/", "/receipts/", "/timestamps/", "/status/")


def refreshed(scene: Scene, holder: Holder, request: str) -> bytes:
    sources = HttpSources([scene.house.trust], base_urls={PUBLIC_URL: scene.house.base_url}, timeout=5.0)
    return holder.phone.refresh_evidence(
        request, lambda old: refresh_evidence(old, scene.house.trust, sources, now=now())
    )


@pytest.fixture(scope="module")
def fetched(scene: Scene) -> tuple[Holder, str]:
    holder = scene.holder().register()
    holder.certify("public files")
    return holder, holder.phone.requests()[0]["id"]


@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "noise", "huge"])
@pytest.mark.parametrize("part", PUBLIC)
def test_tampered_public_files_never_spoil_a_good_bundle(
    scene: Scene, fetched: tuple[Holder, str], part: str, how: str
) -> None:
    holder, request = fetched
    holder.phone._state["requests"][request].pop("refreshed", None)  # back to the package as it came

    def behave(call: Call, forward: Forward) -> Said:
        said = forward(call)
        if (
            call.method == "GET"
            and call.path.startswith(f"/{CITY}/")
            and part in call.path
            and said.status == 200
        ):
            return replace(said, body=tampered(said.body, how))
        return said

    with scene.house.door.behaving(behave):
        bundle = refreshed(scene, holder, request)
        report = examine(
            bundle,
            trust=scene.house.trust,
            policy=find_policy("online"),
            now=now(),
            sources=scene.house.sources(),
        )
    assert report.verdict is not Verdict.NOT_VALID, [f.code for f in report.findings if f.is_bad]
    assert judge(scene.house, bundle).verdict is Verdict.VALID


def forged_status(token: bytes) -> bytes:
    """The city's list with every certificate revoked, newer, under the old signature."""
    head, payload, signature = token.split(b".")
    value = json.loads(base64url_decode(payload.decode()))
    bits = zlib.decompress(base64url_decode(value["status_list"]["lst"]))
    value["status_list"]["lst"] = base64url_encode(zlib.compress(b"\xff" * len(bits)))
    value["iat"], value["exp"] = value["iat"] + 5, value["exp"] + 5
    return b".".join([head, base64url_encode(canonical_json(value)).encode(), signature])


def lying_about_status(call: Call, forward: Forward) -> Said:
    said = forward(call)
    if call.method == "GET" and "/status/" in call.path and said.status == 200:
        return replace(said, body=forged_status(said.body))
    return said


def test_a_forged_revocation_is_not_believed(scene: Scene, fetched: tuple[Holder, str]) -> None:
    holder, request = fetched
    with scene.house.door.behaving(lying_about_status):
        bundle = refreshed(scene, holder, request)
        report = examine(
            bundle,
            trust=scene.house.trust,
            policy=find_policy("online"),
            now=now(),
            sources=scene.house.sources(),
        )
    assert report.verdict is not Verdict.NOT_VALID
    assert judge(scene.house, bundle).verdict is Verdict.VALID
    assert judge(scene.house, holder.anchored(request), "offline").verdict is Verdict.VALID


def test_control_a_phone_that_checks_no_status_signature_is_caught(
    scene: Scene, fetched: tuple[Holder, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from verifier.formats.status_list import parse_status_list

    holder, request = fetched
    holder.phone._state["requests"][request].pop("refreshed", None)
    with monkeypatch.context() as patch, scene.house.door.behaving(lying_about_status):
        patch.setattr(
            refreshing, "verify_status_list", lambda token, *_rest, **_options: parse_status_list(token)
        )
        bundle = refreshed(scene, holder, request)
    assert judge(scene.house, bundle).verdict is not Verdict.VALID
    holder.phone._state["requests"][request].pop("refreshed", None)


# ---- handing over ------------------------------------------------------------


def operators_desk(scene: Scene) -> Desk:
    desk = scene.house.desk("株式会社見本商事", "住居手当の確認のため")
    desk.key = scene.operator.encryption
    desk.ask(registered=False)
    return desk


@pytest.fixture(scope="module")
def company(scene: Scene) -> Desk:
    desk = scene.house.desk("株式会社見本商事")
    desk.ask()
    return desk


def other_descriptor(desk: Desk) -> Behaviour:
    def behave(call: Call, forward: Forward) -> Said:
        if call.method == "GET" and call.path.startswith("/v1/requests/") and call.path.count("/") == 3:
            return Said(200, encrypt_descriptor(desk.descriptor))
        return forward(call)

    return behave


def test_another_descriptor_for_a_qr_code_is_refused(
    scene: Scene, fetched: tuple[Holder, str], company: Desk
) -> None:
    holder, _ = fetched
    thief = operators_desk(scene)
    with scene.house.door.behaving(other_descriptor(thief)), pytest.raises(RequestDistrusted):
        holder.phone.scan(company.qr)
    for data in (b"", os.urandom(400), encrypt_descriptor(company.descriptor)[:-1]):
        with (
            scene.house.door.behaving(lambda call, _forward, data=data: Said(200, data)),
            pytest.raises(RequestDistrusted),
        ):
            holder.phone.scan(company.qr)
    assert holder.phone.scan(company.qr).confirmed_name == company.name
    # The thief's own code is what it says: a stranger who calls himself so, without the city's word.
    assert holder.phone.scan(thief.qr).confirmed_name is None
    scene.check(holder)


def test_control_a_phone_that_takes_any_descriptor_is_caught(
    scene: Scene, fetched: tuple[Holder, str], company: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, request = fetched
    thief = operators_desk(scene)
    since = len(scene.records)
    with monkeypatch.context() as patch, scene.house.door.behaving(other_descriptor(thief)):
        patch.setattr(phone_submissions, "decrypt_descriptor", lambda *_arguments: thief.descriptor)
        scanned = holder.phone.scan(company.qr)
        with suppress(PhoneError):
            holder.phone.submit_upload(holder.phone.open(request), scanned)
    with pytest.raises(AssertionError, match="the door read something"):
        scene.check(holder, since=since)
    del scene.records[since:]


def test_submissions_withheld_swapped_and_replayed(
    scene: Scene, fetched: tuple[Holder, str], company: Desk
) -> None:
    """The employer sees nothing, then another company's package, then an old one; then the honest one, VALID."""
    holder, request = fetched
    other = scene.house.desk("見本物産株式会社")
    other.ask()
    bundle = holder.anchored(request)
    holder.phone.submit_upload(bundle, holder.phone.scan(other.qr))
    (foreign,) = other.inbox()
    theirs = other.fetch(foreign.receipt)
    receipt = holder.phone.submit_upload(bundle, holder.phone.scan(company.qr)).receipt or ""

    def withholds(call: Call, forward: Forward) -> Said:
        if call.method == "GET" and call.path.endswith("/submissions"):
            return Said(200, canonical_json({"submissions": []}))
        return Said(404, b"{}") if "/submissions/" in call.path else forward(call)

    with scene.house.door.behaving(withholds):
        assert company.inbox() == ()
        with pytest.raises(SourceError):
            company.fetch(receipt)
    with scene.house.door.behaving(lambda _call, _forward: Said(200, theirs)), pytest.raises(FormatError):
        company.open(company.fetch(receipt))
    assert accepted_for_another_request(scene, company, other, theirs) is False
    package = company.fetch(receipt)
    assert company.judge(package).verdict is Verdict.VALID
    scene.check(holder)


def accepted_for_another_request(
    scene: Scene, company: Desk, other: Desk, package: bytes, *, careless: bool = False
) -> bool:
    """Whether an employer with both keys would take what was handed to `other` as an answer to `company`."""
    report = examine(
        other.open(package),
        trust=scene.house.trust,
        policy=find_policy("offline"),
        now=now(),
        sources=OfflineSources(),
        request=other.descriptor if careless else company.descriptor,
    )
    return report.verdict is Verdict.VALID


def test_control_an_employer_that_does_not_compare_the_request_is_caught(
    scene: Scene, fetched: tuple[Holder, str], company: Desk
) -> None:
    holder, request = fetched
    other = scene.house.desk("見本物産株式会社")
    other.ask()
    holder.phone.submit_upload(holder.anchored(request), holder.phone.scan(other.qr))
    (foreign,) = other.inbox()
    package = other.fetch(foreign.receipt)
    assert accepted_for_another_request(scene, company, other, package, careless=True)
    assert not accepted_for_another_request(scene, company, other, package)


# ---- rubbish and silence ------------------------------------------------------------


RUBBISH: dict[str, Said] = {
    "nothing": Said(200, b""),
    "noise": Said(200, os.urandom(2000)),
    "null": Said(200, b"null"),
    "list": Said(200, b"[]"),
    "other members": Said(200, b'{"a":1}'),
    "other types": Said(
        200,
        b'{"account":5,"nonces":{},"answers":"x","messages":[1,{"id":5},{"id":"x","account":"y","received":0,"body":"z"}],'
        b'"left":"many","id":[]}',
    ),
    "deep": Said(200, b"[" * 200_000),
    "deep object": Said(200, b'{"answers":' * 60_000),
    "huge number": Said(
        200, b'{"left":' + b"9" * 5000 + b',"answers":[{"n":' + b"9" * 5000 + b',"body":""}]}'
    ),
    "oversized": Said(200, b'{"answers":["' + b"A" * (9 << 20) + b'"],"messages":[]}'),
    "surrogates": Said(200, b'{"answers":["\\ud800"],"account":"\\ud800"}'),
    "not found": Said(404, b"<html>"),
    "teapot": Said(418, b'{"code":"\\u001b[31m"}'),
    "server error": Said(500, b"Traceback (most recent call last)"),
    "redirect": Said(302, b"", {"location": "http://127.0.0.1:1/"}),
    "later, much later": Said(503, b"", {"retry-after": "99999999999"}),
}


def feed(scene: Scene, old: Holder, company: Desk, what: str) -> None:
    """Everybody gets it to every call, and each takes it for an outage or for nothing."""
    holder = scene.holder()
    home = scene.house.home
    city = CityMailbox.from_key_file(
        scene.house.base_url, home.mailbox_key, city=CITY, attempts=2, sleep=QUICK["sleep"]
    )
    with scene.house.door.behaving(lambda _call, _forward: RUBBISH[what]):
        for attempt in (
            lambda: holder.phone.sign_up(holder.card, PASSWORDS, timeout=0.5),
            lambda: old.phone.ask_history(timeout=0.5),
            lambda: old.phone.scan(company.qr),
        ):
            with pytest.raises(MobileError):
                attempt()
        with pytest.raises(SourceError):
            company.inbox()
            raise SourceError("empty", "an empty list is no gain either")
        with pytest.raises(CityError):
            city.nonces_left()
        with suppress(CityError):
            assert city.take(wait=0) == []


@pytest.mark.parametrize("what", sorted(RUBBISH))
def test_rubbish_is_an_outage_for_phone_city_and_employer(
    scene: Scene, fetched: tuple[Holder, str], company: Desk, what: str
) -> None:
    """Nobody trips, nobody believes, nobody hangs."""
    old, _ = fetched
    before = old.phone.requests()
    feed(scene, old, company, what)
    assert [r["state"] for r in old.phone.requests()] == [r["state"] for r in before]
    scene.check(old)


def careless(body: bytes, *_checks: object) -> Any:
    """A reader that takes the door's word for the form of what it says."""
    return json.loads(body)


CARELESS: dict[str, tuple[Any, str, Any]] = {
    "phone": (phone_correspondence, "read_members", careless),
    "employer": (desk_door, "read_object", lambda reply: careless(reply.body)),
    "city": (city_mailbox, "_member", lambda body, name, _kind: careless(body)[name]),
}


@pytest.mark.parametrize("what", ["null", "list", "noise"])
@pytest.mark.parametrize("who", CARELESS)
def test_control_who_reads_rubbish_without_care_is_caught(
    scene: Scene,
    fetched: tuple[Holder, str],
    company: Desk,
    who: str,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same feeding ends with an error that is nobody's word for an outage, or with something taken in."""
    old, _ = fetched
    with monkeypatch.context() as patch:
        patch.setattr(*CARELESS[who])
        with pytest.raises(BaseException) as tripped:
            feed(scene, old, company, what)
    assert not isinstance(tripped.value, MobileError | SourceError | CityError)


def test_control_a_city_that_trips_over_rubbish_is_seen_in_its_log(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker's own loop over a careless mailbox: it lives on, and its log tells what the honest one's may not hold."""
    mailbox = CityMailbox.from_key_file(
        scene.house.base_url, scene.house.home.mailbox_key, city=CITY, attempts=1, sleep=QUICK["sleep"]
    )
    worker = Worker(SimpleNamespace(mailbox=mailbox, nonce_stock=8, work=threading.Event()))  # type: ignore[arg-type]

    def stock() -> None:
        worker._stop.set()
        worker._stock_nonces()

    monkeypatch.setattr(*CARELESS["city"])
    with scene.house.door.behaving(lambda _call, _forward: RUBBISH["other types"]):
        worker._loop("nonces", stock, 0.0)
    assert find_faults("\n".join(caplog.messages)) != []


def test_the_honest_way_works_after_all_that(scene: Scene, company: Desk) -> None:
    """Only delay: a new resident and an old account, with a submission, at once."""
    holder = scene.holder().register()
    holder.certify("honest")
    request = holder.phone.requests()[0]["id"]
    receipt = holder.phone.submit_upload(holder.anchored(request), holder.phone.scan(company.qr)).receipt
    assert company.judge(company.fetch(receipt or ""), "online").verdict is Verdict.VALID
    scene.check(holder)
    assert sealed_without_request(scene.house) == []
    for name in ("door", "worker", "log"):
        assert find_faults(scene.house.log_text(name)) == []


def test_control_a_seal_without_a_request_is_caught(scene: Scene, tmp_path: Path) -> None:
    """The same comparison over a copy of the stores in which one request is missing."""
    assert [event for event in scene.house.audit() if event.get("purpose") == "page_seal"]
    store = tmp_path / "worker.sqlite"
    source = sqlite3.connect(f"file:{scene.house.home.store_path('worker')}?mode=ro", uri=True)
    target = sqlite3.connect(store, isolation_level=None)
    source.backup(target)
    source.close()
    target.execute(
        "DELETE FROM requests WHERE rowid = (SELECT max(rowid) FROM requests WHERE state = 'released')"
    )
    target.close()
    genuine = RunningHouse.rows

    def rows(self: RunningHouse, name: str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        return (
            read_rows(store, query, *parameters)
            if name == "worker"
            else genuine(self, name, query, *parameters)
        )

    patch = pytest.MonkeyPatch()
    with patch.context() as inside:
        inside.setattr(RunningHouse, "rows", rows)
        assert sealed_without_request(scene.house) != []
