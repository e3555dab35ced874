"""The printed certificate number: the first 60 bits of the random 128-bit id in Crockford's base 32."""

from __future__ import annotations

from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ID_BYTES: Final = 16


def certificate_number(certificate_id: bytes) -> str:
    """`7QK4-9MZT-2HXV` from 16 bytes, most significant bits first. Raises: ValueError on any other length."""
    if len(certificate_id) != ID_BYTES:
        raise ValueError("a certificate id has 16 bytes")
    bits = int.from_bytes(certificate_id[:8], "big") >> 4
    text = "".join(ALPHABET[bits >> shift & 31] for shift in range(55, -1, -5))
    return f"{text[:4]}-{text[4:8]}-{text[8:]}"
