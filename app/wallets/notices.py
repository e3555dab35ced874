"""What a resident is told of wallets: on every phone of theirs, whichever of them asked."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from app.storage import accounts as account_store
from app.storage.outbox import queue_answer
from mobile_api.messages import Notice

OFFERED: Final = Notice(
    "wallet-offer",
    "あなたのカードで、証明書の写しをウォレットに入れる申込みがありました。お心当たりがない場合は、すぐに市へお電話ください。",
    "With your card, somebody asked for copies of your certificate for a wallet. If this was not you, please telephone "
    "the city at once.",
)
IN_WALLET: Final = Notice(
    "wallet-copy",
    "証明書の写しがウォレットに入りました。お心当たりがない場合は、すぐに市へお電話ください。",
    "A copy of your certificate was put into a wallet. If this was not you, please telephone the city at once.",
)
DELETED: Final = Notice(
    "wallet-deleted",
    "ウォレットから消された証明書の写しを失効させました。",
    "The copies that were deleted from the wallet have been revoked.",
)


def tell_resident(
    connection: Connection, binding: str, notice: Notice, *, item: str, at: int, without: str = ""
) -> None:
    """Queue a notice for every phone of a resident but `without`; `item` names it for ever, so it is told once."""
    for account in account_store.find_accounts_of(connection, binding):
        if account.account != without:
            queue_answer(
                connection,
                account=account.account,
                item_id=item,
                in_reply_to=None,
                body=notice,
                at=at,
            )
