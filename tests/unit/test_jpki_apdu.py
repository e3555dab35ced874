"""The mock card against hostile commands, two readers at once, a kill, a full disk; and a reader against a
broken card.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.counterparts.jpki import apdu, card_file
from app.counterparts.jpki.apdu import Command, build_command, parse_command
from app.counterparts.jpki.card import JPKI_AID, SoftwareCard, digest_info
from app.counterparts.jpki.card_file import MAX_TRIES, CardFile
from app.counterparts.jpki.errors import CardError, JpkiError, WrongPin
from app.counterparts.jpki.reader import MAX_FILE, CardReader, read_file, verify_pin
from tests.support.door_house import PASSWORDS, make_card, make_jpki

SELECT = bytes.fromhex("00A4040C0A") + JPKI_AID
SIGN = build_command(0x80, 0x2A, 0x0080, digest_info(bytes(32)), 256)
RIGHT = build_command(0x00, 0x20, 0x0080, b"1234")
WRONG = build_command(0x00, 0x20, 0x0080, b"0000")
# What ISO/IEC 7816-4 section 5.6 gives a first byte to; nothing else may come back.
STATUS_BYTES = (0x90, *range(0x61, 0x70))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    directory = tmp_path_factory.mktemp("card")
    make_card(make_jpki(directory / "jpki"), directory / "card.json")
    return (directory / "card.json").read_bytes()


@pytest.fixture
def path(fresh: bytes, tmp_path: Path) -> Path:
    (tmp_path / "card.json").write_bytes(fresh)
    return tmp_path / "card.json"


def select(fid: int) -> bytes:
    return build_command(0x00, 0xA4, 0x020C, fid.to_bytes(2, "big"))


def stored_tries(path: Path, kind: str = "authentication") -> int:
    tries = json.loads(path.read_bytes())[kind]["tries"]
    assert isinstance(tries, int)
    return tries


# --- length forms -----------------------------------------------------------------------------------------


@given(
    st.integers(0, 255), st.integers(0, 255), st.integers(0, 0xFFFF),
    st.binary(max_size=300) | st.just(bytes(0xFFFF)), st.integers(0, 0x10000),
)  # fmt: skip
def test_every_command_is_read_as_it_was_built(
    cla: int, instruction: int, parameters: int, data: bytes, expected: int
) -> None:
    raw = build_command(cla, instruction, parameters, data, expected)
    found = parse_command(raw)
    assert found == Command(cla, instruction, parameters >> 8, parameters & 0xFF, data, expected)
    assert found.parameters == parameters


@pytest.mark.parametrize(
    ("body", "data", "expected"),
    [
        ("", "", 0),
        ("00", "", 256),
        ("F0", "", 240),
        ("02AABB", "AABB", 0),
        ("02AABB00", "AABB", 256),
        ("000000", "", 65536),
        ("000001", "", 1),
        ("000001FF", "FF", 0),
        ("000001FF0000", "FF", 65536),
    ],
)
def test_the_eight_cases(body: str, data: str, expected: int) -> None:
    found = parse_command(bytes.fromhex("00B00000" + body))
    assert found == Command(0x00, 0xB0, 0, 0, bytes.fromhex(data), expected)


@pytest.mark.parametrize(
    "body", ["0000", "0200", "02AABB0000", "00000001", "000002FF", "000001FF00", "000001FF000000"]
)
def test_lengths_that_do_not_fit(body: str) -> None:
    assert parse_command(bytes.fromhex("00B00000" + body)) is None


def test_nothing_is_longer_than_the_longest() -> None:
    assert parse_command(bytes(apdu.MAX_COMMAND + 1)) is None
    with pytest.raises(ValueError, match="so much"):
        build_command(0, 0, 0, bytes(0x10000))


# --- hostile commands -------------------------------------------------------------------------------------

FIDS = st.sampled_from([0x0001, 0x0002, 0x000A, 0x000B, 0x001A, 0x001B, 0x0017, 0x0018, 0x0006, 0x9999])
COMMANDS = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.just(SELECT),
        st.builds(select, FIDS),
        st.just(RIGHT),
        st.just(WRONG),
        st.just(SIGN),
        st.builds(
            lambda head, parameters, data, expected: build_command(*head, parameters, data, expected),
            st.sampled_from([(0, 0xA4), (0, 0x20), (0, 0x24), (0, 0xB0), (0x80, 0x2A), (0x0C, 0xA4)]),
            st.sampled_from([0, 0x0080, 0x0180, 0x020C, 0x040C, 0x7FFF, 0x8000, 0xFFFF]),
            st.binary(max_size=60),
            st.sampled_from([0, 1, 255, 256, 257, 0x10000]),
        ),
        st.builds(lambda command, size: command[:size], st.just(SIGN), st.integers(0, len(SIGN))),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commands=COMMANDS)
def test_any_commands_get_status_words(fresh: bytes, tmp_path: Path, commands: list[bytes]) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(fresh)
    with SoftwareCard(path) as card:
        for command in commands:
            before = {kind: stored_tries(path, kind) for kind in MAX_TRIES}
            answer = card.transmit(command)
            assert len(answer) >= 2
            assert answer[-2] in STATUS_BYTES
            assert len(answer) == 2 or answer[-2:] == b"\x90\x00"
            read = parse_command(command)
            assert len(answer) - 2 <= (read.expected if read is not None else 0)
            for kind, most in MAX_TRIES.items():
                # A counter goes down by one, or back to the top; at zero it stays for ever.
                now = stored_tries(path, kind)
                assert now in (before[kind], before[kind] - 1, most)
                assert now >= 0
                assert before[kind] > 0 or now == 0


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("0CA4040C0AD392F000260100000001", "6E00"),
        ("01B0000000", "6E00"),
        ("FF200080", "6E00"),
        ("80A4040C0AD392F000260100000001", "6D00"),
        ("0022000000", "6D00"),
        ("002000810431323334", "6A86"),
        ("002400800431323334", "6A86"),
        ("802A9E9A00", "6A86"),
        ("00A404000AD392F000260100000001", "6A86"),
        ("00A4020C020011", "6A82"),
        ("00A4040C0AD3921000310001010408", "6A82"),
        ("0020008003", "6983"),
        ("00200080023132", "63C2"),
    ],
)
def test_status_words(path: Path, command: str, answer: str) -> None:
    with SoftwareCard(path) as card:
        card.transmit(SELECT)
        card.transmit(select(0x0018))
        if answer == "6983":
            for _ in range(3):
                card.transmit(WRONG)
        assert card.transmit(bytes.fromhex(command)).hex().upper() == answer


# --- reading ----------------------------------------------------------------------------------------------


def test_a_file_is_read_in_pieces_and_at_once(path: Path) -> None:
    with SoftwareCard(path) as card:
        card.transmit(SELECT)
        card.transmit(select(0x000A))
        whole = card.transmit(build_command(0x00, 0xB0, 0, expected=0x10000))
        assert whole[-2:] == b"\x90\x00"
        assert x509.load_der_x509_certificate(whole[:-2])
        assert read_file(card) == whole[:-2]
        middle = card.transmit(build_command(0x00, 0xB0, 0x0101, expected=7))
        assert middle[:-2] == whole[0x101:0x108]
        end = len(whole) - 2
        assert card.transmit(build_command(0x00, 0xB0, end, expected=16)) == b"\x90\x00"
        for offset, expected, answer in ((end + 1, 16, "6B00"), (0x8000, 16, "6B00"), (0, 0, "6700")):
            assert card.transmit(build_command(0x00, 0xB0, offset, expected=expected)).hex().upper() == answer


# --- counters ---------------------------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
from app.counterparts.jpki import card, card_file
if sys.argv[2] == "late":
    # The broken card: keeps its counters in memory until it is closed.
    card_file.CardFile.store_entry = lambda self, kind, **changes: self.content[kind].update(changes)
reader = card.SoftwareCard(Path(sys.argv[1]))
for line in sys.stdin:
    print(reader.transmit(bytes.fromhex(line)).hex(), flush=True)
"""


