"""What the registers say later: a protection flag or a death freezes phones and takes undelivered packages back.

The register gate names opaque bindings only; why is not said and not kept.
"""

from __future__ import annotations

import logging

from sqlalchemy import Engine

from app.registers.gate_client import GateClient
from app.revocation.withdrawal import LYING_SECONDS, UNDELIVERED_SECONDS, withdraw_of_account
from app.storage import accounts as account_store
from app.storage.accounts import ACTIVE, FROZEN
from app.storage.progress import read_progress, store_progress

__all__ = ["LYING_SECONDS", "UNDELIVERED_SECONDS", "follow_changes"]

log = logging.getLogger("akashi.protection")

FREEZING = frozenset({"protected", "deceased"})


def follow_changes(store: Engine, gate: GateClient, *, at: int) -> int:
    """Ask the gate what changed since last time and act on it; returns how many changes were read."""
    with store.begin() as connection:
        after = read_progress(connection, "gate-changes")
    changes = gate.changes(after=after)
    for number, binding, event in changes:
        with store.begin() as connection:
            if binding and event in FREEZING:
                for account in account_store.find_accounts_of(connection, binding):
                    account_store.change_state(connection, account.account, before=ACTIVE, after=FROZEN)
                    withdraw_of_account(connection, account.account, at=at)
            store_progress(connection, "gate-changes", number)
    return len(changes)
