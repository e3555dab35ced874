"""What a resident's history says of certificates that became invalid, and why: the only place that tells the reason."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, select

from app.revocation.reasons import Reason
from app.storage.tables import revocations
from mobile_api.messages import HistoryEntry

_WORDS: Final[dict[Reason, tuple[str, str]]] = {
    Reason.STAFF: ("市が証明書を失効させました", "The city revoked a certificate"),
    Reason.WITHDRAWN: (
        "受け渡し前の証明書を失効させました",
        "A certificate was revoked before it was fetched",
    ),
    Reason.SUPERSEDED: (
        "税の内容が更正され、古い証明書は使えなくなりました",
        "Your tax figures were corrected, and the old certificate became invalid",
    ),
    Reason.DELETED: (
        "ウォレットで削除された証明書を失効させました",
        "A certificate deleted in a wallet was revoked",
    ),
}


def tell_revocations(connection: Connection, request_ids: Collection[str]) -> list[HistoryEntry]:
    """A line for each of these requests whose documents were revoked."""
    rows = connection.execute(
        select(revocations.c.reason, revocations.c.at).where(revocations.c.request_id.in_(request_ids))
    )
    return [
        HistoryEntry(
            datetime.fromtimestamp(row.at, UTC), f"revoked-{row.reason}", *_WORDS[Reason(row.reason)]
        )
        for row in rows
    ]
