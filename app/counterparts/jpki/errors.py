"""What the mock JPKI and its cards say no with.

JpkiError
├── BodyRefused    who asks may not: unregistered, out of its dates or scope, or without a contract
├── NotIssued      no certificate for this person (under 15: no signature certificate)
└── CardError      the card answered with a status word
    ├── WrongPin     tries left > 0
    └── CardLocked   no tries left: the counter at the office, or a kiosk
"""

from __future__ import annotations

from app.errors import CityError


class JpkiError(CityError):
    """Base."""


class BodyRefused(JpkiError):  # noqa: N818
    """The asker gets no answer; `code` says why."""


class NotIssued(JpkiError):  # noqa: N818
    """This person or card gets no such certificate."""


class CardError(JpkiError):
    """`status_word` is the two bytes SW1 SW2 as an integer."""

    def __init__(self, code: str, detail: str, status_word: int) -> None:
        super().__init__(code, detail)
        self.status_word = status_word


class WrongPin(CardError):  # noqa: N818
    """The password was wrong; `tries_left` more."""

    def __init__(self, tries_left: int) -> None:
        super().__init__("wrong-pin", f"wrong password, {tries_left} tries left", 0x63C0 | tries_left)
        self.tries_left = tries_left


class CardLocked(CardError):  # noqa: N818
    """The password is locked."""

    def __init__(self) -> None:
        super().__init__("card-locked", "the password is locked; it can be reset at the office", 0x6983)
