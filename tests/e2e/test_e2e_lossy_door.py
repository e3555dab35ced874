"""The street door confirms and loses: a letter, every answer, the package. Each wish still ends in exactly one certificate.

Against the whole house. What is lost is really gone: the door hands nothing on and says "done". A minute between two
answers is not waited for but taken off the times in the worker's store; everything else is as it runs. Afterwards the
four questions (`Scene.check`), and the phone is usable: the next wish goes through.

Slow (about three minutes together): phones wait in vain again and again, and the worker is killed four times while it
answers again, which is nearly a minute of it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from app.delivery.sender import KEEP_PACKAGE_SECONDS
from app.issuance.repeats import REPEAT_PAUSE
from mobile_api.client import Phone
from mobile_api.errors import CityRefused, DoorDistrusted, NoAnswerYet, PackageLost, PackageMissing
from mobile_api.messages import PackageReady, new_message_id
from mobile_api.phone_correspondence import Correspondence
from tests.support.hostile_door import Behaviour, Call, Forward, Said, is_envelope, is_inbox
from tests.support.hostile_scene import QUICK, Replayer, Scene
from tests.support.running_house import (
    Holder,
    certificate_of,
    is_valid,
    wait_for,
)
from verifier.formats.encoding import base64_encode, canonical_json

IN_VAIN = 2.0
REPOST_AFTER = 0.05
DONE = canonical_json({})


def patient(scene: Scene) -> Holder:
    """A phone that posts again after a second of silence, and at last every four."""
    return scene.house.holder(**QUICK, repost_after=REPOST_AFTER)


# ---- what a door can lose ------------------------------------------------------------------------------------------


def losing(lost: Callable[[Call], bool], said: Said) -> Behaviour:
    """Confirm and lose."""

    def behave(call: Call, forward: Forward) -> Said:
        return said if lost(call) else forward(call)

    return behave


def letters() -> Behaviour:
    return losing(is_envelope, Said(202, canonical_json({"message_id": "m" * 22})))


def is_put(call: Call, what: str, account: str | None = None) -> bool:
    """The city puts something for an account (None: for any)."""
    return call.method == "PUT" and call.path.startswith(f"/city/{what}/{account or ''}")


def answers(holder: Holder) -> Behaviour:
    return losing(lambda call: is_put(call, "answers", holder.phone.account), Said(200, DONE))


def packages(holder: Holder) -> Behaviour:
    return losing(lambda call: is_put(call, "packages", holder.phone.account), Said(200, DONE))


# ---- what to look at ------------------------------------------------------------------------------------------------


def a_minute_passes(scene: Scene) -> None:
    """In the worker's store, for every message and package."""
    with closing(sqlite3.connect(scene.house.home.store_path("worker"), timeout=20)) as store, store:
        store.execute("UPDATE repeats SET answered_at = answered_at - ?", (REPEAT_PAUSE + 1,))
        store.execute("UPDATE outbox SET sent_at = sent_at - ? WHERE kind = 'package'", (REPEAT_PAUSE + 1,))


def is_handed_over(scene: Scene, holder: Holder) -> bool:
    """The city has released everything of this phone and thinks that the door has all of it."""
    account = holder.phone.account
    states = scene.house.rows("worker", "SELECT state FROM requests WHERE account = ?", account)
    unsent = scene.house.rows(
        "worker", "SELECT count(*) FROM outbox WHERE account = ? AND sent_at IS NULL", account
    )
    return bool(states) and {row[0] for row in states} <= {"released"} and unsent == [(0,)]


def hand_over_in_vain(scene: Scene, holder: Holder, wish: str) -> str:
    """Ask, hear nothing, and let the city finish."""
    request = holder.request(wish)
    with pytest.raises(NoAnswerYet):
        holder.wait(request, timeout=IN_VAIN)
    wait_for(lambda: is_handed_over(scene, holder), 60, "the city to hand over")
    return request


