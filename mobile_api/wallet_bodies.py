"""Bodies for wallets of others: a phone's card-signed wish for an offer, and the offer.

A `WalletWish` has a digest of its own kind: the text that the card signs for it begins with a label, so that what was
signed for a phone's certificate never opens an offer, nor the reverse (docs/formats/mailbox.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mobile_api.body_fields import IDENTIFIER, Codec, card_signature, matching, members, sentence, text, x509
from mobile_api.card_statement import MAX_STATEMENT_BYTES, format_instant, parse_instant
from mobile_api.exchanges import PROFILES
from mobile_api.message_bodies import DOCUMENT_KINDS, MAX_PURPOSE
from verifier.errors import FormatError, LimitError
from verifier.formats.encoding import JSON, base64_encode, base64url_encode, canonical_json, sha256

MAX_COPIES: Final = 20
"""Copies of one grant: as many as a wallet may send key proofs."""
MAX_OFFER: Final = 4 << 10
OFFER_SCHEME: Final = "openid-credential-offer://"

_WISH_LABEL: Final = b"akashi/wallet-wish/v1\x00"
_TX_CODE: Final = re.compile(r"[0-9]{6}")
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class WalletWish:
    """Copies of a certificate for a wallet of the resident's choice.

    `fiscal_year` of the Common Era; `idempotency_key` 16 random bytes, base64url; `profile` one of exchanges.PROFILES;
    `copies` 1 to MAX_COPIES.
    """

    document_kind: str
    fiscal_year: int
    purpose: str
    idempotency_key: str
    profile: str
    copies: int

    def digest(self) -> str:
        """`request_digest` of the card's statement: base64url SHA-256 of the label and the canonical JSON."""
        return base64url_encode(sha256(_WISH_LABEL + canonical_json(_format_wish(self))))


@dataclass(frozen=True, slots=True)
class RequestOffer:
    """A wish with the card's authentication over it. `by_reference`: the offer is to name an address."""

    wish: WalletWish
    statement: str
    auth_cert: bytes
    auth_signature: bytes
    by_reference: bool = False


@dataclass(frozen=True, slots=True)
class OfferReady:
    """The offer, for a wallet; its transaction code, for the resident alone; until when both count (UTC)."""

    offer: str
    tx_code: str
    expires: datetime


def parse_wish(value: JSON) -> WalletWish:
    """Inverse of the wish's JSON. Raises: FormatError, LimitError."""
    body = members(value, {"document_kind", "fiscal_year", "purpose", "idempotency_key", "profile", "copies"})
    year, copies = body["fiscal_year"], body["copies"]
    if body["document_kind"] not in DOCUMENT_KINDS:
        raise FormatError("bad-body", "unknown document_kind")
    if type(year) is not int or not 1989 <= year <= 2999:
        raise FormatError("bad-body", "fiscal_year is a year of the Common Era")
    if body["profile"] not in PROFILES:
        raise FormatError("bad-body", "unknown profile")
    if type(copies) is not int or not 1 <= copies <= MAX_COPIES:
        raise LimitError("too-many-copies", f"1 to {MAX_COPIES} copies")
    return WalletWish(
        body["document_kind"],
        year,
        sentence(body["purpose"], MAX_PURPOSE, empty=True),
        matching(IDENTIFIER, body["idempotency_key"], "idempotency_key"),
        body["profile"],
        copies,
    )


def _format_wish(wish: WalletWish) -> JSON:
    return {
        "copies": wish.copies,
        "document_kind": wish.document_kind,
        "fiscal_year": wish.fiscal_year,
        "idempotency_key": wish.idempotency_key,
        "profile": wish.profile,
        "purpose": wish.purpose,
    }


def _format_request(body: RequestOffer) -> JSON:
    return {
        "auth_cert": base64_encode(body.auth_cert),
        "auth_signature": base64_encode(body.auth_signature),
        "by_reference": body.by_reference,
        "statement": body.statement,
        "wish": _format_wish(body.wish),
    }


def _parse_request(value: JSON) -> RequestOffer:
    body = members(value, {"wish", "statement", "auth_cert", "auth_signature", "by_reference"})
    if type(body["by_reference"]) is not bool:
        raise FormatError("bad-body", "by_reference is true or false")
    return RequestOffer(
        parse_wish(body["wish"]),
        text(body["statement"], MAX_STATEMENT_BYTES),
        x509(body["auth_cert"]),
        card_signature(body["auth_signature"]),
        body["by_reference"],
    )


def _format_ready(body: OfferReady) -> JSON:
    return {"expires": format_instant(body.expires), "offer": body.offer, "tx_code": body.tx_code}


def _parse_ready(value: JSON) -> OfferReady:
    body = members(value, {"offer", "tx_code", "expires"})
    offer = matching(_PRINTABLE, text(body["offer"], MAX_OFFER), "offer")
    if not offer.startswith(OFFER_SCHEME):
        raise FormatError("bad-body", "an offer is a link for wallets")
    return OfferReady(offer, matching(_TX_CODE, body["tx_code"], "tx_code"), parse_instant(body["expires"]))


DEVICE_CODECS: Final = (Codec("request_offer", RequestOffer, _format_request, _parse_request),)
ANSWER_CODECS: Final = (Codec("offer_ready", OfferReady, _format_ready, _parse_ready),)
