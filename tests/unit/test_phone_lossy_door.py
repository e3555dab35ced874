"""A street door that confirms and loses: letters, answers, packages. The phone asks again and ends with one certificate.

What the city does with the same letter again: tests/unit/test_intake_repeats.py. Here it is the fake one, which repeats
by the same rules. The test with the kills takes about 15 s: the way is walked once for each write of the state.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from mobile_api.door_client import Reply
from mobile_api.errors import (
    CityRefused,
    DoorDistrusted,
    DoorRefused,
    NoAnswerYet,
    PackageLost,
    PackageMissing,
)
from mobile_api.messages import STAGES, PackageReady, Progress, Refused
from mobile_api.phone_correspondence import MAX_DOUBLINGS, REPOST_SECONDS, Correspondence
from mobile_api.phone_home import PhoneHome
from tests.support.door_house import GONE, PASSWORDS, FakeCard, House, WsgiTransport, make_house
from verifier.formats.encoding import base64_encode, canonical_json, sha256

SHORT = 0.02


class Losses:
    """What the door loses from now on, although it confirmed it."""

    def __init__(self, transport: WsgiTransport) -> None:
        self.letters = self.answers = self.packages = False
        self.posted = 0
        transport.after = self._after

    def _after(self, method: str, path: str, reply: Reply) -> Reply:
        if path.endswith("/envelopes"):
            self.posted += 1
        if self.answers and "/answers?" in path:
            return Reply(200, reply.headers, canonical_json({"answers": []}))
        if self.packages and method == "GET" and "/packages/" in path:
            return Reply(404, {}, canonical_json({"code": "no-package"}))
        return reply


class Lossy:
    """A house, a registered phone, and what is lost."""

    def __init__(self, directory: Path) -> None:
        self.house: House = make_house(directory)
        self.transport = self.house.transport()
        self.phone = self.house.registered_phone(transport=self.transport)
        self.lost = Losses(self.transport)
        self.lose_answers_for_ever()

    def lose_answers_for_ever(self) -> None:
        """What is withheld is deleted at the door, too: honest later, it has nothing to hand over."""
        from sqlalchemy import create_engine

        engine = create_engine(self.house.settings.database_url)
        work = self.transport.before

        def before(method: str, url: str, body: bytes | None) -> None:
            if self.lost.letters and "/answers" in url:
                taken = self.house.city.mailbox.take(wait=0)
                self.house.city.mailbox.acknowledge([message.message_id for message in taken])
            work(method, url, body)
            with engine.begin() as connection:
                if self.lost.answers:
                    connection.exec_driver_sql("DELETE FROM answers")
                if self.lost.packages:
                    connection.exec_driver_sql("DELETE FROM packages")

        self.transport.before = before

    def ask(self, purpose: str = "") -> str:
        return self.phone.request_certificate(2026, purpose, FakeCard(), PASSWORDS.authentication)

    def wait_in_vain(self, request: str) -> None:
        with pytest.raises(NoAnswerYet):
            list(self.phone.wait(request, timeout=SHORT))

    def time_passes(self) -> None:
        self.house.clock.forward(seconds=REPOST_SECONDS)

    def state(self, request: str) -> str:
        return next(r["state"] for r in self.phone.requests() if r["id"] == request)

    def reopen(self) -> None:
        """The phone is killed and started again."""
        self.phone.close()
        self.phone = self.house.phone(transport=self.transport)

    def ends_in_one_certificate(self, request: str) -> None:
        self.phone.receive(request, timeout=5)
        assert len(self.house.city.requests) == len(self.house.city.bundles) == 1
        assert self.phone.open(request) == next(iter(self.house.city.bundles.values()))
        assert self.phone.distrusted == ()

    def keeps_no_letter(self) -> None:
        assert list((self.house.directory / "phone" / "outbox").iterdir()) == []


@pytest.fixture
def lossy(tmp_path: Path) -> Lossy:
    return Lossy(tmp_path)


# ---- letters and answers ------------------------------------------------------------------------------------------


def test_a_lost_letter_is_posted_again(lossy: Lossy) -> None:
    lossy.lost.letters = True
    request = lossy.ask()
    lossy.wait_in_vain(request)
    lossy.lost.letters = False
    lossy.wait_in_vain(request)
    assert lossy.lost.posted == 1
    lossy.time_passes()
    lossy.ends_in_one_certificate(request)
    assert lossy.lost.posted == 2
    lossy.keeps_no_letter()


def test_lost_answers_are_said_again(lossy: Lossy) -> None:
    lossy.lost.answers = True
    request = lossy.ask()
    lossy.wait_in_vain(request)
    lossy.lost.answers = False
    lossy.wait_in_vain(request)
    lossy.time_passes()
    lossy.ends_in_one_certificate(request)


def test_the_last_answer_lost_after_some_progress(lossy: Lossy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something was heard already, and then nothing more."""
    mailbox = lossy.house.city.mailbox
    put, count = mailbox.put_answer, len(STAGES)

    def confirm_and_lose_the_last(account: str, item_id: str, body: bytes) -> None:
        nonlocal count
        count -= 1
        if count >= 0:
            put(account, item_id, body)

    request = lossy.ask()
    with monkeypatch.context() as patch:
        patch.setattr(mailbox, "put_answer", confirm_and_lose_the_last)
        lossy.wait_in_vain(request)
    assert lossy.phone.requests()[0]["stages"] == list(STAGES)
    assert lossy.state(request) == "sent"
    lossy.time_passes()
    lossy.ends_in_one_certificate(request)