def ends_well(scene: Scene, holder: Holder, wish: str, *, requests: int = 1) -> None:
    """One fetched, valid certificate for the wish; one row, seal, entry and package a request; the next wish works."""
    fetched = [r for r in holder.phone.requests() if (r["purpose"], r["state"]) == (wish, "fetched")]
    assert len(fetched) == 1
    bundle = holder.phone.open(fetched[0]["id"])
    assert certificate_of(bundle)["remarks"] == wish
    assert is_valid(scene.house, bundle)
    rows = scene.house.rows(
        "worker",
        "SELECT r.request_id, c.certificate_id, c.entry, c.log_index, c.package_hash FROM requests r"
        " JOIN certificates c USING (request_id) WHERE r.account = ? AND r.state = 'released'",
        holder.phone.account,
    )
    assert len(rows) == requests
    for column in zip(*rows, strict=True):
        assert len(set(column)) == requests
        assert None not in column
    assert_one_package_each(scene, holder)
    holder.certify("next")
    scene.check(holder)


def put_packages(scene: Scene, holder: Holder) -> list[tuple[str, bytes]]:
    """(path, ciphertext) of every package the city ever put for this phone, in order."""
    return [
        (call.path, call.body)
        for call, _ in list(scene.records)
        if is_put(call, "packages", holder.phone.account)
    ]


def assert_one_package_each(scene: Scene, holder: Holder) -> None:
    """However often it was put: under one name always the same bytes."""
    put = put_packages(scene, holder)
    assert len({path for path, _ in put}) == len(set(put))


# ---- lost once ----------------------------------------------------------------------------------------------------------


def test_the_door_loses_the_letter(scene: Scene) -> None:
    holder = patient(scene).register()
    with scene.house.door.behaving(letters()):
        request = holder.request("lost letter")
        with pytest.raises(NoAnswerYet):
            holder.wait(request, timeout=IN_VAIN)
    assert scene.house.rows(
        "worker", "SELECT count(*) FROM requests WHERE account = ?", holder.phone.account
    ) == [(0,)]
    # The same wish is the same request: no second statement of the card.
    signed = len(holder.card.authentications)
    assert holder.request("lost letter") == request
    holder.phone.receive(request, timeout=60)
    assert len(holder.card.authentications) == signed
    ends_well(scene, holder, "lost letter")


def test_the_door_loses_every_answer(scene: Scene) -> None:
    holder = patient(scene).register()
    with scene.house.door.behaving(answers(holder)):
        request = hand_over_in_vain(scene, holder, "lost answers")
    with pytest.raises(NoAnswerYet):
        holder.wait(request, timeout=IN_VAIN)
    a_minute_passes(scene)
    holder.phone.receive(request, timeout=60)
    ends_well(scene, holder, "lost answers")
    assert holder.phone.distrusted == ()


def test_the_door_loses_the_last_answer_only(scene: Scene) -> None:
    holder = patient(scene).register()

    def is_last(call: Call) -> bool:
        return is_put(call, "answers", holder.phone.account) and "/package-" in call.path

    with scene.house.door.behaving(losing(is_last, Said(200, DONE))):
        request = hand_over_in_vain(scene, holder, "lost last answer")
        wait_for(lambda: stages(holder.phone, request), 20, "some progress")
    a_minute_passes(scene)
    holder.phone.receive(request, timeout=60)
    ends_well(scene, holder, "lost last answer")


def stages(phone: Phone, request: str) -> list[str]:
    """What the phone has heard by now."""
    with pytest.raises(NoAnswerYet):
        list(phone.wait(request, timeout=0.5))
    return list(next(r["stages"] for r in phone.requests() if r["id"] == request))


