"""Copies for foreign wallets: the same keys the same reservations, unlinkable, one transaction a step, revoked together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Engine

from app.errors import ConflictError
from app.revocation.reasons import Reason
from app.storage import certificates, revocations
from app.storage.copies import (
    MAX_COPIES,
    Copy,
    CopyReservation,
    LoggedCopy,
    SealedCopy,
    drop_copy_documents,
    find_copies,
    reserve_copies,
    store_copies_logged,
    store_copies_released,
    store_copies_sealed,
)
from app.storage.engine import open_store
from app.storage.status_entries import StatusPlace, find_invalid, tend_lists
from app.storage.tables import metadata
from app.storage.tally import count_logged, count_sealed
from verifier.errors import FormatError
from verifier.formats.jose import format_jwk

UNTIL = "2027-02-20"
ISSUED = 1_795_143_600


@pytest.fixture
def store(tmp_path: Path) -> Engine:
    engine = open_store(f"sqlite:///{tmp_path / 'worker.sqlite'}")
    metadata.create_all(engine)
    with engine.begin() as connection:
        tend_lists(connection, wanted=4, size=1024, may_open=lambda number: number < 99)
    return engine


def new_keys(count: int) -> list[Mapping[str, object]]:
    return [format_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()) for _ in range(count)]


def reserve(
    store: Engine, keys: Sequence[Mapping[str, object]], request: str = "r1"
) -> tuple[CopyReservation, ...]:
    with store.begin() as connection:
        return reserve_copies(connection, request, keys, issued_at=ISSUED, valid_until=UNTIL)


def found(store: Engine, request: str = "r1") -> tuple[Copy, ...]:
    with store.begin() as connection:
        return find_copies(connection, request)


def sealed(made: Sequence[CopyReservation]) -> list[SealedCopy]:
    return [SealedCopy(copy.copy_id, f"credential {copy.position}", os.urandom(32)) for copy in made]


def logged(made: Sequence[CopyReservation]) -> list[LoggedCopy]:
    return [LoggedCopy(copy.copy_id, 100 - copy.position, "proof") for copy in made]


def test_the_same_keys_get_the_same_copies_and_other_keys_are_refused(store: Engine) -> None:
    keys = new_keys(10)
    made = reserve(store, keys)
    with store.begin() as connection:
        again = reserve_copies(connection, "r1", keys, issued_at=ISSUED + 9, valid_until="2028-01-01")
    assert again == made
    assert [copy.reservation for copy in found(store)] == list(made)
    for others in (keys[:9], new_keys(10), [*keys, *new_keys(1)], keys[::-1]):
        with pytest.raises(ConflictError, match="other-keys"):
            reserve(store, others)
    assert reserve(store, new_keys(1), "r2") != made


def test_what_a_reader_of_one_copy_sees_is_in_no_other(store: Engine) -> None:
    made = [copy for number in range(5) for copy in reserve(store, new_keys(10), f"r{number}")]
    for name in ("copy_id", "holder_jwk", "salt_data", "salt_page", "salt_credential"):
        assert len({getattr(copy, name) for copy in made}) == 50
    assert {len(copy.salt_page) for copy in made} == {32}
    places = [StatusPlace(copy.status_list, copy.status_index) for copy in made]
    assert len(set(places)) == 50
    assert not any(a.is_beside(b) for a in places[:10] for b in places[:10] if a is not b)
    assert {place.status_list for place in places} == {1, 2, 3, 4}


def test_a_batch_is_of_different_public_keys_and_of_limited_size(store: Engine) -> None:
    (key,) = new_keys(1)
    private = {**key, "d": "AA"}
    for keys, code in (([key, key], "same-key"), ([], "number"), ([key] * (MAX_COPIES + 1), "number")):
        with pytest.raises(ConflictError, match=code):
            reserve(store, keys)
    with pytest.raises(FormatError, match="bad-jwk"):
        reserve(store, [private])
    assert found(store) == ()


def test_from_reserved_to_forgotten(store: Engine) -> None:
    made = reserve(store, new_keys(3))
    entries = sealed(made)
    with store.begin() as connection:
        with pytest.raises(ConflictError, match="copies"):
            store_copies_logged(connection, "r1", logged(made))
        with pytest.raises(ConflictError, match="copies"):
            store_copies_sealed(connection, "r1", entries[:2])
        with pytest.raises(ConflictError, match="copies"):
            store_copies_sealed(connection, "r2", [])
        assert not store_copies_released(connection, "r1", at=5)
        store_copies_sealed(connection, "r1", entries)
        assert (count_sealed(connection), count_logged(connection)) == (3, 0)
    # A maker that died before the log was asked may make them anew; nobody may afterwards.
    entries = sealed(made)
    with store.begin() as connection:
        store_copies_sealed(connection, "r1", entries)
        store_copies_logged(connection, "r1", logged(made))
        with pytest.raises(ConflictError, match="copies"):
            store_copies_sealed(connection, "r1", sealed(made))
        assert (count_sealed(connection), count_logged(connection)) == (3, 3)
        assert store_copies_released(connection, "r1", at=7)
        assert not store_copies_released(connection, "r1", at=8)
    ready = found(store)
    assert [(copy.entry, copy.credential, copy.released_at) for copy in ready] == [
        (entry.entry, entry.credential, 7) for entry in entries
    ]
    with store.begin() as connection:
        drop_copy_documents(connection, "r1", at=9)
        drop_copy_documents(connection, "r1", at=10)
    for copy, before in zip(found(store), ready, strict=True):
        assert (copy.credential, copy.proof, copy.forgotten_at) == (None, None, 9)
        assert (copy.reservation, copy.entry, copy.log_index) == (
            before.reservation,
            before.entry,
            before.log_index,
        )


def test_a_step_that_fails_in_the_middle_stores_nothing(store: Engine) -> None:
    made = reserve(store, new_keys(3))
    broken = [*sealed(made)[:2], SealedCopy(made[0].copy_id, "another's", b"\0" * 32)]
    with pytest.raises(ConflictError), store.begin() as connection:
        store_copies_sealed(connection, "r1", broken)
    assert [copy.entry for copy in found(store)] == [None, None, None]


def test_a_certificate_and_all_copies_are_revoked_together(store: Engine) -> None:
    made = reserve(store, new_keys(10))
    (other,) = reserve(store, new_keys(1), "r2")
    with store.begin() as connection:
        phone = certificates.reserve(connection, "r1", issued_at=ISSUED, valid_until=UNTIL)
        assert revocations.mark_revoked(connection, "r1", reason=Reason.STAFF, note="lost", at=ISSUED)
        assert not revocations.mark_revoked(connection, "r1", reason=Reason.SUPERSEDED, at=ISSUED)
        invalid = {(number, index) for number in (1, 2, 3, 4) for index in find_invalid(connection, number)}
        assert revocations.find_reason(connection, "r1") is Reason.STAFF
        assert not revocations.is_revoked(connection, "r2")
    assert invalid == {(one.status_list, one.status_index) for one in (*made, phone)}
    assert (other.status_list, other.status_index) not in invalid


def test_a_revoked_request_hands_out_nothing(store: Engine) -> None:
    keys = new_keys(2)
    made = reserve(store, keys)
    with store.begin() as connection:
        store_copies_sealed(connection, "r1", sealed(made))
        store_copies_logged(connection, "r1", logged(made))
        assert revocations.mark_revoked(connection, "r1", reason=Reason.SUPERSEDED, at=ISSUED)
        with pytest.raises(ConflictError, match="revoked"):
            store_copies_released(connection, "r1", at=ISSUED)
        with pytest.raises(ConflictError, match="revoked"):
            reserve_copies(connection, "r1", keys, issued_at=ISSUED, valid_until=UNTIL)
