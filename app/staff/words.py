"""Code words of the pipeline in the words of people: Japanese first, English beside it. An unknown word is
shown as it is.
"""

from __future__ import annotations

from typing import Final

STATES: Final = {
    "accepted": ("受け付けました", "accepted"),
    "awaiting_payment": ("支払い待ち", "awaiting payment"),
    "authorised": ("発行を認めました", "authorised"),
    "reserved": ("番号を取りました", "number reserved"),
    "figures": ("税額を計算しました", "figures computed"),
    "page": ("紙面ができました", "page drawn"),
    "sealed": ("市の印を付けました", "sealed"),
    "logged": ("発行台帳にのりました", "in the log"),
    "ready": ("受け取りを待っています", "ready for pick-up"),
    "released": ("受け取れるようにしました", "released to the phone"),
    "delivered": ("渡しました", "delivered"),
    "refused": ("お断りしました", "refused"),
    "failed": ("発行できませんでした", "failed"),
    "revoked": ("失効させました", "revoked"),
    "withdrawn": ("取り下げ", "withdrawn"),
    "expired": ("期限が切れました", "expired"),
}
# Nothing more happens to a request in one of these by itself; "ready" waits for the resident, not for us.
RESTING: Final = (
    "ready",
    "released",
    "delivered",
    "refused",
    "failed",
    "revoked",
    "withdrawn",
    "expired",
    "awaiting_payment",
)
ENDED_WITHOUT: Final = ("refused", "failed")
# A refusal is an answer the resident can understand; only a failure is something a person here has to look at.
FAILED: Final = "failed"

STEPS: Final = {
    "payment-free-twin": ("決済 (無料・模擬)", "payment (free, MOCK)"),
    "reserve": ("番号の予約", "number reserved"),
    "make": ("作成と電子印", "made and sealed"),
    "release": ("検証と引き渡し", "verified, released"),
    "wait": ("相手の応答待ち", "waiting for others"),
    "refused": ("お断り", "refused"),
    "failed": ("発行の中止", "given up"),
    "withdraw": ("引き渡しの中止", "hand-over withdrawn"),
    "accept": ("受付", "accept"),
    "identify": ("本人確認", "identify"),
    "authorise": ("発行の認可", "authorise"),
    "pay": ("決済", "payment"),
    "figures": ("税額の計算", "figures"),
    "page": ("紙面", "page"),
    "seal": ("市の印", "seal"),
    "log": ("発行台帳", "log"),
    "pack": ("暗号化", "encryption"),
    "deliver": ("配信", "delivery"),
    "revoke": ("失効", "revocation"),
}
# Steps in which a person outside is waited for: long is not slow.
WAITING_STEPS: Final = ("pay", "deliver")

QUEUES: Final = {
    "inbox": ("届いた申込", "inbox"),
    "requests": ("発行の途中", "under way"),
    "accepted": ("発行待ち", "to issue"),
    "seal": ("印を待つもの", "to seal"),
    "log": ("台帳を待つもの", "to log"),
    "anchor": ("記録を待つもの", "to anchor"),
    "outbox": ("渡すのを待つもの", "to deliver"),
    "commands": ("失効の指示", "commands"),
}

REASONS: Final = {
    "wrong-figures": ("記載内容の誤り", "wrong figures"),
    "resident-asked": ("本人の申出", "the resident asked"),
    "issued-by-mistake": ("誤って発行した", "issued by mistake"),
    "device-lost": ("端末の紛失", "device lost"),
    "protection": ("保護の必要", "protection"),
    "key-compromise": ("鍵の事故", "key compromise"),
    "same-person": ("申し出た人とは別の人が確認してください", "another person must confirm"),
    "already-open": (
        "この申込の失効は、すでに申し出られています",
        "a revocation of this request is already open",
    ),
    "not-open": ("この申し出は、もう確認待ちではありません", "this revocation is no longer open"),
    "unknown-request": ("この番号の申込はありません", "no request has this number"),
    "unknown-reason": ("理由を選んでください", "choose a reason"),
    "bad-number": (
        "文書番号は英数字とハイフンで32字までです",
        "document number: up to 32 letters, digits, hyphens",
    ),
    "wrong-login": ("名前・パスワード・確認コードのどれかが違います", "name, password or code is wrong"),
    "too-many-attempts": (
        "失敗が続いたため、15分ほど受け付けません",
        "too many attempts: wait about 15 minutes",
    ),
}

REVOCATION_STATES: Final = {
    "asked": ("確認待ち", "waiting for a second person"),
    "confirmed": ("処理中", "handed to the issuer"),
    "done": ("失効しました", "revoked"),
    "refused": ("失効できませんでした", "refused by the issuer"),
    "withdrawn": ("取り下げ", "withdrawn"),
    "lapsed": ("期限切れ (1日)", "lapsed after a day"),
}

_TABLES: Final = {
    "state": STATES,
    "step": STEPS,
    "queue": QUEUES,
    "reason": REASONS,
    "revocation": REVOCATION_STATES,
}


def words_of(kind: str, code: str) -> tuple[str, str]:
    """(Japanese, English) for a code word of a kind; the code itself twice if it is unknown."""
    return _TABLES[kind].get(code, (code, code))