def test_the_door_loses_the_package(scene: Scene) -> None:
    holder = patient(scene).register()
    with scene.house.door.behaving(packages(holder)):
        request = holder.request("lost package")
        assert holder.wait(request)[-1] == "ready"
        with pytest.raises(PackageMissing):
            holder.phone.fetch_package(request)
    a_minute_passes(scene)
    holder.phone.receive(request, timeout=60)
    assert len(put_packages(scene, holder)) == 2
    ends_well(scene, holder, "lost package")


def test_the_door_spoils_the_package(scene: Scene) -> None:
    """Other bytes lie in its store: the phone takes none of them, and the city replaces them."""
    holder = patient(scene).register()
    request = holder.request("spoilt package")
    assert holder.wait(request)[-1] == "ready"
    with closing(sqlite3.connect(scene.house.home.store_path("door"), timeout=20)) as store, store:
        store.execute("UPDATE packages SET body = substr(body, 2) WHERE account = ?", (holder.phone.account,))
    with pytest.raises(DoorDistrusted, match="package-substituted"):
        holder.phone.fetch_package(request)
    a_minute_passes(scene)
    holder.phone.receive(request, timeout=60)
    ends_well(scene, holder, "spoilt package")


def test_the_door_loses_the_registration(scene: Scene) -> None:
    holder = patient(scene)
    with (
        scene.house.door.behaving(losing(lambda call: is_put(call, "answers"), Said(200, DONE))),
        pytest.raises(NoAnswerYet),
    ):
        holder.register(timeout=4)
    wait_for(
        lambda: scene.house.rows("worker", "SELECT 1 FROM accounts WHERE account = ?", holder.phone.account),
        30,
        "the city to bind the phone",
    )
    a_minute_passes(scene)
    holder.register()
    assert len(holder.card.documents) == 1
    holder.certify("after a lost registration")
    ends_well(scene, holder, "after a lost registration")


def test_the_door_loses_everything_in_turn(scene: Scene) -> None:
    """Letter, answers, package, one after the other, for one wish, with a phone that is killed in between."""
    holder = patient(scene).register()
    with scene.house.door.behaving(letters()):
        request = holder.request("lost thrice")
        with pytest.raises(NoAnswerYet):
            holder.wait(request, timeout=1)
    holder = restarted(holder)

    def both(call: Call) -> bool:
        return is_put(call, "answers", holder.phone.account) or is_put(call, "packages", holder.phone.account)

    with scene.house.door.behaving(losing(both, Said(200, DONE))):
        assert hand_over_in_vain(scene, holder, "lost thrice") == request
    holder = restarted(holder)
    a_minute_passes(scene)
    holder.phone.receive(request, timeout=60)
    ends_well(scene, holder, "lost thrice")


def restarted(holder: Holder) -> Holder:
    """The phone's process is killed and started again on the same directory."""
    directory = holder.phone._home.directory
    holder.phone.close()
    phone = holder.house.phone(directory.name, **QUICK, repost_after=REPOST_AFTER)
    return Holder(holder.house, holder.resident, holder.card, phone)


# ---- lost for good --------------------------------------------------------------------------------------------------


def test_a_package_lost_again_and_again_frees_the_wish(scene: Scene) -> None:
    """The phone gives up after the city's repetition; the same wish is a new request, and the old certificate stays."""
    holder = patient(scene).register()
    with scene.house.door.behaving(packages(holder)):
        request = holder.request("lost for good")
        holder.wait(request)
        with pytest.raises(PackageMissing):
            holder.phone.fetch_package(request)
        a_minute_passes(scene)
        with pytest.raises(PackageLost):
            holder.phone.receive(request, timeout=60)
    assert len(put_packages(scene, holder)) == 2
    again = holder.request("lost for good")
    assert again != request
    holder.phone.receive(again, timeout=60)
    ends_well(scene, holder, "lost for good", requests=2)


