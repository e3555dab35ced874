"""What the registers say later: a protection flag or a death freezes phones and takes undelivered packages back; a
corrected tax record supersedes certificates (`supersession`).

The register gate names opaque bindings only, and of a correction the fiscal year; nothing else is said or kept.
"""

from __future__ import annotations

import logging

from sqlalchemy import Engine

from app.registers.gate_client import GateClient
from app.revocation.supersession import corrected_year, supersede
from app.revocation.withdrawal import LYING_SECONDS, UNDELIVERED_SECONDS, withdraw_of_account
from app.storage import accounts as account_store
from app.storage.accounts import ACTIVE, FROZEN
from app.storage.progress import read_progress, store_progress
from app.wallets.withdrawal import withdraw_copies

__all__ = ["LYING_SECONDS", "UNDELIVERED_SECONDS", "follow_changes"]

log = logging.getLogger("akashi.protection")

FREEZING = frozenset({"protected", "deceased"})


def follow_changes(store: Engine, gate: GateClient, *, at: int) -> int:
    """Ask the gate what changed since last time and act on it; returns how many changes were read."""
    with store.begin() as connection:
        after = read_progress(connection, "gate-changes")
    changes = gate.changes(after=after)
    for number, binding, event in changes:
        year = corrected_year(event)
        # Asked after the correction: a request that the gate opens later is made from the new record.
        corrected = [] if year is None or not binding else gate.requests_of(binding=binding, fiscal_year=year)
        with store.begin() as connection:
            if binding and event in FREEZING:
                for account in account_store.find_accounts_of(connection, binding):
                    account_store.change_state(connection, account.account, before=ACTIVE, after=FROZEN)
                    withdraw_of_account(connection, account.account, at=at)
                withdraw_copies(connection, binding=binding, at=at)
            if corrected:
                supersede(connection, binding, corrected, number=number, at=at)
            store_progress(connection, "gate-changes", number)
    return len(changes)
