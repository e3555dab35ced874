"""What the phones of a resident read of logins in the history."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from app.issuance.desk import instant
from app.storage.logins import find_logins_of
from mobile_api.messages import HistoryEntry

_WORDS: Final = {
    True: (
        "login-new",
        "デジタル認証アプリではじめてログインし、ウォレットに証明書を渡す手続きをしました",
        "First login with デジタル認証アプリ, to give a certificate to a wallet",
    ),
    False: (
        "login",
        "デジタル認証アプリでログインし、ウォレットに証明書を渡す手続きをしました",
        "Login with デジタル認証アプリ, to give a certificate to a wallet",
    ),
}


def tell_logins(connection: Connection, binding: str, limit: int) -> list[HistoryEntry]:
    """The newest `limit` logins of a resident, whichever phone asks."""
    return [
        HistoryEntry(instant(row.at), *_WORDS[row.is_new])
        for row in find_logins_of(connection, binding, limit)
    ]
