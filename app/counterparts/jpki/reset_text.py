"""What a card takes for setting a new password: the card authority's signature over the card's own challenge.

    MOCK JPKI password reset v1 ‖ kind ‖ card ‖ challenge (8 bytes, hex) ‖ SHA-256 of the new password (hex), one a line

The real card's way is not public; this one is chosen so that no key on a kiosk and no network answer alone can reset a
card: the challenge is the card's, used once, and the password is bound. Pure; `app.counterparts.jpki.card` checks it.
"""

from __future__ import annotations

import hashlib
from typing import Final

LABEL: Final = "MOCK JPKI password reset v1"
CHALLENGE_BYTES: Final = 8


def reset_text(kind: str, card: str, challenge: bytes, password: str) -> bytes:
    """The bytes that the authority of `kind` "authentication" signs (RSA PKCS#1 v1.5, SHA-256)."""
    return reset_text_for(kind, card, challenge, password_digest(password))


def reset_text_for(kind: str, card: str, challenge: bytes, digest: str) -> bytes:
    """The same from `password_digest`: whoever authorises need not learn the password."""
    return "\n".join((LABEL, kind, card, challenge.hex(), digest)).encode("ascii")


def password_digest(password: str) -> str:
    """SHA-256 of a password, hex (64 characters)."""
    return hashlib.sha256(password.encode("ascii", "replace")).hexdigest()