def test_what_the_city_has_deleted_is_gone_and_the_wish_free(scene: Scene) -> None:
    holder = patient(scene).register()
    with scene.house.door.behaving(packages(holder)):
        request = holder.request("deleted")
        holder.wait(request)
    with closing(sqlite3.connect(scene.house.home.store_path("worker"), timeout=20)) as store, store:
        store.execute(
            "UPDATE outbox SET sent_at = sent_at - ? WHERE kind = 'package' AND account = ?",
            (KEEP_PACKAGE_SECONDS + 60, holder.phone.account),
        )
    # A worker that starts looks at once for what has had its time.
    scene.house.kill("worker")
    scene.house.restart("worker")
    wait_for(
        lambda: (
            scene.house.rows(
                "worker",
                "SELECT length(body) FROM outbox WHERE kind = 'package' AND account = ?",
                holder.phone.account,
            )
            == [(0,)]
        ),
        30,
        "the city to delete its copy",
    )
    a_minute_passes(scene)
    with pytest.raises(CityRefused, match="gone") as no:
        holder.phone.receive(request, timeout=60)
    assert no.value.retry
    again = holder.request("deleted")
    assert again != request
    holder.phone.receive(again, timeout=60)
    ends_well(scene, holder, "deleted", requests=2)
    # A message again is no proof that the phone has nothing: a door could end good certificates with it.
    assert scene.house.rows(
        "worker",
        "SELECT count(*) FROM revocations JOIN requests USING (request_id) WHERE account = ?",
        holder.phone.account,
    ) == [(0,)]


# ---- the city dies meanwhile ------------------------------------------------------------------------------------------


def test_the_worker_is_killed_while_it_answers_again(scene: Scene) -> None:
    """kill -9 at the moment a repetition's answer or package goes out, twice each: still one of everything."""
    holder = patient(scene).register()

    def both(call: Call) -> bool:
        return is_put(call, "answers", holder.phone.account) or is_put(call, "packages", holder.phone.account)

    with scene.house.door.behaving(losing(both, Said(200, DONE))):
        request = hand_over_in_vain(scene, holder, "killed")
    for what in ("packages", "answers", "packages", "answers"):
        a_minute_passes(scene)
        holder = restarted(holder)
        kill_at_the_next(scene, holder, request, what)
    a_minute_passes(scene)
    holder.phone.receive(request, timeout=60)
    ends_well(scene, holder, "killed")


def kill_at_the_next(scene: Scene, holder: Holder, request: str, what: str) -> None:
    """The worker dies while it puts an answer or a package for this phone; everything it puts is lost."""
    hit: list[str] = []

    def kills(call: Call, forward: Forward) -> Said:
        if is_put(call, what, holder.phone.account) and not hit:
            hit.append(call.path)
            scene.house.kill("worker")
            raise ConnectionError
        lost = any(is_put(call, kind, holder.phone.account) for kind in ("answers", "packages"))
        return Said(200, DONE) if lost else forward(call)

    with scene.house.door.behaving(kills):
        with pytest.raises(NoAnswerYet):
            holder.wait(request, timeout=8)
        assert hit
        scene.house.restart("worker")
        wait_for(lambda: is_handed_over(scene, holder), 60, "the city to go on")


# ---- a door that repeats by itself ------------------------------------------------------------------------------------


def test_a_door_that_repeats_the_letter_gains_nothing(scene: Scene) -> None:
    """It may have kept the envelope: the city says once a minute what it said, puts the bytes it put, and that is all."""
    holder = patient(scene).register()
    holder.certify("repeated")
    envelope = next(
        call.body
        for call, _ in reversed(scene.records)
        if is_envelope(call) and call.path.split("/")[3] == holder.phone.account
    )
    before = (table_counts(scene), len(put_packages(scene, holder)))
    heard = len(scene.said_by_the_city(holder.phone))
    a_minute_passes(scene)
    replayer = Replayer()
    replayer.extra = [(holder.phone.account or "", envelope)] * 20
    with scene.house.door.behaving(replayer):
        wait_for(lambda: replayer.delivered >= 20, 20, "the city to take them")
        wait_for(
            lambda: len(scene.said_by_the_city(holder.phone)) > heard, 20, "the city to answer one of them"
        )
        wait_for(lambda: is_inbox_empty(scene), 20, "the city to look at all of them")
    (again,) = scene.said_by_the_city(holder.phone)[heard:]
    assert isinstance(again.body, PackageReady)
    assert (table_counts(scene), len(put_packages(scene, holder))) == (before[0], before[1] + 1)
    ends_well(scene, holder, "repeated")


