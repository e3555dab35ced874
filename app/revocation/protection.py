"""What the registers say later: a protection flag or a death freezes phones and takes undelivered packages back; a
corrected tax record supersedes certificates (`supersession`).

The register gate names opaque bindings only, and of a correction the fiscal year; nothing else is said or kept.
"""

from __future__ import annotations

import logging

from sqlalchemy import Connection, Engine, select

from app.issuance.states import State
from app.registers.gate_client import GateClient
from app.revocation.revoke import withdraw_package
from app.revocation.supersession import corrected_year, supersede
from app.storage import accounts as account_store
from app.storage.accounts import ACTIVE, FROZEN
from app.storage.outbox import queue_item
from app.storage.progress import read_progress, store_progress
from app.storage.tables import certificates, requests
from app.wallets.withdrawal import withdraw_copies

log = logging.getLogger("akashi.protection")

FREEZING = frozenset({"protected", "deceased"})
UNDELIVERED_SECONDS = 3600
"""A certificate released longer ago was probably fetched: only younger ones are revoked with their package."""
LYING_SECONDS = 30 * 86400
"""How long the street door keeps a package that nobody fetches: whatever may still lie there is taken back."""


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
                    for request_id in _undelivered(connection, account.account, at):
                        withdraw_package(connection, request_id, at=at)
                    for package_id in _lying_packages(connection, account.account, at):
                        queue_item(
                            connection,
                            kind="withdrawal",
                            account=account.account,
                            item_id=package_id,
                            body=b"",
                            at=at,
                        )
                withdraw_copies(connection, binding, at=at)
            if corrected:
                supersede(connection, binding, corrected, number=number, at=at)
            store_progress(connection, "gate-changes", number)
    return len(changes)


def _undelivered(connection: Connection, account: str, at: int) -> list[str]:
    rows = connection.execute(
        select(requests.c.request_id)
        .join(certificates, certificates.c.request_id == requests.c.request_id)
        .where(
            requests.c.account == account,
            requests.c.state == State.RELEASED,
            certificates.c.released_at >= at - UNDELIVERED_SECONDS,
        )
    )
    return [row.request_id for row in rows]


def _lying_packages(connection: Connection, account: str, at: int) -> list[str]:
    rows = connection.execute(
        select(certificates.c.package_id)
        .join(requests, certificates.c.request_id == requests.c.request_id)
        .where(
            requests.c.account == account,
            requests.c.state == State.RELEASED,
            certificates.c.released_at >= at - LYING_SECONDS,
        )
    )
    return [row.package_id for row in rows]
