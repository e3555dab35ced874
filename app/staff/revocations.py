"""Revocation by two people: one asks, another confirms, and only then a command waits for the issuance
worker.

Every change of state is one conditional UPDATE, so that two clicks at once give one command and nobody
confirms their own request. The worker acknowledges the command; only then the revocation is done. What a
revocation means for the status list is not known here.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Executable, Row, Update, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.staff.audit import append_audit
from app.staff.errors import RevocationRefusedError, StaffFormatError
from app.staff.messages import CASE_NUMBER_FORM, REQUEST_ID_FORM, Ack, Command, command_json, parse_commands
from app.staff.store import Store
from app.staff.tables import command, issuance, revocation
from verifier.formats.encoding import canonical_json

# The reasons a person may choose; no free text, so that nothing about a resident is written here.
REASONS: Final = (
    "wrong-figures",
    "resident-asked",
    "issued-by-mistake",
    "device-lost",
    "protection",
    "key-compromise",
)
# An agreement that nobody joined within a day was not meant.
OPEN_SECONDS: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class Revocation:
    """States: asked → confirmed → done | refused; asked → withdrawn | lapsed. Times in Unix seconds."""

    id: str
    request_id: str
    state: str
    reason: str
    case_number: str
    asked_by: str
    asked_at: int
    confirmed_by: str | None
    closed_at: int | None


class Revocations:
    """The revocations of one city."""

    def __init__(self, store: Store, city: str) -> None:
        self._store = store
        self._city = city

    def ask(self, request_id: str, reason: str, case_number: str, who: str, now: datetime) -> str:
        """The first person asks. Returns the revocation's id. Raises: RevocationRefusedError."""
        if reason not in REASONS:
            raise RevocationRefusedError("unknown-reason")
        if not CASE_NUMBER_FORM.fullmatch(case_number) or not REQUEST_ID_FORM.fullmatch(request_id):
            raise RevocationRefusedError("bad-number")
        identifier = secrets.token_urlsafe(16)
        seconds = int(now.timestamp())
        try:
            with self._store.writing.begin() as connection:
                self._lapse(connection, seconds)
                mine = (issuance.c.city == self._city, issuance.c.request_id == request_id)
                if connection.execute(select(issuance.c.state).where(*mine)).one_or_none() is None:
                    raise RevocationRefusedError("unknown-request")
                connection.execute(
                    insert(revocation).values(
                        id=identifier,
                        city=self._city,
                        request_id=request_id,
                        open_request=request_id,
                        state="asked",
                        reason=reason,
                        case_number=case_number,
                        asked_by=who,
                        asked_at=seconds,
                    )
                )
                append_audit(connection, self._city, now, who=who, act="revocation-ask", subject=request_id)
        except IntegrityError as error:
            raise RevocationRefusedError("already-open") from error
        return identifier

    def confirm(self, identifier: str, who: str, now: datetime) -> None:
        """Another person confirms; the command is written in the same transaction. Raises:
        RevocationRefusedError.
        """
        seconds = int(now.timestamp())
        with self._store.writing.begin() as connection:
            self._lapse(connection, seconds)
            change = self._open(identifier).where(revocation.c.asked_by != who)
            if connection.execute(change.values(state="confirmed", confirmed_by=who)).rowcount != 1:
                code = self._why_not(connection, identifier, who)
            else:
                code = ""
                row = connection.execute(select(revocation).where(revocation.c.id == identifier)).one()
                agreed = Command(
                    row.id, "revoke", row.request_id, row.reason, row.case_number, row.asked_by, who
                )
                connection.execute(
                    insert(command).values(
                        id=row.id,
                        city=self._city,
                        kind="revoke",
                        body=canonical_json(command_json(agreed)).decode("ascii"),
                        created_at=seconds,
                    )
                )
            append_audit(
                connection,
                self._city,
                now,
                who=who,
                act="revocation-confirm",
                subject=identifier,
                outcome=code or "done",
            )
        if code:
            raise RevocationRefusedError(code)

    def withdraw(self, identifier: str, who: str, now: datetime) -> None:
        """Anybody on the staff may stop what is not confirmed yet.

        Raises: RevocationRefusedError(not-open).
        """
        change = self._open(identifier).values(
            state="withdrawn", open_request=None, closed_at=int(now.timestamp())
        )
        with self._store.writing.begin() as connection:
            if connection.execute(change).rowcount != 1:
                raise RevocationRefusedError("not-open")
            append_audit(connection, self._city, now, who=who, act="revocation-withdraw", subject=identifier)

    def select_open(self, now: datetime) -> list[Revocation]:
        """Asked or confirmed and not finished, oldest first."""
        fresh = revocation.c.asked_at > int(now.timestamp()) - OPEN_SECONDS
        query = select(revocation).where(
            revocation.c.city == self._city,
            revocation.c.open_request.is_not(None),
            (revocation.c.state == "confirmed") | fresh,
        )
        return self._rows(query.order_by(revocation.c.asked_at))

    def select_of(self, request_id: str) -> list[Revocation]:
        """All revocations ever asked for one request, newest first."""
        query = select(revocation).where(
            revocation.c.city == self._city, revocation.c.request_id == request_id
        )
        return self._rows(query.order_by(revocation.c.asked_at.desc(), revocation.c.id))

    def select_commands(self, limit: int) -> list[Command]:
        """Commands that were not acknowledged yet, oldest first; handed out again until they are."""
        query = (
            select(command.c.body)
            .where(command.c.city == self._city, command.c.acked_at.is_(None))
            .order_by(command.c.created_at, command.c.id)
            .limit(limit)
        )
        with self._store.reading.begin() as connection:
            bodies = [row.body for row in connection.execute(query)]
        return parse_commands(b'{"commands":[' + b",".join(body.encode("ascii") for body in bodies) + b"]}")

    def acknowledge(self, acks: list[Ack], now: datetime) -> None:
        """Close commands; a repeated acknowledgement changes nothing.

        Raises: StaffFormatError(unknown-command).
        """
        seconds = int(now.timestamp())
        with self._store.writing.begin() as connection:
            for ack in acks:
                mine = (command.c.city == self._city, command.c.id == ack.id)
                if connection.execute(select(command.c.id).where(*mine)).one_or_none() is None:
                    raise StaffFormatError("unknown-command", ack.id)
                closing = update(command).where(*mine, command.c.acked_at.is_(None))
                values = {"acked_at": seconds, "outcome": ack.outcome, "code": ack.code}
                if connection.execute(closing.values(**values)).rowcount != 1:
                    continue
                connection.execute(
                    update(revocation)
                    .where(revocation.c.id == ack.id)
                    .values(state=ack.outcome, open_request=None, closed_at=seconds)
                )
                outcome = ack.outcome if ack.code is None else f"{ack.outcome}:{ack.code}"[:64]
                append_audit(
                    connection,
                    self._city,
                    now,
                    who="worker",
                    act="revocation-ack",
                    subject=ack.id,
                    outcome=outcome,
                )

    def _open(self, identifier: str) -> Update:
        return update(revocation).where(
            revocation.c.city == self._city, revocation.c.id == identifier, revocation.c.state == "asked"
        )

    def _lapse(self, connection: Connection, seconds: int) -> None:
        old = update(revocation).where(
            revocation.c.city == self._city,
            revocation.c.state == "asked",
            revocation.c.asked_at <= seconds - OPEN_SECONDS,
        )
        connection.execute(old.values(state="lapsed", open_request=None, closed_at=seconds))

    def _why_not(self, connection: Connection, identifier: str, who: str) -> str:
        query = select(revocation.c.state, revocation.c.asked_by).where(
            revocation.c.city == self._city, revocation.c.id == identifier
        )
        row = connection.execute(query).one_or_none()
        return "same-person" if row and row.state == "asked" and row.asked_by == who else "not-open"

    def _rows(self, query: Executable) -> list[Revocation]:
        with self._store.reading.begin() as connection:
            return [_revocation(row) for row in connection.execute(query)]


def _revocation(row: Row[tuple[object, ...]]) -> Revocation:
    return Revocation(
        row.id,
        row.request_id,
        row.state,
        row.reason,
        row.case_number,
        row.asked_by,
        row.asked_at,
        row.confirmed_by,
        row.closed_at,
    )
