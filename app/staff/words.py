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
    "wallet": ("ウォレットからの知らせ", "word from a wallet"),
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

# What the newest entries of the log wait for until they are anchored: code words of `chain` (anchoring, errors, floor).
LAGS: Final = {
    "confirming": ("ブロックの確定待ち", "waiting for confirmations"),
    "in-flight": ("取引を送って、ブロックに入るのを待っています", "sent, waiting for a block"),
    "interval": ("次の記録の時刻を待っています", "waiting for the next anchoring time"),
    "gas-dear": ("手数料が上限より高い", "gas is dearer than the limit"),
    "receipt-late": ("取引の結果がまだ見えません", "the result of the transaction is not visible yet"),
    "nonce-gap": ("前の番号の取引がチェーンにありません", "an earlier transaction is missing on the chain"),
    "busy": ("たまった記録を順に処理しています", "working through a backlog"),
    "not-asked": ("チェーンにまだ尋ねていません", "the chain was not asked yet"),
    "off": ("記録しない設定です", "anchoring is off"),
    "chain-away": ("チェーンのノードが応答しません", "the chain's node does not answer"),
    "other-chain": ("つながった先は別のチェーンです", "the node serves another chain"),
    "contract-missing": ("設定の場所に契約がありません", "there is no contract at the configured address"),
    "bad-answer": ("ノードの答えが読めません", "the node's answer cannot be used"),
    "rpc-error": ("ノードが断りました", "the node refuses"),
    "refused": ("契約が断りました", "the contract refuses"),
    "not-sent": ("ノードが取引を受け取りません", "the node does not take the transaction"),
    "contract-away": ("契約に確かめられません", "the contract cannot be asked"),
    "other-mode": ("契約は別の方式の証人を求めています", "the contract asks for witnesses of another kind"),
    "witnesses-away": ("証人の数が足りません", "too few witnesses answer"),
    "quorum-missing": ("証人の署名が足りません", "too few witnesses have signed"),
    "too-few-witnesses": (
        "契約のための証人の署名が足りません",
        "too few witnesses have signed for the contract",
    ),
    "store-away": ("台帳のファイルかデータベースが使えません", "the log's files or database fail"),
    "signer-away": ("署名器が応答しません", "the signer does not answer"),
    "nobody-to-ask": (
        "確かめる先がどれも応答せず、署名を止めています",
        "nobody to compare with answers: nothing is signed",
    ),
    "bad-signer-answer": ("署名器の答えが読めません", "the signer's answer cannot be used"),
    "wrong-key": ("署名器が別の鍵で署名しました", "the signer has signed with another key"),
    "outbox-damaged": (
        "送った取引の記録が壊れています。署名を止めました",
        "the outbox is damaged: signing has stopped",
    ),
    "seen-larger": (
        "外に、手元より長い台帳があります。署名を止めました",
        "somebody has seen a longer log: signing has stopped",
    ),
    "seen-fork": (
        "外に、別の中身の台帳があります。署名を止めました",
        "somebody has seen another history: signing has stopped",
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
    "lag": LAGS,
    "revocation": REVOCATION_STATES,
}


def words_of(kind: str, code: str) -> tuple[str, str]:
    """(Japanese, English) for a code word of a kind; the code itself twice if it is unknown."""
    return _TABLES[kind].get(code, (code, code))
