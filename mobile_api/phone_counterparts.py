"""What a phone needs from outside besides the street door: a card in the reader, and the city's keys.

Both are small protocols. The keys come from the trust list (`verifier.formats.trust_list.TrustContent` fits), never
from the street door.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from verifier.formats.encoding import JSON
from verifier.formats.jose import parse_jwk


class CityTrust(Protocol):
    """What the phone needs of the trust list."""

    @property
    def city(self) -> str:
        """Six-digit code."""
        ...

    @property
    def public_url(self) -> str:
        """The street door's public address."""
        ...

    @property
    def envelope_key(self) -> ec.EllipticCurvePublicKey:
        """Messages to the city are encrypted to it."""
        ...

    @property
    def statement_key(self) -> ec.EllipticCurvePublicKey:
        """Answers and recipient statements are signed by it."""
        ...


@dataclass(frozen=True, slots=True)
class PinnedTrust:
    """A `CityTrust` of given keys (tests, first experiments)."""

    city: str
    public_url: str
    envelope_key: ec.EllipticCurvePublicKey
    statement_key: ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class CardSignature:
    """What a card gives back: its certificate (DER) and 256 bytes RSA PKCS#1 v1.5 SHA-256."""

    certificate: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class CardPasswords:
    """The signature password (6 to 16 characters) and the four digits. Not stored, not logged."""

    signature: str
    authentication: str

    def __repr__(self) -> str:
        # Neither in a traceback nor in a log.
        return "CardPasswords(…)"


class Card(Protocol):
    """A card in the reader. Wrong passwords count down on the card; the phone never tries twice by itself."""

    def sign_document(self, password: str, data: bytes) -> CardSignature:
        """Sign with the 署名用 key."""
        ...

    def authenticate(self, pin: str, data: bytes) -> CardSignature:
        """Sign with the 利用者証明用 key."""
        ...


def trust_from_jwks(city: str, public_url: str, envelope_jwk: JSON, statement_jwk: JSON) -> PinnedTrust:
    """Trust in two given keys. Raises: FormatError."""
    return PinnedTrust(city, public_url, parse_jwk(envelope_jwk), parse_jwk(statement_jwk))