def kill_after(path: Path, commands: list[bytes], how: str = "card") -> list[str]:
    """The answers of a card in another process, which is killed as soon as the last one is out."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    answers = []
    try:
        for command in commands:
            process.stdin.write(command.hex() + "\n")
            process.stdin.flush()
            answers.append(process.stdout.readline().strip())
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdin.close()
        process.stdout.close()
    return answers


def test_a_kill_gives_no_try_back(path: Path) -> None:
    assert kill_after(path, [SELECT, select(0x0018), WRONG]) == ["9000", "9000", "63c2"]
    assert stored_tries(path) == 2
    assert kill_after(path, [SELECT, select(0x0018), WRONG, WRONG])[-1] == "6983"
    assert kill_after(path, [SELECT, select(0x0018), RIGHT]) == ["9000", "9000", "6983"]
    with pytest.raises(CardError, match="locked"):
        CardReader(path).authenticate(PASSWORDS.authentication, b"x")


def test_a_card_that_stores_late_is_found(path: Path) -> None:
    assert kill_after(path, [SELECT, select(0x0018), WRONG], "late")[-1] == "63c2"
    assert stored_tries(path) == 3


def test_a_kill_after_a_change_keeps_the_new_password(path: Path) -> None:
    change = build_command(0x00, 0x24, 0x0180, b"5678")
    assert kill_after(path, [SELECT, select(0x0018), RIGHT, change])[-1] == "9000"
    assert CardReader(path).authenticate("5678", b"x").signature


def test_a_full_disk_costs_the_answer_and_gives_no_try(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> int:
        raise OSError(28, "no space")

    with SoftwareCard(path) as card:
        card.transmit(SELECT)
        card.transmit(select(0x0018))
        monkeypatch.setattr(card_file, "write_whole", full)
        assert card.transmit(RIGHT) == b"\x65\x81"
        monkeypatch.undo()
        # Not even the right password opens it now; the card has to be put in again.
        assert card.transmit(RIGHT) == b"\x65\x81"
        card.transmit(select(0x0017))
        assert card.transmit(SIGN) == b"\x69\x82"
    assert stored_tries(path) == 3
    assert CardReader(path).authenticate(PASSWORDS.authentication, b"x").signature


def guess_at_once(path: Path, open_card: Callable[[Path], SoftwareCard]) -> int:
    """Two readers, each with four guesses; how many guesses the card compared."""
    compared = []

    def guess() -> None:
        with open_card(path) as card:
            card.transmit(SELECT)
            card.transmit(select(0x0018))
            for _ in range(4):
                word = card.transmit(WRONG)
                if word[:1] == b"\x63" or (word == b"\x69\x83" and not locked):
                    compared.append(word)
                if word == b"\x69\x83":
                    locked.append(True)

    locked: list[bool] = []
    readers = [threading.Thread(target=guess) for _ in range(2)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(60)
    return len(compared)


def test_two_readers_share_three_tries(path: Path) -> None:
    assert guess_at_once(path, SoftwareCard) == 3
    assert stored_tries(path) == 0


@pytest.mark.parametrize("came", ["before", "after"])
def test_a_second_reader_waits_and_sees_what_was_stored(path: Path, came: str) -> None:
    """It came before the stored change: the file it waits for is the old card. After: the lock went over."""
    said: list[bytes] = []
    entered = threading.Event()

    def second() -> None:
        with SoftwareCard(path) as card:
            entered.set()
            card.transmit(SELECT)
            card.transmit(select(0x0018))
            said.append(card.transmit(bytes.fromhex("00200080")))

    waiting = threading.Thread(target=second)
    with SoftwareCard(path) as card:
        card.transmit(SELECT)
        card.transmit(select(0x0018))
        if came == "before":
            waiting.start()
            assert not entered.wait(0.3)
        assert card.transmit(WRONG) == b"\x63\xc2"
        if came == "after":
            waiting.start()
        assert not entered.wait(0.3)
    waiting.join(60)
    assert said == [b"\x63\xc2"]


def test_a_lock_that_stays_with_the_old_file_is_found(path: Path) -> None:
    class OldLock(CardFile):
        def store_entry(self, kind: str, **changes: object) -> None:
            self.content = self.content | {kind: self.content[kind] | changes}
            os.close(card_file.write_whole(path, self.content))

    def open_broken() -> SoftwareCard:
        card = SoftwareCard(path)
        card._file.close()
        card._file = OldLock(path)
        return card

    with open_broken() as first:
        first.transmit(SELECT)
        first.transmit(select(0x0018))
        assert first.transmit(WRONG) == b"\x63\xc2"
        with open_broken() as second:
            second.transmit(SELECT)
            second.transmit(select(0x0018))
            assert [second.transmit(WRONG) for _ in range(2)] == [b"\x63\xc1", b"\x69\x83"]
        # The card was locked in between, and goes on.
        assert first.transmit(WRONG) == b"\x63\xc1"


@pytest.mark.parametrize(
    "change",
    [
        {"tries": 4}, {"tries": -1}, {"tries": True}, {"tries": "3"}, {"password": "１２３４"}, {"password": 1234},
        {"key": "x"}, {"key": None}, {"certificate": 5},
    ],
)  # fmt: skip
def test_a_bent_file_is_no_card(path: Path, change: dict[str, object]) -> None:
    content = json.loads(path.read_bytes())
    content["authentication"] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(JpkiError, match="bad-card"):
        SoftwareCard(path)


def test_a_broken_key_is_told_by_a_status_word(path: Path) -> None:
    content = json.loads(path.read_bytes())
    content["authentication"]["key"] = content["authentication"]["certificate"]
    path.write_text(json.dumps(content))
    with SoftwareCard(path) as card:
        for command in (SELECT, select(0x0018), RIGHT, select(0x0017)):
            assert card.transmit(command) == b"\x90\x00"
        assert card.transmit(SIGN) == b"\x6f\x00"
    path.write_bytes(b" " * (card_file.MAX_FILE + 1))
    with pytest.raises(JpkiError, match="bad-card"):
        SoftwareCard(path)


# --- the reader -------------------------------------------------------------------------------------------


class Broken:
    """A card that gives the same answer to everything."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked = 0

    def transmit(self, command: bytes) -> bytes:
        self.asked += 1
        return self.answer


