"""Answers to wallets: bodies as OpenID4VCI 1.0 has them, encrypted to the wallet's key where it gave one. Pure.

Sections 8.3 (credential response), 9.2 (deferred), 10 (encryption).
"""

from __future__ import annotations

from typing import Final

from app.errors import CityError
from mobile_api.exchanges import Denied, Issued, Pending, ResponseKey
from verifier.formats.compact_jwe import encrypt_compact
from verifier.formats.encoding import JSON, canonical_json

INTERVAL: Final = 3
"""Seconds after which a wallet may ask again."""


class DeniedError(CityError):
    """The answer is an error of the protocol: `code` its word, `detail` a sentence in ASCII."""

    def answer(self) -> Denied:
        """What the street door is told."""
        return Denied(self.code, self.detail)


def issued(credentials: list[str], *, notification_id: str | None, response: ResponseKey | None) -> Issued:
    """The credentials of one set, in the order of the proofs."""
    body: dict[str, JSON] = {"credentials": [{"credential": text} for text in credentials]}
    if notification_id is not None:
        body["notification_id"] = notification_id
    data = canonical_json(body)
    if response is None:
        return Issued("application/json", data)
    return Issued("application/jwt", _encrypted(data, response))


def pending(transaction_id: str, *, response: ResponseKey | None) -> Pending:
    """Not yet: ask again with this transaction id."""
    if response is None:
        return Pending(transaction_id, INTERVAL)
    body = canonical_json({"interval": INTERVAL, "transaction_id": transaction_id})
    return Pending(transaction_id, INTERVAL, _encrypted(body, response))


def _encrypted(data: bytes, response: ResponseKey) -> bytes:
    header: dict[str, JSON] = {} if response.kid is None else {"kid": response.kid}
    return encrypt_compact(data, response.key, enc=response.enc, header=header)
