"""What phones say about mandates: each handler takes one message to its end, or raises Refusal or UnavailableError.

The gate decides; here are the nonce, the revocation of the giver's card, and which of a resident's phones may confirm.
None of these opens a certificate: that needs the agent's card (`app.issuance.requesting.request_by_mandate`).
"""

from __future__ import annotations

from typing import Final

from app.issuance.desk import Desk, Letter, require_card
from app.issuance.refusals import refusal
from app.revocation.withdrawal import withdraw_under_mandate
from app.storage.accounts import Account
from mobile_api.messages import (
    AcceptMandate,
    ConfirmMandate,
    EndMandate,
    GiveMandate,
    ListMandates,
    MandateCodeWish,
    Notice,
)

OFFERED: Final = Notice(
    "mandate-offer-taken",
    "委任を受け付けました。受任者が引き受けたら、もう一度このスマートフォンで確認してください。",
    "The offer was taken. When the agent has accepted it, please confirm it on this phone.",
)
ACCEPTED: Final = Notice(
    "mandate-acceptance-taken",
    "引き受けを受け付けました。委任した方が確認すると有効になります。",
    "Your acceptance was taken. It is in force once the giver has confirmed it.",
)
CONFIRMED: Final = Notice("mandate-confirmation-taken", "委任を確認しました。", "The mandate is confirmed.")
ENDED: Final = Notice(
    "mandate-end-taken",
    "委任を終了しました。まだ受け取られていない証明書は取り戻し、この1時間にお渡しした証明書は失効させました。",
    "The mandate has ended. Certificates not fetched were taken back; those handed over within the last hour are revoked.",
)


def ask_code(desk: Desk, letter: Letter, account: Account, _body: MandateCodeWish) -> None:
    """A hand-over code for the agent who asks."""
    require_card(account)
    code = desk.gate.mandates.code(binding=account.binding)
    with desk.store.begin() as connection:
        desk.answer(connection, letter, code)


def give_mandate(desk: Desk, letter: Letter, account: Account, body: GiveMandate) -> None:
    """Nonce, the giver's 署名用 certificate with its revocation, then the gate."""
    require_card(account)
    desk.use_nonce(body.statement, letter)
    desk.cards.check_signature(
        body.statement,
        body.signature_cert,
        body.signature,
        purpose="mandate",
        signing_key=account.signing_thumbprint,
        encryption_key=account.encryption_thumbprint,
        request_digest=body.record.digest(),
        now=desk.clock(),
    )
    desk.gate.mandates.give(
        binding=account.binding,
        record=body.record,
        statement=body.statement,
        signature_cert=body.signature_cert,
        signature=body.signature,
    )
    _answer(desk, letter, OFFERED)


def accept_mandate(desk: Desk, letter: Letter, account: Account, body: AcceptMandate) -> None:
    """The agent takes it on."""
    require_card(account)
    desk.gate.mandates.accept(binding=account.binding, mandate=body.mandate)
    _answer(desk, letter, ACCEPTED)


def confirm_mandate(desk: Desk, letter: Letter, account: Account, body: ConfirmMandate) -> None:
    """By a phone that was there for some days, or with the code of a letter, which is sent when the phone was not.

    So whoever has somebody's card and passwords for an evening adds a phone and offers, but does not confirm.
    """
    require_card(account)
    young = letter.at - account.registered_at < desk.settings.mandate_device_age
    if young and body.letter_code is None:
        sent = desk.gate.mandates.letter(binding=account.binding, mandate=body.mandate)
        raise refusal("mandate-letter" if sent else "mandate-device")
    desk.gate.mandates.confirm(binding=account.binding, mandate=body.mandate, letter_code=body.letter_code)
    _answer(desk, letter, CONFIRMED)


def end_mandate(desk: Desk, letter: Letter, account: Account, body: EndMandate) -> None:
    """Giver or agent ends it, from any device, without a card; what was not fetched is taken back with the answer."""
    desk.gate.mandates.end(binding=account.binding, mandate=body.mandate)
    with desk.store.begin() as connection:
        withdraw_under_mandate(connection, body.mandate, at=letter.at)
        desk.answer(connection, letter, ENDED)


def list_mandates(desk: Desk, letter: Letter, account: Account, _body: ListMandates) -> None:
    """Every mandate of this resident, as this side may see it."""
    entries = desk.gate.mandates.entries(binding=account.binding)
    with desk.store.begin() as connection:
        desk.answer(connection, letter, entries)


def _answer(desk: Desk, letter: Letter, notice: Notice) -> None:
    with desk.store.begin() as connection:
        desk.answer(connection, letter, notice)