@pytest.mark.parametrize("answer", [b"", b"\x90", bytes(300), b"\x6f\x00"])
def test_a_broken_card_is_an_error_with_a_name(answer: bytes) -> None:
    with pytest.raises(CardError):
        read_file(Broken(answer))
    with pytest.raises(CardError):
        verify_pin(Broken(answer), "authentication", "1234")


def test_a_file_without_an_end_is_left(path: Path) -> None:
    endless = Broken(bytes(0xF0) + b"\x90\x00")
    with pytest.raises(CardError, match="no end"):
        read_file(endless)
    assert endless.asked == -(-MAX_FILE // 0xF0)


@pytest.mark.parametrize("word", ["", "１２３４", "1" * 17, "12\u00e934"])
def test_what_is_no_password_is_not_sent(path: Path, word: str) -> None:
    with pytest.raises(JpkiError, match="bad-password"):
        CardReader(path).authenticate(word, b"x")
    assert stored_tries(path) == 3


def test_the_reader_changes_a_password(path: Path) -> None:
    reader = CardReader(path)
    with pytest.raises(WrongPin):
        reader.change_password("signature", "WRONG1", "NEW2026")
    with pytest.raises(CardError) as refused:
        reader.change_password("signature", PASSWORDS.signature, "new2026")
    assert refused.value.status_word == apdu.WRONG_DATA
    reader.change_password("signature", PASSWORDS.signature, "NEW2026")
    assert reader.sign_document("NEW2026", b"x").signature
    assert reader.tries_left("signature") == 5
