"""Registration: a card's two certificates bind one phone to one resident, or are refused. And the counter's code, which
binds a phone to a demonstration resident without a card (模擬/MOCK).
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from app.errors import UnavailableError
from app.issuance.desk import Desk, Letter
from app.issuance.refusals import refusal
from app.storage import accounts as account_store
from app.storage.accounts import ACTIVE, Account
from app.storage.announcements import announce_device
from mobile_api.messages import NO_REQUEST, ConfirmMail, Notice, Register, RegisterByCode, Registered
from verifier.formats.encoding import canonical_json
from verifier.formats.jose import format_jwk, thumbprint

log = logging.getLogger("akashi.intake")

MAIL_ATTEMPTS: Final = 5

NEW_DEVICE: Final = Notice(
    "new-device",
    "あなたのカードで新しいスマートフォンが登録されました。お心当たりがない場合は、すぐに市へお電話ください。",
    "A new phone was registered with your card. If this was not you, please telephone the city at once.",
)
MAIL_CONFIRMED: Final = Notice(
    "mail-confirmed", "メールアドレスを確認しました。", "Your e-mail address is confirmed."
)


def register(desk: Desk, letter: Letter, body: Register) -> None:
    """Nonce, both certificates, the gate's binding, then account and answer. Raises Refusal, UnavailableError."""
    request, at = letter.request, letter.at
    desk.use_nonce(body.statement, letter)
    now = desk.clock()
    keys = (thumbprint(body.signing_key), thumbprint(body.encryption_key))
    expected = {"purpose": "register", "signing_key": keys[0], "encryption_key": keys[1]}
    desk.cards.check_signature(
        body.statement,
        body.signature_cert,
        body.signature,
        request_digest=NO_REQUEST,
        now=now,
        **expected,
    )
    auth = desk.cards.check_authentication(
        body.statement,
        body.auth_cert,
        body.auth_signature,
        request_digest=NO_REQUEST,
        now=now,
        **expected,
    )
    binding = desk.gate.register(
        statement=body.statement,
        signature_cert=body.signature_cert,
        signature=body.signature,
        auth_cert=body.auth_cert,
        auth_signature=body.auth_signature,
    )
    code = f"{secrets.randbelow(10**6):06d}" if body.mail else None
    account = new_account(
        letter,
        binding,
        body.signing_key,
        body.encryption_key,
        auth_issuer=auth.issuer,
        auth_serial=auth.serial,
    )
    with desk.store.begin() as connection:
        known = account_store.find_account(connection, request.account)
        if known is not None and known.signing_thumbprint != keys[0]:
            raise refusal("account-taken")
        if known is None:
            announce_device(connection, request.account, binding, NEW_DEVICE, at=at)
            account_store.store_account(
                connection, account, mail=body.mail, mail_code_hash=_code_hash(request.account, code)
            )
        desk.answer(connection, letter, Registered())
    if code is not None and body.mail is not None:
        try:
            desk.send_mail(body.mail, code)
        except UnavailableError as error:
            log.warning("confirmation mail not sent: %s", error.code)


def register_by_code(desk: Desk, letter: Letter, body: RegisterByCode) -> None:
    """A demonstration resident by the counter's code, without a card (模擬/MOCK). Raises Refusal, UnavailableError."""
    request, at = letter.request, letter.at
    keys = (thumbprint(body.signing_key), thumbprint(body.encryption_key))
    with desk.store.begin() as connection:
        known = account_store.find_account(connection, request.account)
    # Before the code is used up.
    if known is not None and known.signing_thumbprint != keys[0]:
        raise refusal("account-taken")
    used_by = hashlib.sha256("\0".join((request.account, *keys)).encode()).hexdigest()
    binding = desk.gate.counter.register_by_code(code=body.code, used_by=used_by)
    account = new_account(
        letter, binding, body.signing_key, body.encryption_key, auth_issuer="", auth_serial=""
    )
    with desk.store.begin() as connection:
        if account_store.find_account(connection, request.account) is None:
            announce_device(connection, request.account, binding, NEW_DEVICE, at=at)
            account_store.store_account(connection, account, mail=None, mail_code_hash=None)
        desk.answer(connection, letter, Registered())


def new_account(
    letter: Letter,
    binding: str,
    signing_key: ec.EllipticCurvePublicKey,
    encryption_key: ec.EllipticCurvePublicKey,
    *,
    auth_issuer: str,
    auth_serial: str,
) -> Account:
    """The account of the device that sent this letter, active from now on."""
    return Account(
        account=letter.request.account,
        binding=binding,
        auth_issuer=auth_issuer,
        auth_serial=auth_serial,
        signing_thumbprint=thumbprint(signing_key),
        signing_jwk=canonical_json(format_jwk(signing_key)).decode("ascii"),
        encryption_thumbprint=thumbprint(encryption_key),
        encryption_jwk=canonical_json(format_jwk(encryption_key)).decode("ascii"),
        state=ACTIVE,
        registered_at=letter.at,
    )


def confirm_mail(desk: Desk, letter: Letter, _account: Account, body: ConfirmMail) -> None:
    """The code from the mail. Raises Refusal."""
    account = letter.request.account
    with desk.store.begin() as connection:
        confirmed = account_store.confirm_mail(
            connection,
            account,
            _code_hash(account, body.code) or "",
            at=letter.at,
            max_attempts=MAIL_ATTEMPTS,
        )
        if confirmed:
            desk.answer(connection, letter, MAIL_CONFIRMED)
    if not confirmed:
        raise refusal("mail-code")


def _code_hash(account: str, code: str | None) -> str | None:
    return None if code is None else hashlib.sha256(f"{account}\0{code}".encode()).hexdigest()
