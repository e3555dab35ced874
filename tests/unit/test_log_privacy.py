"""What the public log says about people: nothing by time, order, number or name. Beside each test the broken variant it
catches.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chain import log as log_module
from chain import sequencer as sequencer_module
from chain.checkpoint_key import SoftwareSigner
from chain.log import Log, build_dummy, create_log
from chain.sequencer import Sequencer
from chain.service import _PUBLIC_PATH, Problem, _parse_append
from mobile_api.public_files import PATHS
from tests.support.door_house import CITY, make_house
from verifier.formats.names import DUMMY_LEAF_LABEL
from verifier.formats.signed_note import build_vkey
from verifier.formats.tiles import entries_path, parse_entries

ORIGIN = "door.mihon.example/992011/log/1"
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
KEY = build_vkey(ORIGIN, PRIVATE.public_key().public_bytes_raw())
BEAT = 2.0


def entry(number: int) -> bytes:
    return hashlib.sha256(b"entry" + bytes([number])).digest()


@pytest.fixture
def open_log(tmp_path: Path) -> Iterator[Callable[..., Log]]:
    opened: list[Log] = []

    def make(**options) -> Log:
        directory = tmp_path / str(len(opened))
        create_log(directory, ORIGIN)
        opened.append(Log(directory, KEY, SoftwareSigner(PRIVATE), **options))
        return opened[-1]

    yield make
    for log in opened:
        log.close()


def published(log: Log) -> list[bytes]:
    """Everything that stands in the log's first bundle, in order."""
    size = log.published.size
    return parse_entries(log.files.read(entries_path(0, size)), size)


# -- time: a fixed beat --------------------------------------------------------------------------------------


class Clock:
    """A clock that moves only while the sequencer waits or works; things happen at times fixed before."""

    def __init__(self, happenings: dict[float, Callable[[], None]], end: float) -> None:
        self.now = 100.0  # a start that is no multiple of anything
        self.end = self.now + end
        self._happenings = sorted((self.now + at, act) for at, act in happenings.items())

    def monotonic(self) -> float:
        return self.now

    def is_set(self) -> bool:
        return self.now >= self.end

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self._happenings and self._happenings[0][0] <= until:
            self.now, act = self._happenings.pop(0)
            act()
        self.now = until


def checkpoint_times(log: Log, kind: type[Sequencer], arrivals: Sequence[float], monkeypatch) -> list[float]:
    """Seconds after the start at which checkpoints appear when entries come at `arrivals`."""
    beat = kind(log, beat_seconds=BEAT, max_waiting=100)
    acts = {at: (lambda number=number: beat.submit([entry(number)])) for number, at in enumerate(arrivals)}
    clock = Clock(acts, end=20)
    times: list[float] = []
    append = log.append

    def noting(entries, **options):
        times.append(round(clock.now - 100.0, 6))
        return append(entries, **options)

    monkeypatch.setattr(log, "append", noting)
    monkeypatch.setattr(sequencer_module.time, "monotonic", clock.monotonic)
    beat.run(clock)
    return times


ARRIVALS = (0.1, 1.999, 2.0, 5.3, 5.31, 11.7)


def test_checkpoints_come_on_the_beat_whenever_entries_come(open_log, monkeypatch) -> None:
    times = checkpoint_times(open_log(), Sequencer, ARRIVALS, monkeypatch)
    assert times
    assert [time % BEAT for time in times] == [0.0] * len(times)


def test_a_sequencer_that_hurries_is_caught(open_log, monkeypatch) -> None:
    class Hasty(Sequencer):
        def submit(self, entries: Sequence[bytes]) -> None:
            super().submit(entries)
            self.beat()

    times = checkpoint_times(open_log(), Hasty, ARRIVALS, monkeypatch)
    assert any(time % BEAT for time in times)


def test_a_slow_beat_misses_beats_and_does_not_move_them(open_log, monkeypatch) -> None:
    """A disk that takes two and a half beats: what follows stands on the grid of the start again."""
    log = open_log()
    beat = Sequencer(log, beat_seconds=BEAT, max_waiting=100)
    clock = Clock({0.5: lambda: beat.submit([entry(1)]), 8.5: lambda: beat.submit([entry(2)])}, end=20)
    times: list[float] = []
    append = log.append

    def slow(entries, **options):
        times.append(clock.now - 100.0)
        clock.now += 2.5 * BEAT
        return append(entries, **options)

    monkeypatch.setattr(log, "append", slow)
    monkeypatch.setattr(sequencer_module.time, "monotonic", clock.monotonic)
    beat.run(clock)
    assert times == [2.0, 10.0]


# -- order ---------------------------------------------------------------------------------------------------


def orders(open_log, **options) -> set[tuple[bytes, ...]]:
    """The orders in the log of the same four entries, over every order in which they can come."""
    found = set()
    for arrival in itertools.permutations(range(4)):
        log = open_log(padding=1, **options)
        log.append([entry(number) for number in arrival])
        found.add(tuple(published(log)))
    return found


def test_the_order_in_the_log_says_nothing_of_the_order_of_coming(open_log) -> None:
    assert len(orders(open_log)) == 1


def test_a_log_that_keeps_the_order_is_caught(open_log) -> None:
    assert len(orders(open_log, mix=False)) == 24


