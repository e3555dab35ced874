"""What the reset service says no with: one sentence in Japanese and English, and whether trying again helps."""

from __future__ import annotations

from typing import Final

from app.errors import Refusal

_COUNTER: Final = "市区町村の窓口にカードと本人確認書類をお持ちください。"
_COUNTER_EN: Final = "Please bring the card and identity documents to your municipality's counter."

_WORDS: Final[dict[str, tuple[str, str, bool]]] = {
    "nonce": (
        "時間が過ぎました。はじめからもう一度お試しください。",
        "It took too long. Please start again.",
        True,
    ),
    "card": (
        f"このカードでは手続きできません。{_COUNTER}",
        f"This card cannot be used for it. {_COUNTER_EN}",
        False,
    ),
    "card-ended": (
        f"カードの電子証明書が失効または停止しています。{_COUNTER}",
        f"The card's certificate is revoked or suspended. {_COUNTER_EN}",
        False,
    ),
    "face": (
        f"カードの顔写真と一致を確認できませんでした。明るい場所で撮り直すか、{_COUNTER}",
        f"The face could not be matched with the card's picture. Try again in good light. Or: {_COUNTER_EN}",
        True,
    ),
    "face-check": (
        "顔の確認をもう一度はじめからお試しください。",
        "Please make the face check once more from the beginning.",
        True,
    ),
    "not-delegated": (
        f"お住まいの市区町村は、コンビニでの再設定を行っていません。{_COUNTER}",
        f"Your municipality does not offer the reset at kiosks. {_COUNTER_EN}",
        False,
    ),
    "no-reservation": (
        "予約がないか、24時間を過ぎています。アプリでもう一度予約してください。",
        "There is no reservation, or 24 hours have passed. Please reserve again in the app.",
        True,
    ),
    "closed": (
        "キオスク端末での手続きは6:30から23:00までです。予約は24時間有効です。",
        "Kiosks can be used from 6:30 to 23:00. The reservation is valid for 24 hours.",
        True,
    ),
    "password": (
        "新しい暗証番号は、署名用は英大文字と数字を両方使い6〜16文字、利用者証明用は数字4桁です。",
        "The new password: 6 to 16 capital letters and digits with both; or four digits.",
        True,
    ),
    "documents": (
        "確認した本人確認書類の種類を、決められた中から1つ以上選んでください。",
        "Choose at least one of the listed kinds of identity documents that were seen.",
        True,
    ),
    "copy": (
        "書類の写しを残せるのは、理由があり、本人が同意したときだけです。",
        "A copy is kept only for a stated reason and with the person's consent.",
        True,
    ),
}


class ResetRefused(Refusal):
    """`code` names the rule; neither it nor the words hold anything of a person or card."""

    def __init__(self, code: str) -> None:
        ja, en, retry = _WORDS[code]
        super().__init__(f"pin-reset-{code}", ja, en, retry=retry)
        self.rule = code
