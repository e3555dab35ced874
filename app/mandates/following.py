"""What the register gate says happened to a binding becomes notices to its devices; an end takes packages back.

Each line is one transaction with the place in the feed: a crash loses none and does none twice.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine

from app.mandates.words import ENDED, notice_of
from app.registers.gate_client import GateClient
from app.revocation.withdrawal import withdraw_under_mandate
from app.storage import accounts as account_store
from app.storage.accounts import STOPPED
from app.storage.outbox import queue_answer
from app.storage.progress import read_progress, store_progress

PROGRESS: Final = "gate-events"


def follow_events(store: Engine, gate: GateClient, *, at: int) -> int:
    """Ask the gate what happened since last time and act on it; returns how many lines were read."""
    with store.begin() as connection:
        after = read_progress(connection, PROGRESS)
    events = gate.mandates.events(after=after)
    for event in events:
        with store.begin() as connection:
            if event.what in ENDED:
                withdraw_under_mandate(connection, event.mandate, at=at)
            notice = notice_of(event.what, event.mandate)
            if notice is not None:
                for account in account_store.find_accounts_of(connection, event.binding):
                    if account.state != STOPPED:
                        queue_answer(
                            connection,
                            account=account.account,
                            item_id=f"gate-event-{event.number:012d}",
                            in_reply_to=None,
                            body=notice,
                            at=at,
                        )
            store_progress(connection, PROGRESS, event.number)
    return len(events)