def test_dummies_stand_among_the_others(open_log) -> None:
    """Real ones first and dummies last would show how many are real."""
    log = open_log(padding=64)
    log.append([entry(number) for number in range(32)])
    real = {entry(number) for number in range(32)}
    places = [number for number, item in enumerate(published(log)) if item in real]
    assert len(places) == 32
    assert places != list(range(32)), "all 32 first: one chance in 10**18"
    unmixed = open_log(padding=64, mix=False)
    unmixed.append([entry(number) for number in range(32)])
    assert [n for n, item in enumerate(published(unmixed)) if item in real] == list(range(32))  # the control


# -- number --------------------------------------------------------------------------------------------------


def growths(open_log, padding: int) -> set[int]:
    sizes = set()
    for count in range(1, 9):
        log = open_log(padding=padding)
        log.append([entry(number) for number in range(count)])
        sizes.add(log.published.size)
    return sizes


def test_one_entry_and_eight_look_alike(open_log) -> None:
    assert growths(open_log, 8) == {8}
    assert len(growths(open_log, 1)) == 8  # the control: without padding the number shows


# -- dummies -------------------------------------------------------------------------------------------------


def guesses() -> set[bytes]:
    """Dummies as somebody would make them who has no good salt: nothing, zeros, a counter, a short one."""
    salts = [b"", *(bytes([value]) * 32 for value in range(256))]
    salts += [number.to_bytes(width, "big") for width in (1, 2, 4, 8, 32) for number in range(256)]
    return {hashlib.sha256(DUMMY_LEAF_LABEL + salt).digest() for salt in salts}


def test_nobody_finds_a_dummy_by_guessing_its_salt(open_log, monkeypatch) -> None:
    log = open_log(padding=200)
    log.append([], cover=True)
    assert len(set(published(log))) == 200, "no two are alike"
    assert not guesses() & set(published(log))
    numbers = itertools.count()
    monkeypatch.setattr(
        log_module, "build_dummy", lambda: build_dummy(lambda size: next(numbers).to_bytes(size, "big"))
    )
    weak = open_log(padding=200)
    weak.append([], cover=True)
    assert set(published(weak)) <= guesses()  # the control: a counter for a salt is found


def test_salts_are_fresh_long_and_forgotten(open_log, monkeypatch) -> None:
    salts: list[bytes] = []

    def noting(size: int) -> bytes:
        salts.append(log_module.secrets.token_bytes(size))
        return salts[-1]

    monkeypatch.setattr(log_module, "build_dummy", lambda: build_dummy(noting))
    log = open_log(padding=16)
    log.append([entry(1)])
    log.append([], cover=True)
    assert len(set(salts)) == len(salts) == 31
    assert {len(salt) for salt in salts} == {32}
    kept = b"".join(
        path.read_bytes() for path in sorted(log.files.directory.parent.rglob("*")) if path.is_file()
    )
    assert [salt for salt in salts if salt in kept] == []
    assert entry(1) in kept  # the control: what is kept is found by this search


# -- names: no end point takes an index ----------------------------------------------------------------------

ASKING_BY_INDEX = (
    "log/1/leaf/5",
    "log/1/entry/5",
    "log/1/proof/5",
    "log/1/inclusion/5",
    "log/1/entries/5",
    "log/1/5",
)
# files of which one is about a whole state of the log, or about 256 neighbours
ALLOWED = re.compile(
    r"log/1/(checkpoint|anchored|(checkpoints|receipts|timestamps)/\d+|tile/(entries|\d+)/(x\d{3}/)*\d{3}(\.p/\d+)?)"
)


def test_the_street_door_has_no_way_to_ask_for_one_leaf(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    variables = {name for rule in house.app.url_map.iter_rules() for name in rule.arguments}
    assert not {name for name in variables if re.search("index|leaf|entry|proof|number|position", name)}, (
        variables
    )
    browser = house.app.test_client()
    for path in ASKING_BY_INDEX:
        assert not any(rule[0].fullmatch(path) for rule in PATHS), path
        assert browser.get(f"/{CITY}/{path}").status_code == 404, path
    house.city.mailbox.put_public(f"{CITY}/log/1/tile/0/000.p/9", bytes(9 * 32))
    plain = browser.get(f"/{CITY}/log/1/tile/0/000.p/9")
    asked = browser.get(f"/{CITY}/log/1/tile/0/000.p/9?index=5&leaf=00")
    assert (plain.status_code, plain.data, plain.headers["ETag"]) == (200, asked.data, asked.headers["ETag"])


@pytest.mark.parametrize("path", ASKING_BY_INDEX)
def test_the_logs_own_door_has_none_either(path: str) -> None:
    assert _PUBLIC_PATH.fullmatch(path.removeprefix("log/1/")) is None
    assert ALLOWED.fullmatch(path) is None
    assert ALLOWED.fullmatch("log/1/tile/0/x001/234.p/8")  # the control
    for body in (b'{"index": 5}', b'{"entries": [5]}', b'{"entries": ["%s"], "index": 5}' % (b"00" * 32)):
        with pytest.raises(Problem) as caught:
            _parse_append(body, 10)
        assert caught.value.status == 400
    assert _parse_append(b'{"entries": ["%s"]}' % (b"00" * 32), 10) == [bytes(32)]
