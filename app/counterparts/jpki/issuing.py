"""From a resident's attributes to a card in the hand: one call for demo and tests (模擬/MOCK)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from app.counterparts.jpki.authority import IssuedCard, MockJpki
from app.counterparts.jpki.card_file import write_card
from app.registers.card_attributes import CardAttributes


def issue_card(
    authority: MockJpki,
    attributes: CardAttributes,
    path: Path,
    signature_password: str | None,
    pin: str,
    *,
    now: datetime,
    not_after: datetime | None = None,
    holder: str = "",
) -> IssuedCard:
    """Issue both certificates and write the card file (0600). `holder` as in `MockJpki.issue`. Raises: JpkiError."""
    issued = authority.issue(attributes, now=now, not_after=not_after, holder=holder)
    authorities = {
        kind: certificate.public_bytes(serialization.Encoding.DER)
        for kind, certificate in authority.certificates.items()
    }
    write_card(path, issued, authorities, signature_password=signature_password, pin=pin)
    return issued
