"""The outbox is sent in order, once confirmed, and one hopeless row does not hold up the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Engine, select

from app.delivery.sender import FORGET_BEAT, KEEP_PACKAGE_SECONDS, Sender
from app.errors import UnavailableError
from app.mailbox import MailboxError
from app.storage.accounts import ACTIVE, Account, store_account
from app.storage.engine import open_store
from app.storage.outbox import find_unsent, queue_answer, queue_item
from app.storage.tables import metadata, outbox
from mobile_api.messages import Notice, open_answer, verify_answer
from verifier.formats.encoding import base64url_encode, canonical_json
from verifier.formats.jose import agreement, es256_signer, format_jwk, thumbprint

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
ACCOUNT = base64url_encode(bytes(16))
NOTICE = Notice("test", "お知らせ", "A notice")


class Door:
    """Remembers what was put; fails as told."""

    def __init__(self) -> None:
        self.put: list[tuple[str, str, bytes]] = []
        self.failing: dict[str, Exception] = {}

    def _take(self, kind: str, item: str, body: bytes) -> None:
        if item in self.failing:
            raise self.failing[item]
        self.put.append((kind, item, body))

    def put_answer(self, account: str, item_id: str, body: bytes) -> None:
        self._take("answer", item_id, body)

    def put_package(self, account: str, package_id: str, body: bytes) -> None:
        self._take("package", package_id, body)

    def delete_package(self, account: str, package_id: str) -> None:
        self._take("withdrawal", package_id, b"")


class Keys:
    """The statement key, here in software."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())

    def signing(self, purpose: str, *, request_id: str, serial: str):
        assert (purpose, request_id) == ("statement", "standing:answer")
        return es256_signer(self.key)


@pytest.fixture
def store(tmp_path: Path) -> Engine:
    engine = open_store(f"sqlite:///{tmp_path / 'worker.sqlite'}")
    metadata.create_all(engine)
    return engine


def sender(store: Engine, door: Door, keys: Keys) -> Sender:
    kid = thumbprint(keys.key.public_key())
    return Sender(store, door, keys, city="992011", statement_kid=kid, clock=lambda: NOW)


def register(store: Engine, phone: ec.EllipticCurvePrivateKey) -> None:
    jwk = canonical_json(format_jwk(phone.public_key())).decode()
    kid = thumbprint(phone.public_key())
    account = Account(ACCOUNT, "b", "i", "s", kid, jwk, kid, jwk, ACTIVE, 1)
    with store.begin() as connection:
        store_account(connection, account, mail=None, mail_code_hash=None)


def test_an_answer_is_signed_by_the_city_and_opens_with_the_phone_only(store: Engine) -> None:
    phone, keys, door = ec.generate_private_key(ec.SECP256R1()), Keys(), Door()
    register(store, phone)
    with store.begin() as connection:
        for number in (1, 2):
            queue_answer(
                connection, account=ACCOUNT, item_id=f"n{number}", in_reply_to=None, body=NOTICE, at=1
            )
    assert sender(store, door, keys).send_due() == 2
    kid = thumbprint(phone.public_key())
    answers = [
        verify_answer(
            open_answer(body, kid, agreement(phone)),
            {thumbprint(keys.key.public_key()): keys.key.public_key()},
        )
        for _, _, body in door.put
    ]
    assert [answer.sequence for answer in answers] == [1, 2]
    assert all(answer.account == ACCOUNT and answer.body == NOTICE for answer in answers)


def test_what_was_confirmed_is_not_sent_again_and_emptied(store: Engine) -> None:
    """A package is ciphertext and is kept for a while; everything else is emptied at once."""
    door, keys = Door(), Keys()
    register(store, ec.generate_private_key(ec.SECP256R1()))
    with store.begin() as connection:
        queue_answer(connection, account=ACCOUNT, item_id="n", in_reply_to=None, body=NOTICE, at=1)
        queue_item(connection, kind="package", account=ACCOUNT, item_id="p", body=b"ciphertext", at=1)
        queue_item(connection, kind="package", account=ACCOUNT, item_id="p", body=b"other", at=1)
    sending = sender(store, door, keys)
    assert (sending.send_due(), sending.send_due()) == (2, 0)
    assert door.put[1:] == [("package", "p", b"ciphertext")]
    with store.begin() as connection:
        kept = {row.kind: row.body for row in connection.execute(select(outbox.c.kind, outbox.c.body))}
    assert kept == {"answer": b"", "package": b"ciphertext"}


def test_a_package_is_kept_some_days_and_a_withdrawn_one_not_at_all(store: Engine) -> None:
    door, keys = Door(), Keys()
    now = [NOW]
    kid = thumbprint(keys.key.public_key())
    sending = Sender(store, door, keys, city="992011", statement_kid=kid, clock=lambda: now[0])

    def kept() -> dict[str, bytes]:
        with store.begin() as connection:
            rows = connection.execute(
                select(outbox.c.item_id, outbox.c.body).where(outbox.c.kind == "package")
            )
            return {row.item_id: row.body for row in rows}

    with store.begin() as connection:
        for item in ("p", "withdrawn"):
            queue_item(connection, kind="package", account=ACCOUNT, item_id=item, body=b"ciphertext", at=1)
        queue_item(connection, kind="withdrawal", account=ACCOUNT, item_id="withdrawn", body=b"", at=1)
    sending.send_due()
    assert kept() == {"p": b"ciphertext", "withdrawn": b""}
    now[0] += timedelta(seconds=KEEP_PACKAGE_SECONDS)
    sending.send_due()
    assert kept()["p"] == b"ciphertext"
    now[0] += timedelta(seconds=FORGET_BEAT)
    sending.send_due()
    assert kept() == {"p": b"", "withdrawn": b""}


def test_an_outage_keeps_the_row_and_the_order(store: Engine) -> None:
    door, keys = Door(), Keys()
    door.failing["p1"] = UnavailableError("street-door")
    with store.begin() as connection:
        for item in ("p1", "p2"):
            queue_item(connection, kind="package", account=ACCOUNT, item_id=item, body=b"x", at=1)
    with pytest.raises(UnavailableError):
        sender(store, door, keys).send_due()
    assert door.put == []
    door.failing.clear()
    assert sender(store, door, keys).send_due() == 2
    assert [item for _, item, _ in door.put] == ["p1", "p2"]


def test_a_row_the_door_will_never_take_does_not_hold_up_the_others(store: Engine) -> None:
    door, keys = Door(), Keys()
    door.failing["gone"] = MailboxError("door-refused", "404")
    with store.begin() as connection:
        for item in ("gone", "next"):
            queue_item(connection, kind="package", account=ACCOUNT, item_id=item, body=b"x", at=1)
    sender(store, door, keys).send_due()
    assert [item for _, item, _ in door.put] == ["next"]
    with store.begin() as connection:
        assert find_unsent(connection, 10) == []
