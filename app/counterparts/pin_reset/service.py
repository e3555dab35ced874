"""The reset service's decisions (模擬/MOCK J-LIS): who may reserve, who may reset where, and what is recorded.

    reserve    nonce used up ─▶ the card's other password was given (its key signed) ─▶ certificate good
               ─▶ municipality has delegated ─▶ face check: signed, this card's, fresh, above the threshold, used up
    kiosk      nonce used up ─▶ the card again ─▶ 6:30 to 23:00 in Japan ─▶ reservation used up ─▶ authorisation
    counter    kinds of documents ─▶ record written ─▶ authorisation (no password, no face check)

An authorisation that never reached its card is simply lost: one reserves again. This module knows no socket and no
card; `station` holds the card, `server` the socket.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from app.counterparts.jpki.authority import MockJpki
from app.counterparts.jpki.reset_text import CHALLENGE_BYTES, reset_text_for
from app.counterparts.pin_reset.errors import ResetRefused
from app.counterparts.pin_reset.face_vendor import MAX_AGE, THRESHOLD, read_result
from app.counterparts.pin_reset.store import CounterRecord, ResetStore
from verifier.formats.encoding import canonical_json

JAPAN: Final = timezone(timedelta(hours=9))
OPENS: Final = time(6, 30)
CLOSES: Final = time(23, 0)
RESERVATION_LIFE: Final = 24 * 3600
NONCE_LIFE: Final = 600
MAX_REASON: Final = 200
OTHER: Final = {"signature": "authentication", "authentication": "signature"}
"""Which password must still be known for resetting which."""
DOCUMENTS: Final = {
    "driving-licence": "運転免許証",
    "driving-record": "運転経歴証明書",
    "passport": "旅券",
    "residence-card": "在留カード",
    "disability-certificate": "身体障害者手帳",
    "my-number-card-face": "マイナンバーカードの券面",
    "health-insurance": "資格確認書",
    "pension-book": "年金手帳等",
}
"""Kinds of identity documents that a counter may record; which kinds the rules name in full is unconfirmed."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_STAFF: Final = re.compile(r"[a-z0-9-]{1,32}")
_LABEL: Final = b"MOCK JPKI password reset statement v1\n"


@dataclass(frozen=True, slots=True)
class CardWord:
    """What the card signed to show that its other password was given. certificate DER, signature 256 bytes."""

    nonce: str
    certificate: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class NewPassword:
    """What is to be set: the card's challenge (8 bytes) and the digest of the new password (`password_digest`)."""

    challenge: bytes
    digest: str


def reset_statement(step: str, target: str, nonce: str) -> bytes:
    """What the card signs for `step` "reserve" or "kiosk"."""
    return _LABEL + canonical_json({"nonce": nonce, "step": step, "target": target})


class ResetService:
    """`municipality_of`: card id → six-digit code of the municipality that manages the card."""

    def __init__(
        self,
        store: ResetStore,
        authority: MockJpki,
        vendor: ec.EllipticCurvePublicKey,
        *,
        municipality_of: Callable[[str], str],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._authority = authority
        self._vendor = vendor
        self._municipality_of = municipality_of
        self._clock = clock

    def now(self) -> datetime:
        """The service's clock."""
        return self._clock()

    def new_nonce(self) -> str:
        """A fresh nonce, good for ten minutes and once."""
        nonce, now = secrets.token_urlsafe(24), self._now()
        self._store.add_nonce(nonce, now=now, expires=now + NONCE_LIFE)
        return nonce

    def reserve(self, target: str, word: CardWord, face: str) -> tuple[str, int]:
        """(reservation, last second) for resetting `target` at a kiosk. Raises: ResetRefused."""
        card, now = self._card("reserve", target, word), self._now()
        if not self._store.is_delegated(self._municipality_of(card)):
            raise ResetRefused("not-delegated")
        check = read_result(face, self._vendor)
        if not hmac.compare_digest(check.card.encode(), card.encode()) or not 0 <= now - check.at <= MAX_AGE:
            raise ResetRefused("face-check")
        if check.score < THRESHOLD:
            raise ResetRefused("face")
        reservation, expires = secrets.token_urlsafe(16), now + RESERVATION_LIFE
        kept = self._store.reserve(
            reservation,
            card=card,
            target=target,
            score=check.score,
            reference=check.reference,
            now=now,
            expires=expires,
        )
        if not kept:
            raise ResetRefused("face-check")
        return reservation, expires

    def reset_at_kiosk(self, target: str, word: CardWord, new: NewPassword) -> bytes:
        """The authorisation for the card in the kiosk. Raises: ResetRefused."""
        card = self._card("kiosk", target, word)
        local = self._clock().astimezone(JAPAN).time()
        if not OPENS <= local < CLOSES:
            raise ResetRefused("closed")
        text = _text(target, card, new)
        if not self._store.take_reservation(card=card, target=target, now=self._now()):
            raise ResetRefused("no-reservation")
        return self._authority.sign_reset(text)

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
    ) -> bytes:
        """The authorisation for a card in the counter's reader, after its record is written. Raises: ResetRefused."""
        if _STAFF.fullmatch(staff) is None or not self._is_known(card):
            raise ResetRefused("card")
        if not documents or not set(documents) <= set(DOCUMENTS) or len(set(documents)) != len(documents):
            raise ResetRefused("documents")
        if (copy_reason is not None or copy_consent) and not (copy_consent and _is_reason(copy_reason)):
            raise ResetRefused("copy")
        text = _text(target, card, new)
        kinds = ",".join(sorted(documents))
        self._store.add_counter_record(
            CounterRecord(self._now(), staff, card, target, kinds, copy_reason, copy_consent)
        )
        return self._authority.sign_reset(text)

    def _card(self, step: str, target: str, word: CardWord) -> str:
        """The card that signed with its other key. The nonce is used up before anything else is looked at."""
        if not self._store.take_nonce(word.nonce, now=self._now()):
            raise ResetRefused("nonce")
        kind = OTHER.get(target)
        if kind is None:
            raise ResetRefused("password")
        try:
            certificate = x509.load_der_x509_certificate(word.certificate)
            certificate.verify_directly_issued_by(self._authority.certificates[kind])
            key = certificate.public_key()
            if not isinstance(key, rsa.RSAPublicKey):
                raise TypeError("not an RSA key")
            text = reset_statement(step, target, word.nonce)
            key.verify(word.signature, text, padding.PKCS1v15(), hashes.SHA256())
        except (ValueError, TypeError, InvalidSignature):
            raise ResetRefused("card") from None
        serial = f"{certificate.serial_number:x}"
        entry = self._authority.issued.read().get(f"{kind}:{serial}")
        if entry is None or entry.get("carrier", "card") != "card":
            raise ResetRefused("card")
        in_dates = certificate.not_valid_before_utc <= self._clock() <= certificate.not_valid_after_utc
        if entry["revoked"] or not in_dates:
            raise ResetRefused("card-ended")
        return str(entry["card"])

    def _is_known(self, card: str) -> bool:
        return any(entry["card"] == card for entry in self._authority.issued.read().values())

    def _now(self) -> int:
        return int(self._clock().timestamp())


def _text(target: str, card: str, new: NewPassword) -> bytes:
    if target not in OTHER or len(new.challenge) != CHALLENGE_BYTES or _DIGEST.fullmatch(new.digest) is None:
        raise ResetRefused("password")
    return reset_text_for(target, card, new.challenge, new.digest)


def _is_reason(text: str | None) -> bool:
    return text is not None and 0 < len(text.strip()) <= MAX_REASON and text.isprintable()
