"""Tickets: random texts that the door gives out and knows again by their hash: tokens, codes, request addresses, cookies.

32 random bytes and the second they end, in base64url. The hash covers both, so that an end cannot be put off, and the
store needs no clock finer than a minute. One kind never passes as another: each is hashed with its own label.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from verifier.errors import FormatError
from verifier.formats.encoding import base64url_decode, base64url_encode, sha256

RANDOM_BYTES: Final = 32
_END_BYTES: Final = 8
CHARACTERS: Final = 54
_IV: Final = 12

TOKEN: Final = "token"  # noqa: S105 - the name of a kind
CODE: Final = "code"
REQUEST: Final = "request"
COOKIE: Final = "cookie"


def make_ticket(random: Callable[[int], bytes], end: int) -> str:
    """A ticket that counts until `end` (Unix seconds)."""
    return base64url_encode(random(RANDOM_BYTES) + end.to_bytes(_END_BYTES, "big"))


def read_ticket(kind: str, text: str, now: int) -> str:
    """The hash by which the store knows this ticket. Raises: FormatError("bad-ticket" | "ticket-over")."""
    if len(text) != CHARACTERS:
        raise FormatError("bad-ticket", "not a ticket of this house")
    data = base64url_decode(text)
    if int.from_bytes(data[RANDOM_BYTES:], "big") <= now:
        raise FormatError("ticket-over", "its time is over")
    return ticket_hash(kind, text)


def ticket_hash(kind: str, text: str) -> str:
    """SHA-256 with the label of its kind, base64url."""
    return text_hash(f"ticket/{kind}", text)


def text_hash(label: str, text: str) -> str:
    """SHA-256 of any text under a label of ours, base64url."""
    return base64url_encode(sha256(f"akashi/{label}/v1\0{text}".encode("utf-8", "surrogatepass")))


def until_minute(end: int) -> int:
    """When a row may go: the whole minute after `end`."""
    return -(-end // 60) * 60


def seal_with(ticket: str, data: bytes, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """Encrypt to whoever has `ticket` (AES-256-GCM under a key derived from it). The store keeps only its hash."""
    iv = random(_IV)
    return iv + AESGCM(_key(ticket)).encrypt(iv, data, None)


def open_with(ticket: str, sealed: bytes) -> bytes:
    """Inverse of `seal_with`. Raises: FormatError("not-sealed-with-this")."""
    try:
        return AESGCM(_key(ticket)).decrypt(sealed[:_IV], sealed[_IV:], None)
    except (InvalidTag, ValueError) as error:
        raise FormatError("not-sealed-with-this", "another ticket, or altered bytes") from error


def _key(ticket: str) -> bytes:
    return hashlib.sha256(f"akashi/ticket-key/v1\0{ticket}".encode()).digest()
