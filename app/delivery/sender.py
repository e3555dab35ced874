"""What is in the outbox goes to the street door, in order, until the door has confirmed it.

Answers are signed by the city's statement key and encrypted to the phone's key here, at the last moment; packages are
ciphertext already. A PUT may be repeated: the door keeps the first. A package is kept here for some days after that, for
the phone whose door has lost it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from sqlalchemy import Engine

from app.city_keys import CityKeys
from app.errors import ConflictError
from app.mailbox import MailboxError
from app.storage import accounts as account_store
from app.storage.outbox import OutboxRow, find_unsent, forget_packages, mark_sent
from app.storage.repeats import forget_refusals
from mobile_api.messages import CityAnswer, build_answer, parse_answer_body, seal_answer
from verifier.formats.encoding import JSON, parse_canonical_json
from verifier.formats.jose import parse_jwk

log = logging.getLogger("akashi.sender")

ANSWER_REQUEST = "standing:answer"
REFUSED_SECONDS = 15
"""How long an account waits after the door refused something for it."""
GIVE_UP_SECONDS = 30 * 86400
"""As long as a door keeps what nobody fetches."""
OFFER_SECONDS = 86400
"""As long as an offer's codes can count at most."""
KEEP_PACKAGE_SECONDS = 7 * 86400
"""How long the city can put the same package again after the door has confirmed it."""
KEEP_REFUSAL_SECONDS = 30 * 86400
FORGET_BEAT = 600


class DoorPuts(Protocol):
    """What the sender needs of the mailbox client."""

    def put_answer(self, account: str, item_id: str, body: bytes) -> None:
        """Put one sealed answer."""
        ...

    def put_package(self, account: str, package_id: str, body: bytes) -> None:
        """Put one package."""
        ...

    def delete_package(self, account: str, package_id: str) -> None:
        """Take an undelivered package back."""
        ...

    def put_offer(self, grant: str, body: bytes) -> None:
        """Put the hashes of one offer to a wallet."""
        ...

    def delete_offer(self, grant: str) -> None:
        """End an offer and its tokens."""
        ...


class Sender:
    """Sends the outbox of one city."""

    def __init__(
        self,
        store: Engine,
        door: DoorPuts,
        keys: CityKeys,
        *,
        city: str,
        statement_kid: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._door = door
        self._keys = keys
        self._city = city
        self._kid = statement_kid
        self._clock = clock
        self._refused: dict[str, int] = {}
        self._forget_at = 0

    def send_due(self, limit: int = 64) -> int:
        """Send what is waiting; returns how many rows the door confirmed. Raises UnavailableError on an outage."""
        at = int(self._clock().timestamp())
        self._refused = {account: until for account, until in self._refused.items() if until > at}
        if at >= self._forget_at:
            self._forget(at)
        with self._store.begin() as connection:
            rows = find_unsent(connection, limit, without=tuple(self._refused))
        sent = 0
        for row in rows:
            if row.account in self._refused:
                continue
            try:
                self._send(row)
            except (MailboxError, ConflictError) as error:
                # "No" is the door's own word (it forgot the account, lost the city's key, or lies): the row stays, and
                # only what goes to the same account waits with it.
                if at - row.made_at < (OFFER_SECONDS if row.kind == "offer" else GIVE_UP_SECONDS):
                    log.warning("outbox row %d (%s) refused: %s", row.position, row.kind, error)
                    self._refused[row.account] = at + REFUSED_SECONDS
                    continue
                log.error("outbox row %d (%s) given up: %s", row.position, row.kind, error)
            with self._store.begin() as connection:
                mark_sent(connection, row, at=int(self._clock().timestamp()))
            sent += 1
        return sent

    def _forget(self, at: int) -> None:
        """What was kept for phones that ask again has had its time."""
        with self._store.begin() as connection:
            forget_packages(connection, before=at - KEEP_PACKAGE_SECONDS)
            forget_refusals(connection, before=at - KEEP_REFUSAL_SECONDS)
        self._forget_at = at + FORGET_BEAT

    def _send(self, row: OutboxRow) -> None:
        if row.kind == "package":
            self._put_package(row)
        elif row.kind == "withdrawal":
            self._door.delete_package(row.account, row.item_id)
        elif row.kind == "offer":
            self._put_offer(row)
        elif row.kind == "offer-end":
            self._door.delete_offer(row.item_id)
        else:
            self._door.put_answer(row.account, row.item_id, self._seal(row))

    def _put_offer(self, row: OutboxRow) -> None:
        # One whose time is over is of no more use to anybody, and the door would refuse it.
        if parse_canonical_json(row.body)["expires"] > int(self._clock().timestamp()):
            self._door.put_offer(row.item_id, row.body)

    def _put_package(self, row: OutboxRow) -> None:
        try:
            self._door.put_package(row.account, row.item_id, row.body)
        except ConflictError:
            # Other bytes under this name are a fault of the door: these are the ones that the phone was told of.
            self._door.delete_package(row.account, row.item_id)
            self._door.put_package(row.account, row.item_id, row.body)

    def _seal(self, row: OutboxRow) -> bytes:
        content = parse_canonical_json(row.body)
        with self._store.begin() as connection:
            account = account_store.find_account(connection, row.account)
        # A refused registration leaves no account; the key of that device travels in the row.
        key = content["encryption_jwk"] if account is None else _jwk(account.encryption_jwk)
        answer = CityAnswer(
            city=self._city,
            account=row.account,
            in_reply_to=content["in_reply_to"],
            sequence=content["sequence"],
            issued_at=datetime.fromtimestamp(content["iat"], UTC),
            body=parse_answer_body(content["kind"], content["body"]),
        )
        sign = self._keys.signing("statement", request_id=ANSWER_REQUEST, serial=row.item_id[:64])
        message = build_answer(answer, self._kid, sign)
        return seal_answer(message, parse_jwk(key), os.urandom)


def _jwk(text: str) -> JSON:
    return parse_canonical_json(text.encode("ascii"))
