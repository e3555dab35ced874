"""What the staff console is told: de-identified events, counts, and whether seals = leaves = authorised requests.

Request numbers, states, times, reasons; never a person. The worker reaches out; what the console did not take is sent
again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from sqlalchemy import Engine, func, select, update

from app.issuance.log_door import LogDoor
from app.issuance.states import OPEN
from app.registers.gate_client import GateClient
from app.revocation.revoke import revoke_certificate
from app.staff.feed import StaffFeed
from app.staff.messages import MAX_EVENTS, REASON_FORM, Ack, Event, Snapshot
from app.storage.revocations import is_revoked
from app.storage.tables import events, inbox, outbox, requests
from app.storage.tally import count_logged, count_sealed
from app.zones import Guard, Zone

EVENT_BYTES = 256
"""Upper bound of one event on the wire, for the traffic line."""


def lag_reason(state: Mapping[str, object]) -> str | None:
    """Why the log's newest entries are not anchored, as a code word; None if they are. `state`: of the log's door.

    A log that refuses to sign comes before a beat that failed, and that before what anchoring waits for.
    """
    for name in ("refusal", "beat", "anchoring"):
        if text := str(state.get(name) or ""):
            code = text.partition(":")[0]
            return code if REASON_FORM.fullmatch(code) else "unknown"
    return None


class Monitor:
    """Feeds the console and does what it was told there."""

    def __init__(
        self,
        store: Engine,
        feed: StaffFeed,
        log_door: LogDoor,
        gate: GateClient,
        *,
        guard: Guard,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._feed = feed
        self._log_door = log_door
        self._gate = gate
        self._guard = guard
        self._clock = clock

    def push(self) -> int:
        """Events not taken yet, then a snapshot; returns how many events went out."""
        with self._store.begin() as connection:
            rows = connection.execute(
                select(events).where(events.c.pushed.is_(False)).order_by(events.c.position).limit(MAX_EVENTS)
            ).all()
        self._guard.check(Zone.CITY, Zone.CITY, "staff.feed", EVENT_BYTES * len(rows), now=self._clock())
        if rows:
            self._feed.push_events(
                [
                    Event(
                        request_id=row.request_id,
                        at=datetime.fromtimestamp(row.at, UTC),
                        step=row.step,
                        state=row.state,
                        duration_ms=row.duration_ms or 0,
                        reason=row.reason,
                    )
                    for row in rows
                ]
            )
            with self._store.begin() as connection:
                connection.execute(
                    update(events).where(events.c.position <= rows[-1].position).values(pushed=True)
                )
        self._feed.put_snapshot(self._snapshot())
        return len(rows)

    def obey(self, wait: int) -> int:
        """Wait for commands, do them, acknowledge them; returns how many."""
        commands = self._feed.wait_commands(wait)
        acks = []
        for command in commands:
            at = int(self._clock().timestamp())
            with self._store.begin() as connection:
                done = command.kind == "revoke" and revoke_certificate(
                    connection, command.request_id, reason=command.reason, at=at
                )
                # A command handed over twice is done once and acknowledged twice.
                known = done or is_revoked(connection, command.request_id)
            acks.append(Ack(command.id, "done") if known else Ack(command.id, "refused", "no-certificate"))
        if acks:
            self._feed.acknowledge(acks)
        return len(acks)

    def _snapshot(self) -> Snapshot:
        state = self._log_door.state()
        with self._store.begin() as connection:
            seals = count_sealed(connection)
            leaves = count_logged(connection)
            waiting = connection.execute(
                select(func.count()).select_from(requests).where(requests.c.state.in_(list(OPEN)))
            ).scalar_one()
            unread = connection.execute(
                select(func.count()).select_from(inbox).where(inbox.c.handled_at.is_(None))
            ).scalar_one()
            unsent = connection.execute(
                select(func.count()).select_from(outbox).where(outbox.c.sent_at.is_(None))
            ).scalar_one()
        return Snapshot(
            log_size=int(state.get("size") or 0),
            anchored_size=int(state.get("anchored_size") or 0),
            lag_seconds=int(state.get("lag_seconds") or 0),
            lag_reason=lag_reason(state),
            seals=seals,
            leaves=leaves,
            authorised=self._gate.tally(),
            queues={"inbox": int(unread), "requests": int(waiting), "outbox": int(unsent)},
        )
