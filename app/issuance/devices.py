"""Devices of a resident, and what was done with them: the list, stopping one, locking the adding, and the history.

Stopping needs less proof than adding: any device of the same binding may stop any other, without a card. So does locking:
from then on a card alone adds no device, until the counter takes that back (`app.registers.counter`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from app.issuance.desk import Desk, Letter, instant
from app.issuance.states import State
from app.mandates.words import sentences
from app.revocation.history import tell_revocations
from app.revocation.withdrawal import withdraw_of_account
from app.storage import accounts as account_store
from app.storage import grants as grant_store
from app.storage import requests as request_store
from app.storage.accounts import ACTIVE, STOPPED, Account
from app.storage.mandate_requests import requests_under_mandates
from app.storage.requests import WALLET, Request
from app.wallets.login_history import tell_logins
from app.wallets.withdrawal import withdraw_copies
from mobile_api.messages import (
    DeviceEntry,
    Devices,
    History,
    HistoryEntry,
    HistoryWish,
    ListDevices,
    LockDevices,
    Notice,
    StopDevice,
)
from verifier.formats.jose import same_thumbprint

HISTORY_LINES: Final = 50
MAX_LISTED: Final = 100

DEVICE_STOPPED: Final = Notice(
    "device-stopped", "そのスマートフォンの利用を止めました。", "That phone has been stopped."
)
DEVICES_LOCKED: Final = Notice(
    "devices-locked",
    "これからは、カードだけではスマートフォンを追加できません。解くには窓口でお手続きください。",
    "From now on no phone is added by card alone. To take this back, please go to the counter.",
)

REVOKED_FOR_AGENT: Final = (
    "委任によって受け取った証明書が使えなくなりました",
    "A certificate fetched under a mandate became invalid",
)


def stop_device(desk: Desk, letter: Letter, account: Account, body: StopDevice) -> None:
    """Stop the device of a signing key, if it is the same resident's, and take back what it has not fetched."""
    with desk.store.begin() as connection:
        for other in account_store.find_accounts_of(connection, account.binding):
            if not same_thumbprint(other.signing_thumbprint, body.thumbprint):
                continue
            if account_store.change_state(connection, other.account, before=ACTIVE, after=STOPPED):
                withdraw_of_account(connection, other.account, at=letter.at)
            # What that phone offered is not fetched any more, and what a wallet has just got by it is revoked.
            withdraw_copies(connection, account=other.account, at=letter.at)
        desk.answer(connection, letter, DEVICE_STOPPED)


def list_devices(desk: Desk, letter: Letter, account: Account, _body: ListDevices) -> None:
    """Every device of this resident, oldest first."""
    locked = desk.gate.counter.is_locked(binding=account.binding)
    with desk.store.begin() as connection:
        found = account_store.find_accounts_of(connection, account.binding)
        devices = tuple(
            DeviceEntry(
                other.signing_thumbprint,
                instant(other.registered_at),
                # A frozen device reads as an active one: nobody looking over a shoulder learns of a protection.
                STOPPED if other.state == STOPPED else ACTIVE,
                other.account == account.account,
            )
            for other in sorted(found, key=lambda other: (other.registered_at, other.account))
        )
        desk.answer(connection, letter, Devices(devices[-MAX_LISTED:], locked))


def lock_devices(desk: Desk, letter: Letter, account: Account, _body: LockDevices) -> None:
    """Lock the adding of devices to the counter; again changes nothing."""
    desk.gate.counter.lock_devices(binding=account.binding)
    with desk.store.begin() as connection:
        desk.answer(connection, letter, DEVICES_LOCKED)


def tell_history(desk: Desk, letter: Letter, account: Account, _body: HistoryWish) -> None:
    """Everything done with this account, and with this resident's mandates and devices; newest last."""
    happened = desk.gate.mandates.lines(binding=account.binding)
    with desk.store.begin() as connection:
        rows = request_store.find_of_account(connection, account.account, HISTORY_LINES)
        rows += _others_for_wallets(connection, account, {row.request_id for row in rows})
        lines = [HistoryEntry(instant(account.registered_at), "registered", "登録しました", "Registered")]
        for row in sorted(rows, key=lambda r: r.accepted_at):
            words = _WALLET_WORDS if row.corridor == WALLET else _HISTORY_WORDS
            ja, en = words.get(row.state, _HISTORY_WORDS[row.state])
            kind = "wallet" if row.corridor == WALLET else "request"
            code = f"{kind}-{row.state.replace('_', '-')}"
            lines.append(HistoryEntry(instant(row.changed_at), code, ja, en))
        lines += _tell_revocations(connection, [row.request_id for row in rows])
        lines += tell_logins(connection, account.binding, HISTORY_LINES)
        for event in happened:
            said = sentences(event.what, event.mandate)
            if said is not None:
                lines.append(HistoryEntry(instant(event.at), event.what, *said))
        lines.sort(key=lambda line: line.at)
        desk.answer(connection, letter, History(tuple(lines[-HISTORY_LINES:])))


def _tell_revocations(connection: Connection, request_ids: Sequence[str]) -> list[HistoryEntry]:
    """Why something became invalid is told to the resident it is about: an agent is told that it did, and no reason."""
    others = requests_under_mandates(connection, request_ids)
    own = tell_revocations(connection, [found for found in request_ids if found not in others])
    return own + [
        HistoryEntry(line.at, "revoked", *REVOKED_FOR_AGENT)
        for line in tell_revocations(connection, sorted(others))
    ]


def _others_for_wallets(connection: Connection, account: Account, known: set[str]) -> list[Request]:
    """Copies for wallets that another phone of this resident, or a login, asked for: everybody of them sees those."""
    found = []
    for grant in grant_store.find_of_binding(connection, account.binding, HISTORY_LINES):
        if grant.request_id not in known:
            row = request_store.find_request(connection, grant.request_id)
            found += [] if row is None else [row]
    return found


_WALLET_WORDS: Final[dict[State, tuple[str, str]]] = {
    State.ACCEPTED: ("ウォレットへの証明書の申請を受け付けました", "Certificate for a wallet requested"),
    State.RELEASED: (
        "証明書の写しがウォレットに入りました",
        "Copies of the certificate were put into a wallet",
    ),
    State.REFUSED: (
        "ウォレットへの証明書を発行できませんでした",
        "The certificate for a wallet was refused",
    ),
}

_HISTORY_WORDS: Final[dict[State, tuple[str, str]]] = {
    State.AWAITING_PAYMENT: ("証明書を申請しました (支払い待ち)", "Certificate requested (payment pending)"),
    State.ACCEPTED: ("証明書の申請を受け付けました", "Certificate request accepted"),
    State.RESERVED: ("証明書を作成しています", "The certificate is being made"),
    State.SEALED: ("証明書を作成しました", "The certificate was made"),
    State.LOGGED: ("市の発行台帳に記録しました", "Recorded in the city's log"),
    State.RELEASED: ("証明書をお渡ししました", "The certificate was handed over"),
    State.REFUSED: ("証明書を発行できませんでした", "The certificate was refused"),
    State.WITHDRAWN: ("証明書の受け渡しを止めました", "The hand-over was withdrawn"),
    State.FAILED: ("証明書を発行できませんでした", "The certificate could not be made"),
}
