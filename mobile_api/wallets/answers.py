"""From the city's answer to the wallet's: 200, 202, an error of the protocol. In memory only."""

from __future__ import annotations

import logging
from typing import Final

from flask import Response

from mobile_api.exchanges import AnswerBody, Denied, Issued, Pending, ResponseKey
from mobile_api.store import wallet_exchanges
from mobile_api.wallets.oauth_errors import OAuthError, away, bad_token, json_reply
from mobile_api.wallets.response_key import encrypt_reply
from mobile_api.wallets.tickets import text_hash, until_minute
from mobile_api.wallets.wallet_door import WalletDoor

TRANSACTION_LIFE: Final = 7 * 86400
JWT_TYPE: Final = "application/jwt"


def give_answer(
    wallets: WalletDoor,
    profile: str,
    grant: str,
    answer: AnswerBody,
    key: ResponseKey | None,
) -> Response:
    """The answer to a credential or deferred request. Raises: OAuthError for a denial."""
    match answer:
        case Issued(content_type, body):
            if content_type != JWT_TYPE and (key is not None or wallets.must_encrypt(profile)):
                # The city must not answer like this, and then it does not leave the house like this.
                logging.getLogger("akashi.door").error("bad-answer not-encrypted")
                raise away("the answer of the city cannot be used, try again later")
            return _reply(body, content_type, 200)
        case Pending(transaction, interval, None):
            return give_later(wallets, grant, transaction, interval, key)
        case Pending(transaction, _interval, body):
            remember(wallets, grant, transaction)
            return _reply(body or b"", JWT_TYPE, 202)
        case Denied():
            raise denial(answer)
        case _:
            logging.getLogger("akashi.door").error("bad-answer unexpected-kind")
            raise away("the answer of the city cannot be used, try again later")


def give_later(
    wallets: WalletDoor, grant: str, transaction: str, interval: int, key: ResponseKey | None
) -> Response:
    """202: come again with this transaction."""
    remember(wallets, grant, transaction)
    value = {"interval": interval, "transaction_id": transaction}
    if key is not None:
        return _reply(encrypt_reply(value, key), JWT_TYPE, 202)
    return json_reply(value, 202)


def remember(wallets: WalletDoor, grant: str, transaction: str) -> None:
    """Whose transaction this is, so that no other token asks for it."""
    end = wallets.seconds() + TRANSACTION_LIFE
    with wallets.door.store.write() as connection:
        wallet_exchanges.add_transaction(connection, transaction_hash(transaction), grant, until_minute(end))


def transaction_hash(transaction: str) -> str:
    """How the store knows a transaction id."""
    return text_hash("wallet-transaction", transaction)


def denial(answer: Denied) -> OAuthError:
    """The city's no, in the protocol's words."""
    if answer.error == "invalid_token":
        return bad_token(description=answer.description or "the access token is not valid")
    return OAuthError(answer.error, answer.description)


def _reply(body: bytes, content_type: str, status: int) -> Response:
    return Response(body, status=status, content_type=content_type)
