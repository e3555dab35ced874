"""Accounts: a random id at the street door, bound here to an opaque binding of the register gate and two device keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from app.storage.tables import accounts

ACTIVE = "active"
STOPPED = "stopped"
FROZEN = "frozen"


@dataclass(frozen=True, slots=True)
class Account:
    """One phone of one resident. JWKs are canonical JSON text; thumbprints RFC 7638 base64url."""

    account: str
    binding: str
    auth_issuer: str
    auth_serial: str
    signing_thumbprint: str
    signing_jwk: str
    encryption_thumbprint: str
    encryption_jwk: str
    state: str
    registered_at: int


_COLUMNS = tuple(accounts.c[name] for name in Account.__slots__)


def _account(row: Row[Any]) -> Account:
    return Account(*row)


def find_account(connection: Connection, account: str) -> Account | None:
    """The account, whatever its state."""
    row = connection.execute(select(*_COLUMNS).where(accounts.c.account == account)).first()
    return None if row is None else _account(row)


def find_accounts_of(connection: Connection, binding: str) -> list[Account]:
    """Every phone bound to the same resident."""
    return [
        _account(row) for row in connection.execute(select(*_COLUMNS).where(accounts.c.binding == binding))
    ]


def store_account(
    connection: Connection, account: Account, *, mail: str | None, mail_code_hash: str | None
) -> None:
    """Bind a new account. The primary key refuses a second binding of the same id."""
    values = {name: getattr(account, name) for name in Account.__slots__}
    connection.execute(insert(accounts).values(**values, mail=mail, mail_code_hash=mail_code_hash))


def change_state(connection: Connection, account: str, *, before: str, after: str) -> bool:
    """Compare-and-set of the account's state."""
    result = connection.execute(
        update(accounts).where(accounts.c.account == account, accounts.c.state == before).values(state=after)
    )
    return result.rowcount == 1


def confirm_mail(connection: Connection, account: str, code_hash: str, *, at: int, max_attempts: int) -> bool:
    """Consume a mail code: one statement, few attempts, used once."""
    connection.execute(
        update(accounts)
        .where(accounts.c.account == account)
        .values(mail_attempts=accounts.c.mail_attempts + 1)
    )
    result = connection.execute(
        update(accounts)
        .where(
            accounts.c.account == account,
            accounts.c.mail_code_hash == code_hash,
            accounts.c.mail_attempts <= max_attempts,
        )
        .values(mail_confirmed_at=at, mail_code_hash=None)
    )
    return result.rowcount == 1
