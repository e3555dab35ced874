"""The kiosk vendor's face check (模擬/MOCK): how much a camera's picture is like the one on the card, as a signed result.

No face is looked at: a mock picture is 32 bytes, and the score falls with every bit that differs. What is real is what
the reset service relies on: a result signed by the vendor, for one card, of now, used once. Pictures are not kept.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from app.counterparts.pin_reset.errors import ResetRefused
from verifier.errors import FormatError
from verifier.formats.encoding import canonical_json
from verifier.formats.jose import build_jws, es256_signer, parse_jws

PICTURE_BYTES: Final = 32
FULL_SCORE: Final = 1000
THRESHOLD: Final = 900
"""Per mille; chosen here, what real vendors use is unconfirmed."""
MAX_AGE: Final = 600
"""Seconds from the check to the reservation."""
MAX_RESULT_BYTES: Final = 2048
RESULT_TYP: Final = "akashi-mock-face-check+jwt"


@dataclass(frozen=True, slots=True)
class FaceCheck:
    """One result: the vendor's reference of it (22 characters), the card, the score per mille, when (Unix seconds)."""

    reference: str
    card: str
    score: int
    at: int


class FaceVendor:
    """The vendor with its key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    @property
    def public_key(self) -> ec.EllipticCurvePublicKey:
        """What the reset service trusts results by."""
        return self._key.public_key()

    def compare(self, card: str, picture_on_card: bytes, camera: bytes, *, now: datetime) -> str:
        """The signed result (compact JWS). Raises: ResetRefused("face-check") for what is no picture."""
        if len(picture_on_card) != PICTURE_BYTES or len(camera) != PICTURE_BYTES:
            raise ResetRefused("face-check")
        result = {
            "at": int(now.timestamp()),
            "card": card,
            "mock": "模擬/MOCK",
            "reference": secrets.token_urlsafe(16),
            "score": score(picture_on_card, camera),
        }
        return build_jws({"typ": RESULT_TYP}, canonical_json(result), es256_signer(self._key)).decode("ascii")


def score(one: bytes, other: bytes) -> int:
    """Per mille: 1000 for the same picture, 0 from a quarter of the bits on (two random pictures differ in half)."""
    different = (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()
    return max(0, FULL_SCORE - different * FULL_SCORE // (PICTURE_BYTES * 8 // 4))


def read_result(result: str, vendor: ec.EllipticCurvePublicKey) -> FaceCheck:
    """A result that the vendor signed. Raises: ResetRefused("face-check")."""
    try:
        jws = parse_jws(result, typ=RESULT_TYP, max_bytes=MAX_RESULT_BYTES)
        jws.verify(vendor)
        value: dict[str, Any] = jws.payload_object()
        check = FaceCheck(value["reference"], value["card"], value["score"], value["at"])
    except (FormatError, KeyError) as error:
        raise ResetRefused("face-check") from error
    texts = isinstance(check.reference, str) and isinstance(check.card, str)
    if not texts or type(check.score) is not int or type(check.at) is not int:
        raise ResetRefused("face-check")
    return check
