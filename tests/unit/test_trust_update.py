"""Following a city's trust list while others use the same directory: never back, never an older list than lies there."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.verifier_bundles import mini_city
from verifier import trust_store
from verifier.errors import SourceError, TrustError
from verifier.trust import load_trust_list, verify_trust_list
from verifier.trust_store import TrustStore
from verifier.trust_update import Update, follow_city

CITY = mini_city()
LISTS = {number: CITY.trust_data(version=number) for number in range(1, 5)}
CODE = load_trust_list(LISTS[1]).content.city
READERS = 6


@pytest.fixture
def store(tmp_path: Path) -> TrustStore:
    store = TrustStore(tmp_path)
    store.add(LISTS[1], load_trust_list(LISTS[1]).fingerprint)
    return store


def follow(store: TrustStore, known: int, *, published: int = 4) -> Update:
    """A reader that knows a version asks a city that has `published` versions."""

    def public_file(_base: str, path: str) -> bytes:
        number = int(path.rsplit("/", 1)[1].split(".")[0])
        if number > published:
            raise SourceError("http-404", path)
        return LISTS[number]

    sources = SimpleNamespace(public_file=public_file)
    return follow_city(store, load_trust_list(LISTS[known]), sources)  # type: ignore[arg-type]


def test_version_after_version(store: TrustStore) -> None:
    update = follow(store, 1)
    assert (update.trust.version, update.gained, update.failure) == (4, 3, None)
    assert store.find(CODE) == update.trust
    again = follow(store, 4)
    assert (again.trust.version, again.gained, again.failure) == (4, 0, None)


@pytest.mark.parametrize("published", [1, 3, 4])
def test_a_reader_that_started_long_ago_takes_what_lies_in_the_directory(
    store: TrustStore, published: int
) -> None:
    """A check page holds version 1; a command has followed to version 3 since, whatever the city shows now."""
    store.update(CODE, [LISTS[2], LISTS[3]])
    update = follow(store, 1, published=published)
    newest = max(3, published)
    assert (update.trust.version, update.gained, update.failure) == (newest, newest - 1, None)


def test_a_city_that_shows_an_older_list_under_the_next_name_is_refused(store: TrustStore) -> None:
    store.update(CODE, [LISTS[2]])
    asked = []

    def public_file(_base: str, path: str) -> bytes:
        asked.append(path)
        return LISTS[1]

    sources = SimpleNamespace(public_file=public_file)
    update = follow_city(store, load_trust_list(LISTS[2]), sources)  # type: ignore[arg-type]
    assert (update.trust.version, update.gained, len(asked)) == (2, 0, 1)
    assert isinstance(update.failure, TrustError)


def test_another_reader_that_is_faster_is_followed(store: TrustStore) -> None:
    followed = []

    def public_file(_base: str, path: str) -> bytes:
        number = int(path.rsplit("/", 1)[1].split(".")[0])
        if not followed:
            followed.append(TrustStore(store.directory).update(CODE, [LISTS[2], LISTS[3]]))
        if number > 3:
            raise SourceError("http-404", path)
        return LISTS[number]

    sources = SimpleNamespace(public_file=public_file)
    update = follow_city(store, load_trust_list(LISTS[1]), sources)  # type: ignore[arg-type]
    assert (update.trust.version, update.gained, update.failure) == (3, 2, None)


def test_a_slow_reader_does_not_put_an_older_list_over_a_newer_one(
    store: TrustStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify_slowly(data: bytes, known: object) -> object:
        monkeypatch.setattr(trust_store, "verify_trust_list", verify_trust_list)
        TrustStore(store.directory).update(CODE, [LISTS[2], LISTS[3]])
        return verify_trust_list(data, known)  # type: ignore[arg-type]

    monkeypatch.setattr(trust_store, "verify_trust_list", verify_slowly)
    store.update(CODE, [LISTS[2]])
    found = store.find(CODE)
    assert found is not None
    assert found.version == 3


def test_many_at_once_write_one_whole_list(store: TrustStore) -> None:
    faults: list[Exception] = []

    def read(number: int, barrier: threading.Barrier) -> None:
        try:
            barrier.wait()
            TrustStore(store.directory).update(CODE, [LISTS[number]])
        except Exception as error:
            faults.append(error)

    for number in (2, 3, 4):
        for _ in range(10):
            barrier = threading.Barrier(READERS)
            threads = [threading.Thread(target=read, args=(number, barrier)) for _ in range(READERS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        found = store.find(CODE)
        assert found is not None
        assert (found.version, faults) == (number, [])
    assert [path.name for path in store.directory.iterdir()] == [f"{CODE}.root.json"]
