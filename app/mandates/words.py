"""The words for what happens to mandates and to the adding of devices: for notices and for the history.

One word each of `app.registers.gate_events`. The texts name no person and no cause that could tell protection from a
harmless one; a mandate is named by the first characters of its id.
"""

from __future__ import annotations

from typing import Final

from mobile_api.messages import Notice

SHORT: Final = 8

TEXTS: Final[dict[str, tuple[str, str]]] = {
    # to the giver
    "mandate-given": (
        "あなたのカードで委任が申し込まれました。お心当たりがない場合は、すぐに終了して市へお電話ください",
        "A mandate was offered with your card. If this was not you, end it at once and telephone the city",
    ),
    "mandate-accepted": (
        "受任者が委任を引き受けました。ご自分のスマートフォンで確認すると有効になります",
        "The agent has accepted the mandate. It is in force once you confirm it on your own phone",
    ),
    "mandate-confirmed": ("委任を確認しました", "The mandate was confirmed"),
    "mandate-used": (
        "委任によって、あなたの証明書が申請されました",
        "Under the mandate, a certificate of yours was asked for",
    ),
    "mandate-revoked": ("委任を取り消しました", "You revoked the mandate"),
    # to the agent
    "mandate-offered": ("委任の申し込みを受けました", "A mandate was offered to you"),
    "mandate-taken-on": ("委任を引き受けました", "You accepted the mandate"),
    "mandate-in-force": ("委任が確認されました", "The mandate was confirmed"),
    "mandate-used-by-you": (
        "委任によって証明書を申請しました",
        "You asked for a certificate under the mandate",
    ),
    "mandate-given-back": ("委任をお返ししました", "You gave the mandate back"),
    # to both
    "mandate-expired": ("委任の期間が終わりました", "The mandate has expired"),
    "mandate-ended": ("委任が終了しました", "The mandate has ended"),
    # devices
    "devices-locked": (
        "スマートフォンの追加を窓口だけに限りました",
        "Adding phones is now possible at the counter only",
    ),
    "devices-unlocked": (
        "窓口で、スマートフォンの追加の制限が解かれました。お心当たりがない場合は、すぐに市へお電話ください",
        "At the counter, adding phones was allowed again. If this was not you, telephone the city at once",
    ),
}
ENDED: Final = frozenset({"mandate-revoked", "mandate-given-back", "mandate-expired", "mandate-ended"})
"""What says that a mandate has ended: whatever was not fetched under it is taken back."""


def sentences(what: str, mandate: str) -> tuple[str, str] | None:
    """(Japanese, English) for a line of the gate; None for a word this program does not know."""
    found = TEXTS.get(what)
    if found is None:
        return None
    ja, en = found
    if not mandate:
        return f"{ja}。", f"{en}."
    short = mandate[:SHORT]
    return f"{ja} (委任 {short})。", f"{en} (mandate {short})."


def notice_of(what: str, mandate: str) -> Notice | None:
    """The notice for a line of the gate."""
    found = sentences(what, mandate)
    return None if found is None else Notice(what, *found)