def is_inbox_empty(scene: Scene) -> bool:
    return scene.house.rows("worker", "SELECT count(*) FROM inbox WHERE handled_at IS NULL") == [(0,)]


def table_counts(scene: Scene) -> list[tuple[Any, ...]]:
    """How many requests, certificates, seals and entries there are."""
    return [
        *scene.house.rows("worker", "SELECT count(*) FROM requests"),
        *scene.house.rows("worker", "SELECT count(*), count(entry), count(log_index) FROM certificates"),
        *scene.house.rows("gate", "SELECT count(*) FROM authorisations WHERE purpose = 'page_seal'"),
    ]


def test_another_phones_letter_under_an_own_account_is_nothing(scene: Scene) -> None:
    holder, other = patient(scene).register(), patient(scene).register()
    holder.certify("mine")
    envelope = next(
        call.body
        for call, _ in reversed(scene.records)
        if is_envelope(call) and call.path.split("/")[3] == holder.phone.account
    )
    a_minute_passes(scene)
    heard = len(scene.said_by_the_city(other.phone)), len(scene.said_by_the_city(holder.phone))
    given: list[str] = []

    def behave(call: Call, forward: Forward) -> Said:
        said = forward(call)
        if not is_inbox(call) or said.status != 200 or given:
            return said
        given.append(new_message_id(os.urandom))
        item = {
            "account": other.phone.account,
            "body": base64_encode(envelope),
            "id": given[0],
            "received": "2026-11-20T00:00Z",
        }
        return said.with_json({"messages": [item, *said.json()["messages"]][:64]})

    with scene.house.door.behaving(behave):
        wait_for(lambda: is_handled(scene, given), 20, "the city to look at it")
    assert (len(scene.said_by_the_city(other.phone)), len(scene.said_by_the_city(holder.phone))) == heard
    scene.check(holder, other)


def is_handled(scene: Scene, given: list[str]) -> bool:
    return bool(given) and bool(
        scene.house.rows(
            "worker", "SELECT 1 FROM inbox WHERE message_id = ? AND handled_at IS NOT NULL", given[0]
        )
    )


# ---- controls ---------------------------------------------------------------------------------------------------------


def never_again(self: Correspondence, message: str) -> float:
    """Posts once."""
    self.post(message)
    return 1.0


def test_control_a_phone_that_never_posts_again_stays_stuck(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = patient(scene).register()
    with scene.house.door.behaving(answers(holder)):
        request = hand_over_in_vain(scene, holder, "stuck")
    with monkeypatch.context() as patch:
        patch.setattr(Correspondence, "repost", never_again)
        for _ in range(3):
            a_minute_passes(scene)
            with pytest.raises(NoAnswerYet):
                holder.wait(request, timeout=IN_VAIN)
        assert holder.request("stuck") == request
    holder.phone.receive(request, timeout=60)
    ends_well(scene, holder, "stuck")


def test_control_bytes_put_under_one_name_that_differ_are_caught(scene: Scene) -> None:
    """A city that encrypted anew would be seen by `assert_one_package_each`."""
    holder = patient(scene).register()
    holder.certify("control")
    assert_one_package_each(scene, holder)
    call, said = next(r for r in reversed(scene.records) if is_put(r[0], "packages", holder.phone.account))
    scene.records.append(
        (Call(call.method, call.path, call.query, call.headers, call.body + b" "), said),
    )
    with pytest.raises(AssertionError):
        assert_one_package_each(scene, holder)
    scene.records.pop()
