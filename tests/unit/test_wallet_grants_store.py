"""A code against somebody who is faster: what happens between looking at an offer and taking it decides.

On SQLite a transaction holds the store, so two processes never meet there; on PostgreSQL they do. Here the other one acts
in the same transaction, at the one place where it could come between.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, update

from mobile_api.store.engine import migrate, open_store
from mobile_api.store.wallet_grants import Offer, Redemption, add_offer, end_grant, redeem_offer
from mobile_api.store.wallet_tables import wallet_offers

GRANT, CODE, TX_CODE = "g" * 22, "c" * 43, "t" * 43
MINUTE = 1_000_000 * 60


def mark_used(connection: Connection) -> None:
    connection.execute(update(wallet_offers).values(used_minute=MINUTE))


def end(connection: Connection) -> None:
    end_grant(connection, GRANT, MINUTE)


@pytest.mark.parametrize(
    ("meanwhile", "expected"),
    [(lambda _connection: None, GRANT), (mark_used, Redemption.NO_CODE), (end, Redemption.NO_CODE)],
    ids=["nobody", "used", "ended"],
)
def test_who_was_faster_has_it(
    tmp_path: Path, meanwhile: Callable[[Connection], None], expected: Any
) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'door.db'}")
    migrate(store)
    offer = Offer(GRANT, CODE, TX_CODE, 6, "p1", "income_certificate", 3, MINUTE + 600)
    with store.write() as connection:
        assert add_offer(connection, offer, "b" * 43)

        def hashed(grant: str) -> str:
            assert grant == GRANT
            meanwhile(connection)
            return TX_CODE

        assert redeem_offer(connection, CODE, "p1", hashed, MINUTE) == expected
    store.close()
