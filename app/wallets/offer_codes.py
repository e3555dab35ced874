"""Codes of an offer, the offer itself, and what the street door is told of them. Pure.

Code and tx_code follow from one random secret of the grant: the same wish is answered with the same offer as long as the
secret lives, and no code is stored. Sources: OpenID4VCI 1.0 section 4.1; walls.md section 7 (the door keeps hashes).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from app.storage.grants import Grant
from app.wallets.settings import WalletSettings
from mobile_api.messages import OFFER_SCHEME
from verifier.formats.encoding import JSON, base64url_encode, canonical_json, sha256

SECRET_BYTES: Final = 32
TX_CODE_DIGITS: Final = 6
PRE_AUTHORIZED: Final = "urn:ietf:params:oauth:grant-type:pre-authorized_code"

_CODE_LABEL: Final = b"akashi/pre-authorized-code/v1"
_TX_LABEL: Final = b"akashi/tx-code-value/v1"
_TX_HASH_LABEL: Final = b"akashi/tx-code/v1\x00"


@dataclass(frozen=True, slots=True)
class OfferCodes:
    """code: 43 characters of base64url; tx_code: six digits, on another channel than the offer."""

    code: str
    tx_code: str

    def __repr__(self) -> str:
        # Neither in a traceback nor in a log.
        return "OfferCodes(…)"


def derive_codes(secret: bytes) -> OfferCodes:
    """The codes of a grant's secret (32 random bytes)."""
    code = hmac.digest(secret, _CODE_LABEL, hashlib.sha256)
    # 256 bits over a million: no digit is likelier than another by more than 2^-236.
    number = int.from_bytes(hmac.digest(secret, _TX_LABEL, hashlib.sha256), "big") % 10**TX_CODE_DIGITS
    return OfferCodes(base64url_encode(code), f"{number:0{TX_CODE_DIGITS}d}")


def code_hash(code: str) -> str:
    """What the door stores of a code: SHA-256, base64url."""
    return base64url_encode(sha256(code.encode("ascii")))


def tx_code_hash(grant_id: str, tx_code: str) -> str:
    """What the door stores of a tx_code: SHA-256 over label, grant and digits, base64url."""
    return base64url_encode(sha256(_TX_HASH_LABEL + grant_id.encode() + b"\x00" + tx_code.encode()))


def build_offer(grant: Grant, codes: OfferCodes, settings: WalletSettings) -> dict[str, JSON]:
    """The credential offer. It never holds the tx_code."""
    return {
        "credential_configuration_ids": [grant.configuration],
        "credential_issuer": settings.issuer(grant.profile),
        "grants": {
            PRE_AUTHORIZED: {
                "pre-authorized_code": codes.code,
                "tx_code": {
                    "description": "The six digits that the akashi app shows / アプリに出ている6けたの数字",
                    "input_mode": "numeric",
                    "length": TX_CODE_DIGITS,
                },
            }
        },
    }


def offer_link(grant: Grant, codes: OfferCodes, settings: WalletSettings) -> str:
    """The link for a wallet: the offer by value, or an address at the street door that holds the code.

    The door knows only the code's hash: it can tell the offer to nobody who has not got the code already.
    """
    if grant.by_reference:
        address = f"{settings.issuer(grant.profile)}/offers/{codes.code}"
        return f"{OFFER_SCHEME}?credential_offer_uri={quote(address, safe='')}"
    offer = canonical_json(build_offer(grant, codes, settings)).decode("utf-8")
    return f"{OFFER_SCHEME}?credential_offer={quote(offer, safe='')}"


def door_offer(grant: Grant, codes: OfferCodes) -> bytes:
    """The body of `PUT /city/offers/<grant>`: hashes only."""
    body: dict[str, JSON] = {
        "code_hash": code_hash(codes.code),
        "configuration": grant.configuration,
        "copies": grant.copies,
        "expires": grant.expires_at,
        "profile": grant.profile,
        "tx_code": {
            "hash": tx_code_hash(grant.grant_id, codes.tx_code),
            "input_mode": "numeric",
            "length": TX_CODE_DIGITS,
        },
    }
    return canonical_json(body)
