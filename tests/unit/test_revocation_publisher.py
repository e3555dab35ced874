"""Status lists: on a beat, signed, logged before they are out, dirty until they are published."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.errors import UnavailableError
from app.revocation.reasons import Reason
from app.revocation.status_publisher import StatusPublisher, StatusSettings
from app.sealing.city_key import SoftwareKey
from app.sealing.key_files import read_private_key
from app.storage import certificates, revocations
from app.storage.copies import reserve_copies
from app.storage.engine import open_store
from app.storage.status_entries import JST
from app.storage.tables import metadata
from tests.support.sealing_world import NOW, world
from tests.unit.test_storage_copies import new_keys
from verifier.formats.credential import peek_x5c
from verifier.formats.encoding import sha256
from verifier.formats.names import STATUS_LIST_LEAF_LABEL
from verifier.formats.status_list import INVALID, VALID, parse_status_list

UNTIL = "2099-12-31"
LISTS = "https://door.mihon.example/992011/status"


class City:
    """Keys, a clock that can be moved, a log and a public place that remember."""

    def __init__(self, store: Engine, number: int = 1) -> None:
        pki = world().pki
        self.key = SoftwareKey(read_private_key(pki.directory / "signer" / "status-list-1.key.pem"))
        self.now = NOW
        self.happened: list[tuple[str, bytes]] = []
        self.door_away = False
        self.publisher = StatusPublisher(
            store,
            StatusSettings(
                uri=lambda number: f"{LISTS}/{number}",
                path=lambda number: f"992011/status/{number}",
                certificates=(pki.der("status-list-1"), pki.der("issuing")),
                life=7 * 86400,
                ttl=3600,
                size=1024,
                number=number,
                is_known=lambda number: number <= 9,
            ),
            self,  # type: ignore[arg-type]
            put_public=self._put,
            append=lambda entry: self.happened.append(("log", entry)),
            clock=lambda: self.now,
        )
        self.publisher.tend()

    def signing(self, purpose: str, *, request_id: str, serial: str):
        assert (purpose, request_id) == ("status_list", "standing:status")
        return self.key.sign_digest

    def _put(self, path: str, token: bytes) -> None:
        if self.door_away:
            raise UnavailableError("street-door")
        self.happened.append(("door", token))


@pytest.fixture
def store(tmp_path: Path) -> Engine:
    engine = open_store(f"sqlite:///{tmp_path / 'worker.sqlite'}")
    metadata.create_all(engine)
    return engine


def test_a_revocation_goes_out_at_the_next_beat_and_the_log_hears_of_it_first(store: Engine) -> None:
    city = City(store)
    assert city.publisher.publish_due() == 1
    assert city.publisher.publish_due() == 0
    with store.begin() as connection:
        one = certificates.reserve(connection, "r1", issued_at=1, valid_until=UNTIL)
        two = certificates.reserve(connection, "r2", issued_at=1, valid_until=UNTIL)
        assert revocations.mark_revoked(connection, "r1", reason=Reason.STAFF, at=2)
        assert not revocations.mark_revoked(connection, "r1", reason=Reason.SUPERSEDED, at=3)
    assert city.publisher.publish_due() == 1
    kinds = [kind for kind, _ in city.happened]
    assert kinds == ["log", "door", "log", "door"]
    token = city.happened[-1][1]
    assert city.happened[-2][1] == sha256(STATUS_LIST_LEAF_LABEL + sha256(token))
    read = parse_status_list(token)
    assert (read.status(one.status_index), read.status(two.status_index)) == (INVALID, VALID)


def test_what_the_door_did_not_take_is_tried_again(store: Engine) -> None:
    city = City(store)
    city.door_away = True
    with pytest.raises(UnavailableError):
        city.publisher.publish_due()
    city.door_away = False
    assert city.publisher.publish_due() == 1
    assert city.publisher.publish_due() == 0


class PowerCutError(BaseException):
    """Nothing of ours may catch it: the process is gone."""


@pytest.mark.parametrize("how", [UnavailableError("signer-away"), PowerCutError()])
def test_a_list_that_was_not_signed_stays_dirty_whatever_the_end(
    how: BaseException, store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    city = City(store)
    city.publisher.publish_due()
    with store.begin() as connection:
        one = certificates.reserve(connection, "r1", issued_at=1, valid_until=UNTIL)
        revocations.mark_revoked(connection, "r1", reason=Reason.STAFF, at=2)

    def fail(_digest: bytes) -> bytes:
        raise how

    with monkeypatch.context() as patch:
        patch.setattr(city.key, "sign_digest", fail)
        with pytest.raises(type(how)):
            city.publisher.publish_due()
    assert city.publisher.publish_due() == 1
    assert parse_status_list(city.happened[-1][1]).status(one.status_index) == INVALID


def test_what_is_revoked_while_the_list_is_signed_goes_out_at_the_next_beat(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    city = City(store)
    with store.begin() as connection:
        one = certificates.reserve(connection, "r1", issued_at=1, valid_until=UNTIL)
    sign = city.key.sign_digest

    def revoked_meanwhile(digest: bytes) -> bytes:
        with store.begin() as connection:
            revocations.mark_revoked(connection, "r1", reason=Reason.STAFF, at=2)
        return sign(digest)

    with monkeypatch.context() as patch:
        patch.setattr(city.key, "sign_digest", revoked_meanwhile)
        assert city.publisher.publish_due() == 1
    assert parse_status_list(city.happened[-1][1]).status(one.status_index) == VALID
    assert city.publisher.publish_due() == 1
    assert parse_status_list(city.happened[-1][1]).status(one.status_index) == INVALID
    assert city.publisher.publish_due() == 0


def test_a_token_is_renewed_before_half_its_life_is_over(store: Engine) -> None:
    city = City(store)
    first = city.publisher.token(1)
    city.now += timedelta(days=3)
    assert city.publisher.token(1) == first
    city.now += timedelta(days=1)
    renewed = parse_status_list(city.publisher.token(1))
    assert datetime.fromtimestamp(renewed.issued, UTC) == city.now


def test_a_request_keeps_its_status_index_and_two_requests_never_share_one(store: Engine) -> None:
    City(store)
    with store.begin() as connection:
        first = certificates.reserve(connection, "r1", issued_at=1, valid_until=UNTIL)
        assert certificates.reserve(connection, "r1", issued_at=9, valid_until="2099-01-01") == first
        others = {
            certificates.reserve(connection, f"x{n}", issued_at=1, valid_until=UNTIL).status_index
            for n in range(100)
        }
    assert len(others) == 100
    assert first.status_index not in others


def test_of_several_lists_only_what_changed_goes_out_in_the_order_of_numbers(store: Engine) -> None:
    city = City(store, number=4)
    assert city.publisher.publish_due() == 4
    with store.begin() as connection:
        made = reserve_copies(connection, "r1", new_keys(10), issued_at=1, valid_until=UNTIL)
        revocations.mark_revoked(connection, "r1", reason=Reason.STAFF, at=2)
    touched = sorted({copy.status_list for copy in made})
    before = len(city.happened)
    # Nothing goes out at the moment of a revocation.
    assert before == 8
    assert city.publisher.publish_due() == len(touched)
    tokens = [parse_status_list(what) for kind, what in city.happened[before:] if kind == "door"]
    assert [token.uri for token in tokens] == [f"{LISTS}/{number}" for number in touched]
    said = {(int(t.uri.rpartition("/")[2]), n) for t in tokens for n in range(1024) if t.status(n) != VALID}
    assert said == {(copy.status_list, copy.status_index) for copy in made}
    assert city.publisher.publish_due() == 0
    # Valid or invalid, and for how long: nothing else is said, above all no reason.
    for token in tokens:
        assert (token.bits, token.expires) == (1, token.issued + 7 * 86400)
        assert token.ttl is not None
        assert token.ttl < token.expires - token.issued
        assert set(token.jws.payload_object()) == {"sub", "iat", "exp", "ttl", "status_list"}
        assert len(peek_x5c(token.jws)) == 2


def test_an_expired_entry_leaves_its_list_at_the_first_beat_of_the_next_day(store: Engine) -> None:
    city = City(store)
    last = city.now.astimezone(JST).date()
    with store.begin() as connection:
        one = certificates.reserve(connection, "r1", issued_at=1, valid_until=last.isoformat())
        revocations.mark_revoked(connection, "r1", reason=Reason.STAFF, at=int(city.now.timestamp()))
    city.publisher.publish_due()
    assert parse_status_list(city.happened[-1][1]).status(one.status_index) == INVALID
    midnight = datetime(last.year, last.month, last.day, tzinfo=JST) + timedelta(days=1)
    city.now = midnight - timedelta(seconds=1)
    assert city.publisher.publish_due() == 0
    city.now = midnight
    assert city.publisher.publish_due() == 1
    assert parse_status_list(city.happened[-1][1]).status(one.status_index) == VALID


def test_a_new_list_is_out_before_its_beat_and_nothing_else_with_it(store: Engine) -> None:
    city = City(store, number=2)
    assert city.publisher.publish_new() == 2
    with store.begin() as connection:
        certificates.reserve(connection, "r1", issued_at=1, valid_until=UNTIL)
        revocations.mark_revoked(connection, "r1", reason=Reason.STAFF, at=2)
    assert city.publisher.publish_new() == 0
    assert city.publisher.publish_due() == 1
