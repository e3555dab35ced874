"""The demo's witnesses: made once, private, and a policy that needs any three of them."""

from __future__ import annotations

import itertools
import json
import stat
from pathlib import Path

import pytest

from app.errors import CityError
from app.house.home import Home
from app.house.setup import set_up, utc_now
from app.house.witnesses import QUORUM, WITNESSES, make_witnesses, write_witness_addresses
from chain.errors import SettingsError
from chain.witness_keys import load_identity, load_keys
from chain.witness_settings import read_logs
from verifier.formats.signed_note import build_vkey
from verifier.formats.witness_policy import parse_witness_policy

LOG_KEY = build_vkey("door.mihon.example/992011/log/1", bytes(range(32)))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("house"))
    make_witnesses(home, LOG_KEY)
    return home


def test_the_policy_is_met_by_any_three_and_by_no_two(home: Home) -> None:
    policy = parse_witness_policy(home.witness_policy.read_text("utf-8"))
    assert len(policy.keys) == len(WITNESSES) == 5
    for count in range(len(WITNESSES) + 1):
        for keys in itertools.combinations(policy.keys, count):
            assert policy.is_met_by(keys) is (count >= QUORUM), count


def test_each_witness_has_keys_of_its_own_and_nobody_else_reads_them(home: Home) -> None:
    secrets = set()
    for name in WITNESSES:
        keys = load_keys(home.witness(name), is_mock=True)
        secrets.add(keys.bls_secret)
        assert stat.S_IMODE((home.witness(name) / "keys.json").stat().st_mode) == 0o600
        with pytest.raises(SettingsError, match="other-profile"):
            load_keys(home.witness(name), is_mock=False)
    assert len(secrets) == len(WITNESSES)


def test_they_watch_this_log_and_the_log_finds_them(home: Home) -> None:
    assert read_logs(home.witness_logs) == (LOG_KEY,)
    write_witness_addresses(
        home, {name: f"http://127.0.0.1:{number}" for number, name in enumerate(WITNESSES, 1)}
    )
    lines = home.witness_addresses.read_text("utf-8").splitlines()
    names = [load_identity(home.witness(name) / "witness.json").name for name in WITNESSES]
    assert [line.split() for line in lines] == [
        [name, f"http://127.0.0.1:{number}"] for number, name in enumerate(names, 1)
    ]


def test_keys_are_made_once(home: Home) -> None:
    with pytest.raises(SettingsError, match="keys-exist"):
        make_witnesses(home, LOG_KEY)


def test_a_home_of_another_version_is_refused_instead_of_being_half_used(tmp_path: Path) -> None:
    (tmp_path / "set-up.json").write_text(json.dumps({"mock": True}))
    with pytest.raises(CityError, match="remove it"):
        set_up(Home(tmp_path), residents=10, seed=1, now=utc_now())
