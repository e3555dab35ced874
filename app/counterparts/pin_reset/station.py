"""Where the card lies: the app on a phone, a kiosk, a counter's reader (模擬/MOCK). Each speaks APDUs to the card.

What kind of service it is (in this process, or over HTTP: `client`) does not matter here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from app.counterparts.jpki.card_file import is_password
from app.counterparts.jpki.reader import CardReader
from app.counterparts.jpki.reset_text import password_digest
from app.counterparts.pin_reset.errors import ResetRefused
from app.counterparts.pin_reset.service import OTHER, CardWord, NewPassword, reset_statement


class Service(Protocol):
    """The reset service as a station sees it."""

    def new_nonce(self) -> str: ...

    def reserve(self, target: str, word: CardWord, face: str) -> tuple[str, int]: ...

    def reset_at_kiosk(self, target: str, word: CardWord, new: NewPassword) -> bytes: ...

    def reset_at_counter(
        self,
        target: str,
        card: str,
        new: NewPassword,
        *,
        staff: str,
        documents: Sequence[str],
        copy_reason: str | None = None,
        copy_consent: bool = False,
    ) -> bytes: ...


class Vendor(Protocol):
    """The face check as the app sees it: (card, picture on the card, camera picture) → signed result."""

    def check(self, card: str, picture: bytes, camera: bytes) -> str: ...


def reserve_in_app(
    service: Service, vendor: Vendor, card: CardReader, known: str, camera: bytes, *, target: str
) -> tuple[str, int]:
    """Reserve the reset of `target` with the other password (for "signature": the four digits) and a face check.

    Returns (reservation, last second). Raises: ResetRefused, WrongPin, CardLocked (then only the counter helps).
    """
    identifier, picture = card.read_picture(OTHER[target], known)
    face = vendor.check(identifier, picture, camera)
    return service.reserve(target, _word(service, card, "reserve", target, known), face)


def reset_at_kiosk(service: Service, card: CardReader, known: str, new: str, *, target: str) -> None:
    """Set a new password `target` at a kiosk; `known` is the other password. Raises as `reserve_in_app`, CardError."""
    if not is_password(target, new):
        # Before anything is used up: a password that the card would refuse costs no reservation.
        raise ResetRefused("password")
    word = _word(service, card, "kiosk", target, known)

    def authorise(challenge: bytes) -> bytes:
        return service.reset_at_kiosk(target, word, NewPassword(challenge, password_digest(new)))

    card.reset_password(target, new, authorise)


def reset_at_counter(
    service: Service,
    card: CardReader,
    new: str,
    *,
    target: str,
    staff: str,
    documents: Sequence[str],
    copy_reason: str | None = None,
    copy_consent: bool = False,
) -> None:
    """Set a new password at the counter, with no password at all. Raises: ResetRefused, CardError."""
    if not is_password(target, new):
        raise ResetRefused("password")
    identifier = card.card_id()

    def authorise(challenge: bytes) -> bytes:
        return service.reset_at_counter(
            target,
            identifier,
            NewPassword(challenge, password_digest(new)),
            staff=staff,
            documents=documents,
            copy_reason=copy_reason,
            copy_consent=copy_consent,
        )

    card.reset_password(target, new, authorise)


def _word(service: Service, card: CardReader, step: str, target: str, known: str) -> CardWord:
    nonce = service.new_nonce()
    text = reset_statement(step, target, nonce)
    sign = card.authenticate if target == "signature" else card.sign_document
    signed = sign(known, text)
    return CardWord(nonce, signed.certificate, signed.signature)
