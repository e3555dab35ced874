"""Password hashes and time codes, with the vectors of RFC 6238."""

from __future__ import annotations

import pytest

from app.staff.passwords import (
    build_totp,
    find_totp_step,
    format_password_hash,
    is_good_password,
    is_password,
)

SECRET = b"12345678901234567890"


def test_right_password_fits_and_a_near_one_does_not() -> None:
    stored = format_password_hash("correct horse 電池", b"s" * 16)
    assert is_password("correct horse 電池", stored)
    assert not is_password("correct horse 電地", stored)
    assert "correct" not in stored


@pytest.mark.parametrize(
    "stored",
    ["", "scrypt$1$2", "plain$x$x$x$x$x", "scrypt$-1$8$1$AA==$AA==", "scrypt$9999999999$8$1$AA==$AA=="],
)
def test_damaged_hash_fits_nothing(stored: str) -> None:
    assert not is_password("anything at all", stored)


def test_password_length_is_the_only_rule() -> None:
    assert is_good_password("a" * 12)
    assert not is_good_password("a" * 11)
    assert not is_good_password("a" * 257)


# RFC 6238 appendix B, SHA-1, the last six of its eight digits.
@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_codes_of_rfc_6238(seconds: int, code: str) -> None:
    assert build_totp(SECRET, seconds // 30) == code


def test_code_of_the_neighbour_step_passes_and_of_the_next_but_one_does_not() -> None:
    code = build_totp(SECRET, 100)
    assert find_totp_step(SECRET, code, 100 * 30) == 100
    assert find_totp_step(SECRET, code, 101 * 30 + 29) == 100
    assert find_totp_step(SECRET, code, 102 * 30) is None
    assert find_totp_step(SECRET, "", 100 * 30) is None
