"""The person signs in with a mock card (模擬/MOCK): four digits, one try counted by the card, certificate checked.

Stands in for the app on the phone. The digits go to the card and nowhere else. The certificate is checked as the real
service would: pinned authority, profile, dates, then revocation; a status that cannot be had signs nobody in.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from app.counterparts.digital_auth.errors import SignInError
from app.counterparts.jpki.errors import CardLocked, JpkiError, WrongPin
from app.counterparts.jpki.reader import CardReader
from app.identity.card_certificate import CardCertificate, CardKind, CardTrust, check_certificate
from app.identity.refusals import CardRefused, StatusUnverifiable
from app.identity.status import StatusSource

CARD_SUFFIX: Final = ".card"
MAX_CARDS: Final = 200


class CardDesk:
    """The cards (files NAME.card of one directory) that can be held to this provider."""

    def __init__(
        self,
        cards: Path,
        trust: CardTrust,
        status: StatusSource,
        *,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._cards = cards
        self._trust = trust
        self._status = status
        self._random = random

    def names(self) -> list[str]:
        """The names to choose from, sorted."""
        found = (path.stem for path in self._cards.glob(f"*{CARD_SUFFIX}") if path.is_file())
        return sorted(found)[:MAX_CARDS]

    def touch(self, name: str, pin: str, *, now: datetime) -> str:
        """Who signed in: SHA-256 (hex) over issuer and serial of the 利用者証明用 certificate. Raises: SignInError.

        Digits of the wrong form never reach the card, so they cost no try.
        """
        if name not in self.names():
            raise SignInError("no-card", "カードを選んでください。")
        if len(pin) != 4 or not (pin.isascii() and pin.isdigit()):
            raise SignInError("bad-pin-form", "暗証番号は4けたの数字です。")
        challenge = self._random(32)
        try:
            touched = CardReader(self._cards / f"{name}{CARD_SUFFIX}").authenticate(pin, challenge)
        except WrongPin as error:
            raise SignInError("wrong-pin", f"暗証番号が違います。あと{error.tries_left}回です。") from error
        except CardLocked as error:
            raise SignInError("card-locked", "暗証番号がロックされています。市役所の窓口へ。") from error
        except JpkiError as error:
            raise SignInError("card-unreadable", "カードを読み取れませんでした。") from error
        return self._check(touched.certificate, touched.signature, challenge, now)

    def read_attributes(self, name: str, password: str, *, now: datetime) -> dict[str, str]:
        """The four attributes as userinfo gives them (name, address, birthdate YYYYMMDD, gender), from the card's
        署名用 certificate, which must be as good as the other one. Raises: SignInError; one try is counted by the card.

        Characters that the card cannot carry stay the substitutes that stand on it; userinfo has no place to say where.
        """
        challenge = self._random(32)
        try:
            touched = CardReader(self._cards / f"{name}{CARD_SUFFIX}").sign_document(password, challenge)
        except WrongPin as error:
            raise SignInError(
                "wrong-password", f"署名用の暗証番号が違います。あと{error.tries_left}回です。"
            ) from error
        except CardLocked as error:
            raise SignInError(
                "card-locked", "署名用の暗証番号がロックされています。市役所の窓口へ。"
            ) from error
        except JpkiError as error:
            raise SignInError("card-unreadable", "署名用の電子証明書を読み取れませんでした。") from error
        try:
            found = self._verify(CardKind.SIGNATURE, touched.certificate, touched.signature, challenge, now)
        except SignInError as error:
            # The other certificate is good: the person may go on without giving anything.
            raise SignInError(error.code, f"署名用: {error.ja}") from error
        if found.attributes is None:
            raise SignInError("card-unreadable", "署名用の電子証明書を読み取れませんでした。")
        return {
            "name": found.attributes.name,
            "address": found.attributes.address,
            "birthdate": found.attributes.birthdate[1:],
            "gender": found.attributes.sex,
        }

    def _check(self, der: bytes, signature: bytes, challenge: bytes, now: datetime) -> str:
        found = self._verify(CardKind.AUTHENTICATION, der, signature, challenge, now)
        return hashlib.sha256(f"{found.issuer}:{found.serial}".encode("ascii")).hexdigest()

    def _verify(
        self, kind: CardKind, der: bytes, signature: bytes, challenge: bytes, now: datetime
    ) -> CardCertificate:
        try:
            found = check_certificate(der, kind, self._trust, now=now)
            key = found.x509.public_key()
            if not isinstance(key, rsa.RSAPublicKey):
                raise SignInError("card-unreadable", "カードを読み取れませんでした。", "access_denied")
            key.verify(signature, challenge, padding.PKCS1v15(), hashes.SHA256())
            self._status.ask(found, now=now)
        except StatusUnverifiable as error:
            raise SignInError(error.code, error.ja, "temporarily_unavailable") from error
        except CardRefused as error:
            raise SignInError(error.code, error.ja, "access_denied") from error
        except InvalidSignature as error:
            raise SignInError("card-signature", "カードの確認に失敗しました。", "access_denied") from error
        return found
