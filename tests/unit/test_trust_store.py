"""The trust directory: first contact, updates, and what must never lie in it."""

import pytest

from tests.support.verifier_bundles import DAY, NOW, mini_city
from verifier.errors import FormatError, TrustError, UsageError
from verifier.trust import load_trust_list
from verifier.trust_store import TrustStore


@pytest.fixture
def store(tmp_path):
    return TrustStore(tmp_path / "trust")


def add(store, data):
    return store.add(data, load_trust_list(data).fingerprint)


def code_of(error):
    return error.value.code


def test_add_and_find(store):
    city = mini_city()
    trust = add(store, city.trust_data())
    assert store.find("992011") == trust
    assert store.lists() == (trust,)
    assert store.find("131016") is None


def test_nothing_is_trusted_by_default(store):
    with pytest.raises(UsageError):
        store.lists()
    store.directory.mkdir()
    with pytest.raises(TrustError) as error:
        store.lists()
    assert code_of(error) == "no-trust"


def test_a_wrong_fingerprint_writes_nothing(store):
    with pytest.raises(TrustError, match="other-fingerprint"):
        store.add(mini_city().trust_data(), "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAA")
    assert not store.directory.exists()


def test_update_walks_versions_and_keeps_what_was_good(store):
    city = mini_city()
    add(store, city.trust_data())
    store.update("992011", [city.trust_data(version=2), city.trust_data(version=3)])
    assert store.find("992011").version == 3
    with pytest.raises(TrustError) as error:
        store.update("992011", [city.trust_data(version=4), city.trust_data(version=2)])
    assert code_of(error) == "rollback"
    assert store.find("992011").version == 4


def test_versions_in_between_may_have_expired(store):
    """Somebody who was away walks through them; only what the last one says counts."""
    city = mini_city()
    add(store, city.trust_data(expires=NOW - 300 * DAY))
    ended = city.trust_data(version=2, expires=NOW - 100 * DAY)
    trust = store.update("992011", [ended, city.trust_data(version=3)])
    assert (trust.version, trust.is_expired(NOW)) == (3, False)
    assert store.update("992011", [city.trust_data(version=4, expires=NOW)]).is_expired(NOW)


def test_a_broken_step_stops_the_walk_where_it_is(store):
    city = mini_city()
    add(store, city.trust_data())
    with pytest.raises(TrustError, match="threshold"):
        store.update(
            "992011",
            [city.trust_data(version=2), city.trust_data(version=3, signers=1), city.trust_data(version=4)],
        )
    assert store.find("992011").version == 2


def test_adding_an_older_list_is_a_rollback(store):
    city = mini_city()
    add(store, city.trust_data(version=2))
    with pytest.raises(TrustError) as error:
        add(store, city.trust_data(version=1))
    assert code_of(error) == "rollback"


def test_two_lists_with_one_version_are_refused(store):
    city = mini_city()
    add(store, city.trust_data())
    with pytest.raises(TrustError) as error:
        add(store, city.trust_data(name="別"))
    assert code_of(error) == "equivocation"


def test_mock_and_real_never_lie_together(store):
    city = mini_city()
    add(store, city.trust_data())
    with pytest.raises(TrustError) as error:
        add(store, city.trust_data(city="131016", mock=False))
    assert code_of(error) == "mock-mix"
    # and if somebody copies a file in by hand, nothing is trusted at all
    (store.directory / "131016.root.json").write_bytes(city.trust_data(city="131016", mock=False))
    with pytest.raises(TrustError) as error:
        store.lists()
    assert code_of(error) == "mock-mix"


def test_a_renamed_file_is_noticed(store):
    add(store, mini_city().trust_data())
    (store.directory / "992011.root.json").rename(store.directory / "131016.root.json")
    with pytest.raises(TrustError) as error:
        store.lists()
    assert code_of(error) == "other-city"


def test_a_spoilt_file_is_an_error_of_ours(store):
    store.directory.mkdir()
    (store.directory / "992011.root.json").write_bytes(b"{}")
    with pytest.raises(FormatError):
        store.lists()


@pytest.mark.parametrize("city", ["../x", "99201", "abcdef", "９９２０１１"])
def test_city_codes_are_no_paths(store, city):
    with pytest.raises(UsageError):
        store.find(city)


def test_unknown_cities_are_not_updated(store):
    add(store, mini_city().trust_data())
    with pytest.raises(TrustError, match="no-trust"):
        store.update("131016", [])
