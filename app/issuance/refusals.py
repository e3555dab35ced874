"""The sentences of every refusal that intake itself makes: a code, Japanese, English, whether trying later helps.

Refusals of the card check, of the register gate and of the tax office bring their own sentences. None of these texts
says anything about another person, and the one for a protected person is one that many innocent cases share.
"""

from __future__ import annotations

from typing import Final

from app.claims.refusals import COUNTER
from app.errors import Refusal

_TEXTS: Final[dict[str, tuple[str, str, bool]]] = {
    "nonce": (
        "手続きの有効時間が過ぎました。もう一度はじめからお試しください。何も失われていません。",
        "This step took too long or was already used. Please start it again. Nothing is lost.",
        True,
    ),
    "statement": (
        "カードの確認内容が、この手続きと一致しません。もう一度お試しください。",
        "What the card signed does not match this request. Please try again.",
        True,
    ),
    "account": (
        "このスマートフォンは登録されていません。マイナンバーカードで登録してください。",
        "This phone is not registered. Please register it with your card.",
        False,
    ),
    "stopped": (
        "このスマートフォンは利用を止めています。お心当たりがない場合は市の窓口へお電話ください。",
        "This phone has been stopped. If you do not know why, please telephone the city.",
        False,
    ),
    "account-taken": (
        "この登録番号はすでに使われています。アプリの登録をはじめからやり直してください。",
        "This registration number is already in use. Please start the registration again.",
        True,
    ),
    "other-card": (
        "登録したカードと違うカードです。登録したときのカードをお使いください。",
        "This is not the card that was registered. Please use that card.",
        True,
    ),
    "idempotency": (
        "同じ受付番号で内容の違う申請がありました。もう一度はじめから申請してください。",
        "The same request number was used for a different request. Please start again.",
        True,
    ),
    "mail-code": (
        "確認番号が違うか、有効時間が過ぎています。メールの登録は省いてもご利用いただけます。",
        "The code is wrong or too old. You can use the service without an e-mail address.",
        True,
    ),
    # The phone drops the request on this word and may ask anew; docs/formats/package-messages.md names the code.
    "gone": (
        "この申請の証明書は、もうお渡しできません。もう一度はじめから申請してください。",
        "The certificate of this request can no longer be handed over. Please ask for it again.",
        True,
    ),
    "corrected": (
        "申請のあとで税の内容が更正されたため、古い内容の証明書はお渡ししませんでした。"
        "もう一度申請してください。手数料はかかりません。",
        "Your tax figures were corrected after you asked, so the certificate with the old ones was not handed over. "
        "Please ask again; it is free of charge.",
        True,
    ),
    "wallet-profile": (
        "市はこの方式のウォレットにはまだ証明書を渡していません。アプリに証明書を受け取ることはできます。",
        "The city does not issue to wallets in this way. You can receive the certificate in the app.",
        False,
    ),
    "offer-over": (
        "この申込みは使われたか、有効時間が過ぎました。もう一度はじめからお申し込みください。",
        "This offer was used, or its time is over. Please ask for a new one.",
        True,
    ),
    # Word for word the tax office's own, so that no wording tells one cause from another.
    "counter": (COUNTER.ja, COUNTER.en, COUNTER.retry),
    "needs-card": (
        "カードなしで登録した見本のスマートフォンでは、この手続きはできません。所得の証明書にはマイナンバーカードでの登録が必要です。",
        "This phone was registered as a demonstration, without a card. An income certificate needs a registration by card.",
        False,
    ),
    "counter-code": (
        "このQRコードは使えません。有効時間が過ぎたか、すでに使われています。窓口で新しいものをお受け取りください。",
        "This QR code cannot be used: its time is over or it was used already. Please get a new one at the counter.",
        False,
    ),
    # One sentence for every cause: revoked, returned, expired, ended by the register, never given, somebody else's.
    "mandate": (
        "この委任は使えません。終了したか、まだ有効になっていません。委任した方または窓口にお確かめください。",
        "This mandate cannot be used: it has ended or is not in force yet. "
        "Please ask the person who gave it, or the counter.",
        False,
    ),
    "mandate-scope": (
        "この委任の範囲にない申請です。委任された年度・証明書の種類・使用目的のとおりに申請してください。",
        "This is not within the mandate. Please ask for the years, the document and the purpose that it names.",
        True,
    ),
    "mandate-code": (
        "受任者の引き渡し番号が違うか、有効時間が過ぎたか、すでに使われています。受任者に新しい番号をもらってください。",
        "The agent's hand-over code is wrong, too old or used. Please get a new one from the agent.",
        True,
    ),
    "mandate-self": (
        "ご自分を受任者にすることはできません。",
        "You cannot be your own agent.",
        False,
    ),
    "mandate-dates": (
        "委任の期間が正しくありません。終わりの日は今日以降、始まりは一年以内の日にしてください。",
        "The dates of this mandate do not fit: it must not be over, and must begin within a year.",
        True,
    ),
    "mandate-many": (
        "一度に続けられる委任の数を超えています。使わない委任を終了してからお試しください。",
        "You have too many mandates or codes at once. Please end those that you do not need, or try again tomorrow.",
        True,
    ),
    "mandate-not-accepted": (
        "受任者がまだ引き受けていません。受任者が引き受けた後に確認してください。",
        "The agent has not accepted it yet. Please confirm it after that.",
        True,
    ),
    "mandate-letter": (
        "このスマートフォンは登録してから日が浅いため、ご自宅あてに確認番号の手紙をお送りしました。手紙の番号で確認してください。",
        "This phone was registered only recently, so the city has sent a letter with a code to your address. "
        "Please confirm with that code.",
        True,
    ),
    "mandate-device": (
        "このスマートフォンは登録してから日が浅いため、まだ確認できません。前から登録しているスマートフォンか窓口でお手続きください。",
        "This phone was registered only recently and cannot confirm yet. "
        "Please use a phone registered earlier, or the counter.",
        True,
    ),
    "mandate-letter-code": (
        "手紙の確認番号が違います。何度も間違えた場合は、委任をやり直してください。",
        "The code of the letter is wrong. After several wrong tries, please give the mandate anew.",
        True,
    ),
    "technical": (
        "市のシステムで処理を完了できませんでした。申請は失われていません。窓口またはお電話でお問い合わせください。",
        "The city could not complete this. Your request is not lost. Please ask at the counter or by telephone.",
        True,
    ),
}


def refusal(code: str) -> Refusal:
    """The refusal with this code. Raises KeyError for a code that has no sentence (a programming error)."""
    ja, en, retry = _TEXTS[code]
    return Refusal(code, ja, en, retry=retry)
