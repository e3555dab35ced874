"""Why a card's evidence is refused: one class a reason, each with its sentence in two languages.

Refusal (app.errors)
└── CardRefused
    ├── StatementRefused        not for this city, purpose, keys, request or time
    ├── CertificateUnreadable   not a certificate of the card's profile at all
    ├── WrongAuthority          not issued by a pinned authority of this kind
    ├── WrongProfile            key usage, policy, key or names of another kind of certificate
    ├── CertificateExpired      before or after its dates
    ├── CertificateRevoked      the authority says so
    ├── StatusUnverifiable      nobody could say: never valid, trying later helps
    └── BadCardSignature        the statement was not signed with this certificate's key
"""

from __future__ import annotations

from app.errors import Refusal


class CardRefused(Refusal):
    """Base. `detail` (English) may be logged: it holds no attribute and no serial."""


class StatementRefused(CardRefused):
    """What the card signed is for something else."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"card-statement-{why}",
            "カードで確認した内容が、この手続きのものではありません。もう一度お試しください。",
            "What the card signed does not belong to this procedure. Please try again.",
            retry=True,
        )


class CertificateUnreadable(CardRefused):
    """Not X.509, or not of the card's profile."""

    def __init__(self) -> None:
        super().__init__(
            "card-certificate-unreadable",
            "カードの電子証明書を読み取れませんでした。カードを読み取り直してください。",
            "The certificate on the card could not be read. Please read the card again.",
            retry=True,
        )


class WrongAuthority(CardRefused):
    """Not from an authority this city trusts for cards."""

    def __init__(self) -> None:
        super().__init__(
            "card-wrong-authority",
            "この電子証明書は、マイナンバーカードの認証局が発行したものではありません。"
            "ご自分のマイナンバーカードをお使いください。お困りのときは市役所の窓口へどうぞ。",
            "This certificate was not issued by the authority of the My Number Card. Please use your own card, "
            "or ask at the city office.",
        )


class WrongProfile(CardRefused):
    """A certificate of another kind than the one asked for."""

    def __init__(self) -> None:
        super().__init__(
            "card-wrong-certificate",
            "この手続きに使う種類の電子証明書ではありません。",
            "This is not the kind of certificate that this procedure needs.",
        )


class CertificateExpired(CardRefused):
    """Its dates are over (or not begun)."""

    def __init__(self) -> None:
        super().__init__(
            "card-certificate-expired",
            "電子証明書の有効期間が過ぎています。市役所の窓口で更新してください。",
            "The certificate on the card has expired. Please renew it at the city office.",
        )


class CertificateRevoked(CardRefused):
    """Revoked: a move, a loss, a death or by request. The reason goes to nobody."""

    def __init__(self) -> None:
        super().__init__(
            "card-certificate-revoked",
            "電子証明書が失効しています。引っ越しなどで失効した場合は、市役所の窓口で再発行できます。",
            "The certificate on the card has been revoked. After a move it can be issued anew at the office.",
        )


class StatusUnverifiable(CardRefused):
    """Neither OCSP nor a current list could be had."""

    def __init__(self, why: str) -> None:
        super().__init__(
            "card-status-unverifiable",
            "いま電子証明書の有効性を確認できません。しばらくしてからもう一度お試しください。",
            "The validity of the card's certificate cannot be checked right now. Please try again later.",
            retry=True,
        )
        self.why = why


class BadCardSignature(CardRefused):
    """The signature does not fit."""

    def __init__(self) -> None:
        super().__init__(
            "card-bad-signature",
            "カードによる確認に失敗しました。もう一度お試しください。",
            "The confirmation by the card failed. Please try again.",
            retry=True,
        )
