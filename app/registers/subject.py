"""Who a certificate is about, as one hash that travels from the register to the last door and is compared
there.

The worst thing this house could do is to hand somebody else's certificate out; so the register gate says
whom a request is about, and the corridor compares it with what the finished certificate says. The address
on 1 January is part of it: two people may share name and birth date. Inside the city only: such a hash can
be guessed.
"""

from __future__ import annotations

import hashlib

from verifier.formats.encoding import canonical_json


def subject_digest(name: str, birthdate: str, address_jan1: str = "") -> bytes:
    """SHA-256 (32 bytes) over name, birth date (ISO) and address on 1 January, exact code points."""
    return hashlib.sha256(b"akashi/subject/v1\0" + canonical_json([name, birthdate, address_jan1])).digest()