def test_a_lost_registration_is_confirmed_again(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    transport = house.transport()
    card = FakeCard()
    with house.phone(transport=transport) as phone:
        lost = Losses(transport)
        lost.answers = True
        with pytest.raises(NoAnswerYet):
            phone.sign_up(card, PASSWORDS, timeout=SHORT)
        assert len(house.city.accounts) == 1
        lost.answers = False
        empty_answers(house)
        house.clock.forward(seconds=REPOST_SECONDS)
        phone.sign_up(card, PASSWORDS, timeout=5)
        assert phone.is_registered
    assert len(house.city.accounts) == 1
    assert len(card.signed) == 2


def empty_answers(house: House) -> None:
    import sqlite3

    with sqlite3.connect(house.settings.database_url.removeprefix("sqlite:///")) as database:
        database.execute("DELETE FROM answers")


def test_a_lost_refusal_is_said_again(lossy: Lossy) -> None:
    lossy.lost.answers = True
    request = lossy.ask()
    lossy.house.city.refusals[request] = Refused("counter", "窓口へ", "counter", False)
    lossy.wait_in_vain(request)
    lossy.lost.answers = False
    lossy.time_passes()
    with pytest.raises(CityRefused, match="counter"):
        list(lossy.phone.wait(request, timeout=5))
    assert lossy.ask() != request


def test_it_posts_again_while_it_waits(lossy: Lossy, monkeypatch: pytest.MonkeyPatch) -> None:
    """One long wait is enough: nobody has to call twice."""
    lossy.lost.answers = True
    request = lossy.ask()
    lossy.wait_in_vain(request)
    lossy.lost.answers = False
    monkeypatch.setattr(
        lossy.phone._letters, "_sleep", lambda _seconds: lossy.house.clock.forward(seconds=REPOST_SECONDS)
    )
    assert list(lossy.phone.wait(request, timeout=5))[-1] == "ready"


def test_more_and_more_seldom(lossy: Lossy) -> None:
    lossy.lost.answers = True
    request = lossy.ask()
    times, begin = [], lossy.house.clock()
    for _ in range(24 * 60):
        posted = lossy.lost.posted
        lossy.phone._letters.repost(lossy.phone._request(request)["message"])
        if lossy.lost.posted > posted:
            times.append(int((lossy.house.clock() - begin).total_seconds()))
        lossy.house.clock.forward(minutes=1)
    gaps = [later - earlier for earlier, later in zip([0, *times], times, strict=False)]
    longest = REPOST_SECONDS * 2**MAX_DOUBLINGS
    assert gaps[:MAX_DOUBLINGS] == [REPOST_SECONDS * 2**n for n in range(MAX_DOUBLINGS)]
    assert set(gaps[MAX_DOUBLINGS:]) == {longest}
    # Fewer a day than the city answers.
    from app.issuance.repeats import REPEATS_A_DAY

    assert len(times) < REPEATS_A_DAY


def test_both_words_of_the_city_arrive(lossy: Lossy) -> None:
    """Slow, not lost: the answer and its repetition come together. Nothing is distrusted, nothing undone."""
    lossy.lost.answers = True
    request = lossy.ask()
    work = lossy.house.city.work
    lossy.wait_in_vain(request)
    lossy.time_passes()
    lossy.lost.answers = False
    message = lossy.phone._request(request)["message"]
    lossy.phone._letters.repost(message)
    work()
    known = lossy.house.city.handled[message]
    assert known.repeated == 1
    # … and once more the same word, under a later number.
    bound = lossy.house.city.accounts[lossy.phone.account or ""]
    again = lossy.house.city.seal(lossy.phone.account or "", message, 90, known.answer, bound.encryption_key)  # type: ignore[arg-type]
    lossy.transport.after = add_answers(lossy, [again])
    lossy.ends_in_one_certificate(request)


def add_answers(lossy: Lossy, bodies: list[bytes]) -> Callable[[str, str, Reply], Reply]:
    def after(_method: str, path: str, reply: Reply) -> Reply:
        if "/answers?" not in path:
            return reply
        more = [{"body": base64_encode(body), "n": 0} for body in bodies]
        return Reply(200, {}, canonical_json({"answers": [*json.loads(reply.body)["answers"], *more]}))

    return after


# ---- packages -------------------------------------------------------------------------------------------------------


def ready_and_lost(lossy: Lossy) -> str:
    request = lossy.ask()
    assert list(lossy.phone.wait(request))[-1] == "ready"
    lossy.lost.packages = True
    with pytest.raises(PackageMissing):
        lossy.phone.fetch_package(request)
    assert lossy.state(request) == "missing"
    return request


def test_a_lost_package_is_put_again_and_fetched(lossy: Lossy) -> None:
    request = ready_and_lost(lossy)
    lossy.lost.packages = False
    # The same wish is still the same request, also after a restart.
    lossy.reopen()
    assert lossy.ask() == request
    lossy.wait_in_vain(request)
    lossy.time_passes()
    lossy.ends_in_one_certificate(request)
    lossy.keeps_no_letter()


def test_a_package_that_comes_back_by_itself_is_fetched(lossy: Lossy) -> None:
    request = lossy.ask()
    list(lossy.phone.wait(request))
    lossy.lost.packages = True
    after = lossy.transport.before
    lossy.transport.before = lambda *_arguments: None
    with pytest.raises(PackageMissing):
        lossy.phone.fetch_package(request)
    with pytest.raises(PackageMissing):
        lossy.phone.fetch_package(request)
    lossy.lost.packages, lossy.transport.before = False, after
    lossy.phone.fetch_package(request)
    lossy.ends_in_one_certificate(request)


def spoilt_at_the_door(lossy: Lossy) -> str:
    """The door hands over other bytes than it was given, until something is put anew."""
    import sqlite3

    request = lossy.ask()
    list(lossy.phone.wait(request))
    with sqlite3.connect(lossy.house.settings.database_url.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE packages SET body = ?", (b"spoilt",))
    with pytest.raises(DoorDistrusted, match="package-substituted"):
        lossy.phone.fetch_package(request)
    return request


def test_a_spoilt_package_is_asked_for_again(lossy: Lossy) -> None:
    request = spoilt_at_the_door(lossy)
    assert lossy.state(request) == "missing"
    with pytest.raises(DoorDistrusted):
        lossy.phone.fetch_package(request)
    lossy.time_passes()
    lossy.phone.receive(request, timeout=5)
    assert lossy.phone.open(request) == next(iter(lossy.house.city.bundles.values()))
    assert len(lossy.house.city.requests) == 1


def test_a_package_spoilt_again_ends_the_request(lossy: Lossy) -> None:
    request = spoilt_at_the_door(lossy)
    lossy.time_passes()
    after = lossy.transport.after
    lossy.transport.after = lambda method, path, reply: (
        Reply(200, {}, b"spoilt") if method == "GET" and "/packages/" in path else after(method, path, reply)
    )
    list(lossy.phone.wait(request, timeout=5))
    with pytest.raises(DoorDistrusted):
        lossy.phone.fetch_package(request)
    assert lossy.state(request) == "gone"
    assert lossy.ask() != request


def test_a_package_lost_twice_ends_the_request(lossy: Lossy) -> None:
    request = ready_and_lost(lossy)
    lossy.time_passes()
    assert list(lossy.phone.wait(request, timeout=5))[-1] == "ready"
    with pytest.raises(PackageLost):
        lossy.phone.fetch_package(request)
    assert lossy.state(request) == "gone"
    with pytest.raises(PackageLost):
        list(lossy.phone.wait(request))
    assert [line["event"] for line in lossy.phone.history()][-1] == "gone"
    # The phone is usable: the same wish is a new request with a new certificate.
    lossy.lost.packages = False
    new = lossy.ask()
    assert new != request
    lossy.phone.receive(new, timeout=5)
    assert len(lossy.house.city.bundles) == 2


def test_what_the_city_says_is_gone_is_dropped(lossy: Lossy) -> None:
    request = ready_and_lost(lossy)
    lossy.house.city.packages.clear()
    lossy.time_passes()
    with pytest.raises(CityRefused, match="gone") as no:
        list(lossy.phone.wait(request, timeout=5))
    assert no.value.retry
    assert lossy.state(request) == "gone"
    lossy.lost.packages = False
    new = lossy.ask()
    assert new != request
    lossy.phone.receive(new, timeout=5)


def test_gone_before_anything_was_heard_begins_anew_as_well(lossy: Lossy) -> None:
    """Refused with "try again" usually means the same key; a key the city has used up must not come back."""
    lossy.lost.answers = True
    request = lossy.ask()
    lossy.wait_in_vain(request)
    lossy.lost.answers = False
    lossy.house.city.packages.clear()
    lossy.time_passes()
    with pytest.raises(CityRefused, match="gone"):
        list(lossy.phone.wait(request, timeout=5))
    assert lossy.phone._request(request)["stages"] == []
    assert lossy.ask() != request


def test_only_the_citys_word_counts_as_put_again(lossy: Lossy) -> None:
    """The door says "not here" for ever and forges, replays, invents: the request waits and is not dropped."""
    request = ready_and_lost(lossy)
    message = lossy.phone._request(request)["message"]
    account, own = lossy.phone.account or "", lossy.phone._home.encryption_key.public_key()
    entry = lossy.phone._request(request)
    ready = lossy.house.city.handled[message].answer
    assert isinstance(ready, PackageReady)
    thief = ec.generate_private_key(ec.SECP256R1())
    lies = [
        lossy.house.city.seal(account, message, 80, GONE, own, statement_key=thief),
        lossy.house.city.seal(account, message, 81, ready, own, statement_key=thief),
        lossy.house.city.seal(account, message, 1, GONE, own),
        # Signed by the city, but about another package than it announced.
        lossy.house.city.seal(account, message, 82, PackageReady("r" * 22, "p" * 22, sha256(b"other")), own),
    ]
    lossy.transport.after = add_answers(lossy, lies)
    lossy.wait_in_vain(request)
    assert lossy.state(request) == "missing"
    assert entry["package"] == ready.package_id
    for code in ("unknown-city-key", "other-package"):
        assert code in lossy.phone.distrusted


def test_other_refusals_of_the_door_are_not_a_missing_package(lossy: Lossy) -> None:
    request = lossy.ask()
    list(lossy.phone.wait(request))
    lossy.transport.after = lambda _m, path, reply: (
        Reply(403, {}, canonical_json({"code": "no"})) if "/packages/" in path else reply
    )
    with pytest.raises(DoorRefused):
        lossy.phone.fetch_package(request)
    assert lossy.state(request) == "ready"


def test_a_phone_of_before_has_no_envelope_left_and_begins_anew(lossy: Lossy) -> None:
    request = lossy.ask()
    list(lossy.phone.wait(request))
    for name in ("heard", "reposts"):
        lossy.phone._state["messages"][lossy.phone._request(request)["message"]].pop(name)
    lossy.phone._request(request).pop("put_again")
    lossy.phone._letters.forget(lossy.phone._request(request)["message"])
    lossy.lost.packages = True
    with pytest.raises(PackageLost):
        lossy.phone.fetch_package(request)
    assert lossy.ask() != request


def test_a_late_progress_changes_nothing(lossy: Lossy) -> None:
    request = lossy.ask()
    list(lossy.phone.wait(request))
    message = lossy.phone._request(request)["message"]
    own = lossy.phone._home.encryption_key.public_key()
    late = lossy.house.city.seal(lossy.phone.account or "", message, 95, Progress("r" * 22, "accepted"), own)
    lossy.transport.after = add_answers(lossy, [late])
    with pytest.raises(NoAnswerYet):
        lossy.phone._letters.poll(0)
    lossy.phone._letters.poll(10**9)
    assert lossy.state(request) == "ready"
    assert "late-answer" in lossy.phone.distrusted


# ---- killed on the lossy way ------------------------------------------------------------------------------------------


class Killed(BaseException):
    """SIGKILL."""


def lossy_way(lossy: Lossy, kill: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask, lose the answers, ask again, lose the package, ask again, fetch: in one life of the phone, or what is left."""
    real_write = PhoneHome.write

    def write(self: PhoneHome, name: str, content: bytes) -> Path:
        kill()
        path = real_write(self, name, content)
        kill()
        return path

    with monkeypatch.context() as patch:
        patch.setattr(PhoneHome, "write", write)
        done = [r["id"] for r in lossy.phone.requests() if r["state"] == "fetched"]
        request = done[0] if done else lossy.ask("lossy")
        lossy.lost.answers = not lossy.house.city.requests
        for _ in range(8):
            try:
                lossy.phone.receive(request, timeout=SHORT)
                return
            except NoAnswerYet:
                lossy.lost.packages = lossy.lost.answers
                lossy.lost.answers = False
                lossy.house.clock.forward(seconds=REPOST_SECONDS * 2)
        raise AssertionError(lossy.phone.requests())


def test_killed_at_every_write_of_the_lossy_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    number = killed = 0
    while killed == number:
        number += 1
        lossy = Lossy(tmp_path / str(number))
        left = [number]

        def kill(left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Killed

        try:
            lossy_way(lossy, kill, monkeypatch)
        except Killed:
            killed += 1
            lossy.lost.answers = lossy.lost.packages = False
            lossy.reopen()
            lossy_way(lossy, lambda: None, monkeypatch)
        (request,) = [r["id"] for r in lossy.phone.requests()]
        lossy.ends_in_one_certificate(request)
        lossy.phone.close()
    assert killed > 20


# ---- controls -----------------------------------------------------------------------------------------------------------


def never_again(self: Correspondence, message: str) -> float:
    """Posts once."""
    self.post(message)
    return 0.0


def test_control_a_phone_that_never_posts_again_is_stuck(
    lossy: Lossy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Correspondence, "repost", never_again)
    lossy.lost.answers = True
    request = lossy.ask()
    lossy.wait_in_vain(request)
    lossy.lost.answers = False
    for _ in range(5):
        lossy.time_passes()
        lossy.wait_in_vain(request)
    monkeypatch.undo()
    lossy.ends_in_one_certificate(request)


def test_control_a_city_that_drops_every_replay_leaves_the_phone_stuck(
    lossy: Lossy, monkeypatch: pytest.MonkeyPatch
) -> None:
    lossy.lost.answers = True
    request = lossy.ask()
    lossy.wait_in_vain(request)
    lossy.lost.answers = False
    with monkeypatch.context() as patch:
        patch.setattr(type(lossy.house.city), "_repeat", lambda *_arguments: False)
        for _ in range(3):
            lossy.house.clock.forward(hours=3)
            lossy.wait_in_vain(request)
    assert "replayed" in lossy.house.city.dropped
    lossy.house.clock.forward(hours=3)
    lossy.ends_in_one_certificate(request)


def test_control_a_phone_that_forgets_its_letter_cannot_have_the_package_put_again(
    lossy: Lossy, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = lossy.ask()
    list(lossy.phone.wait(request))
    monkeypatch.setattr(Correspondence, "reopen", lambda *_arguments: False)
    lossy.lost.packages = True
    with pytest.raises(PackageLost):
        lossy.phone.fetch_package(request)
