"""The mock card at APDU level: passwords count down, survive, lock; nothing is signed without one."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from app.counterparts.jpki.apdu import build_command
from app.counterparts.jpki.authority import MockJpki
from app.counterparts.jpki.card import JPKI_AID, SoftwareCard, digest_info
from app.counterparts.jpki.errors import CardLocked, JpkiError, WrongPin
from app.counterparts.jpki.issuing import issue_card
from app.counterparts.jpki.reader import CardReader
from app.counterparts.jpki.reset_text import reset_text
from tests.support.door_house import HANAKO, NOW, PASSWORDS, make_card, make_jpki

SELECT = bytes.fromhex("00A4040C0A") + JPKI_AID


@pytest.fixture
def jpki(tmp_path: Path) -> MockJpki:
    return make_jpki(tmp_path / "jpki")


@pytest.fixture
def path(tmp_path: Path, jpki: MockJpki) -> Path:
    make_card(jpki, tmp_path / "card.json")
    return tmp_path / "card.json"


def select(fid: int) -> bytes:
    return bytes.fromhex("00A4020C02") + fid.to_bytes(2, "big")


def test_both_keys_sign(path: Path) -> None:
    reader = CardReader(path)
    for made in (
        reader.sign_document(PASSWORDS.signature, b"statement"),
        reader.authenticate(PASSWORDS.authentication, b"statement"),
    ):
        key = x509.load_der_x509_certificate(made.certificate).public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        key.verify(made.signature, b"statement", padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize(("kind", "tries"), [("signature", 5), ("authentication", 3)])
def test_wrong_passwords_count_down_and_lock(path: Path, kind: str, tries: int) -> None:
    reader = CardReader(path)
    sign = reader.sign_document if kind == "signature" else reader.authenticate
    right = PASSWORDS.signature if kind == "signature" else PASSWORDS.authentication
    assert reader.tries_left(kind) == tries
    for left in range(tries - 1, 0, -1):
        with pytest.raises(WrongPin) as wrong:
            sign("WRONG1", b"x")
        assert wrong.value.tries_left == left == CardReader(path).tries_left(kind)
    with pytest.raises(CardLocked):
        sign("WRONG1", b"x")
    with pytest.raises(CardLocked):
        sign(right, b"x")
    assert reader.tries_left(kind) == 0
    other = "authentication" if kind == "signature" else "signature"
    assert reader.tries_left(other) > 0


def test_a_success_resets_the_counter(path: Path) -> None:
    reader = CardReader(path)
    for _ in range(4):
        with pytest.raises(WrongPin):
            reader.sign_document("WRONG1", b"x")
        reader.sign_document(PASSWORDS.signature, b"x")
    assert reader.tries_left("signature") == 5


def test_pulling_the_card_out_gives_no_extra_try(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    def pulled(*_arguments: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(hmac, "compare_digest", pulled)
    with pytest.raises(KeyboardInterrupt):
        CardReader(path).authenticate("0000", b"x")
    monkeypatch.undo()
    assert CardReader(path).tries_left("authentication") == 2


def test_nothing_is_signed_or_read_without_a_password(path: Path) -> None:
    with SoftwareCard(path) as card:
        assert card.transmit(SELECT) == b"\x90\x00"
        sign = bytes.fromhex("802A0080") + bytes([51]) + digest_info(bytes(32)) + b"\x00"
        for fid in (0x001A, 0x0017):
            assert card.transmit(select(fid)) == b"\x90\x00"
            assert card.transmit(sign) == b"\x69\x82"
        card.transmit(select(0x0001))
        assert card.transmit(bytes.fromhex("00B00000F0")) == b"\x69\x82"
        card.transmit(select(0x000A))
        assert card.transmit(bytes.fromhex("00B00000F0"))[-2:] == b"\x90\x00"


def test_the_four_digits_open_only_their_own_key(path: Path) -> None:
    with SoftwareCard(path) as card:
        card.transmit(SELECT)
        card.transmit(select(0x0018))
        assert card.transmit(bytes.fromhex("00200080") + b"\x041234") == b"\x90\x00"
        card.transmit(select(0x001A))
        assert (
            card.transmit(bytes.fromhex("802A0080") + bytes([51]) + digest_info(bytes(32)) + b"\x00")
            == b"\x69\x82"
        )
        # Selecting the application anew forgets the password.
        card.transmit(SELECT)
        card.transmit(select(0x0017))
        assert (
            card.transmit(bytes.fromhex("802A0080") + bytes([51]) + digest_info(bytes(32)) + b"\x00")
            == b"\x69\x82"
        )


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("", "6700"),
        ("00A4", "6700"),
        ("00A4040C0AD392F000260100000002", "6A82"),
        ("00A4020C020001", "6986"),
        ("00B0000000", "6986"),
    ],
)
def test_before_the_application_is_selected(path: Path, command: str, answer: str) -> None:
    with SoftwareCard(path) as card:
        assert card.transmit(bytes.fromhex(command)).hex().upper() == answer


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("00A4020C029999", "6A82"),
        ("00A4020C0100", "6A86"),
        ("00A4090C0100", "6A86"),
        ("0020008000", "6986"),
        ("002000800531", "6700"),
        ("002000800431323334", "6986"),
        ("00FF0000", "6D00"),
        ("002A0080", "6D00"),
        ("00B0FFFF00", "6986"),
        ("002401800531", "6700"),
    ],
)
def test_wrong_commands_have_status_words(path: Path, command: str, answer: str) -> None:
    with SoftwareCard(path) as card:
        card.transmit(SELECT)
        assert card.transmit(bytes.fromhex(command)).hex().upper() == answer


def test_reading_past_the_end_and_signing_rubbish(path: Path) -> None:
    with SoftwareCard(path) as card:
        card.transmit(SELECT)
        card.transmit(select(0x0006))
        assert card.transmit(bytes.fromhex("00B0000014")) == b"JPKIAPICCTOKEN".ljust(20) + b"\x90\x00"
        assert card.transmit(bytes.fromhex("00B0001500")) == b"\x6b\x00"
        card.transmit(select(0x0018))
        card.transmit(bytes.fromhex("00200080") + b"\x041234")
        card.transmit(select(0x0017))
        for data in (bytes(51), digest_info(bytes(31)), b"x"):
            assert (
                card.transmit(bytes.fromhex("802A0080") + bytes([len(data)]) + data + b"\x00") == b"\x6a\x80"
            )


def test_a_password_can_be_changed_after_it_was_given(path: Path) -> None:
    with SoftwareCard(path) as card:
        card.transmit(SELECT)
        card.transmit(select(0x0018))
        assert card.transmit(bytes.fromhex("00240180") + b"\x045678") == b"\x69\x82"
        card.transmit(bytes.fromhex("00200080") + b"\x041234")
        assert card.transmit(bytes.fromhex("00240180") + b"\x04567a") == b"\x6a\x80"
        assert card.transmit(bytes.fromhex("00240180") + b"\x045678") == b"\x90\x00"
    assert CardReader(path).authenticate("5678", b"x").signature
    with pytest.raises(WrongPin):
        CardReader(path).authenticate("1234", b"x")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"v":2}', b"\xff"])
def test_other_files_are_no_cards(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(JpkiError, match="bad-card"):
        CardReader(tmp_path / "x").tries_left("signature")
    with pytest.raises(JpkiError, match="no-card"):
        CardReader(tmp_path / "y").tries_left("signature")


@pytest.mark.parametrize(
    ("password", "pin"),
    [("ABC12", "1234"), ("abc123", "1234"), ("ABCDEF", "1234"), ("123456", "1234"), ("A1" * 9, "1234"),
     ("ABC123", "12345"), ("ABC123", "１２３４")],
)  # fmt: skip
def test_a_card_takes_only_real_passwords(jpki: MockJpki, tmp_path: Path, password: str, pin: str) -> None:
    with pytest.raises(JpkiError, match="bad-password"):
        issue_card(jpki, HANAKO, tmp_path / "card.json", password, pin, now=NOW)


def test_the_file_is_private_and_says_mock(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_bytes())["mock"] == "模擬/MOCK"


def test_a_challenge_is_used_up_by_any_try(path: Path, jpki: MockJpki) -> None:
    """What was authorised for one challenge is taken once, and not after a try that went wrong."""
    pin, challenge = select(0x001B), bytes.fromhex("0084000008")
    with SoftwareCard(path) as card:

        def authorised(given: bytes) -> bytes:
            return jpki.sign_reset(reset_text("signature", card.card_id, given, "NEWPASS7"))

        def reset(signature: bytes) -> str:
            data = bytes([8]) + b"NEWPASS7" + signature
            return card.transmit(build_command(0x00, 0x2C, 0x0080, data)).hex()

        for command in (SELECT, pin):
            assert card.transmit(command).hex() == "9000"
        assert reset(authorised(bytes(8))) == "6986"
        given = card.transmit(challenge)[:-2]
        assert reset(bytes(256)) == "6982"
        assert reset(authorised(given)) == "6986"
        given = card.transmit(challenge)[:-2]
        assert reset(authorised(given)) == "9000"
        assert reset(authorised(given)) == "6986"
        older, _newer = card.transmit(challenge)[:-2], card.transmit(challenge)[:-2]
        assert reset(authorised(older)) == "6982"


@pytest.mark.parametrize(
    ("file", "allowed"),
    [
        pytest.param(0x0001, {"signature"}, id="the certificate with name and address"),
        pytest.param(0x00F0, {"signature", "authentication"}, id="the picture"),
        pytest.param(0x000A, {"", "signature", "authentication"}, id="the certificate without attributes"),
    ],
)
def test_what_is_personal_is_read_after_the_right_password_only(
    path: Path, file: int, allowed: set[str]
) -> None:
    words = {"signature": (0x001B, PASSWORDS.signature), "authentication": (0x0018, PASSWORDS.authentication)}
    for kind in ("", *words):
        with SoftwareCard(path) as card:
            assert card.transmit(SELECT).hex() == "9000"
            if kind:
                pin, word = words[kind]
                assert card.transmit(select(pin)).hex() == "9000"
                assert card.transmit(build_command(0x00, 0x20, 0x0080, word.encode())).hex() == "9000"
            assert card.transmit(select(file)).hex() == "9000"
            answer = card.transmit(bytes.fromhex("00B0000020"))
            assert answer[-2:].hex() == ("9000" if kind in allowed else "6982"), kind
            assert len(answer) == (34 if kind in allowed else 2)
