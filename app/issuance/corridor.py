"""What every step of a corridor does: claim rows under a lease, do the work, note why not; one compare-and-set a result.

Two corridors walk requests: `walk` (a certificate with its page) and `app.wallets.copies_walk` (copies for a wallet).
This module knows no step and tells nobody anything: a corridor says what its resident hears.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine

from app.claims.certificate_data import Authority
from app.errors import CityError, ConflictError, GateError, Refusal, UnavailableError
from app.issuance.refusals import refusal
from app.issuance.states import State
from app.rendering.errors import NoRoomError, UnprintableError
from app.storage import certificates as certificate_store
from app.storage import requests as request_store
from app.storage.requests import Request
from verifier.fault import describe_fault
from verifier.formats.leaf import format_validity

log = logging.getLogger("akashi.walk")
JST: Final = timezone(timedelta(hours=9), "JST")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WalkSettings:
    """lease, patience in seconds; batch rows a step; after `max_attempts` tries a person has to look."""

    authority: Authority
    validity_days: int = 92
    lease: int = 60
    patience: int = 2
    batch: int = 32
    max_attempts: int = 200


StatusToken = Callable[[int], bytes]
"""The newest signed token of a status list, by number."""


class Corridor:
    """The shared half of both corridors. A corridor sets `name` (which rows are its own) and overrides the `_tell…`s."""

    name: str = request_store.PHONE

    def __init__(self, store: Engine, settings: WalkSettings, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    def _tell_stage(self, connection: Connection, row: Request, after: State) -> None:
        """The row has moved on: in the same transaction."""

    def _tell_end(self, connection: Connection, row: Request, no: Refusal) -> None:
        """The row was refused or has failed: in the same transaction."""

    def _each(self, state: State, work: Callable[[Request], None]) -> int:
        with self._store.begin() as connection:
            rows = self._claim(connection, state)
        moved = 0
        for row in rows:
            try:
                moved += self._try(row, work)
            except ConflictError as error:
                log.info("request %s: discarded, %s", row.request_id, error.code)
        return moved

    def _try(self, row: Request, work: Callable[[Request], None]) -> bool:
        """Do one step of one row, or note why not. Raises ConflictError when somebody else moved the row on."""
        try:
            work(row)
            return True
        except Refusal as no:
            self._refuse(row, no)
        except UnavailableError as error:
            self._wait([row], error)
        except ConflictError:
            raise
        except GateError as error:
            log.error("request %s: the verifier did not accept it: %s", row.request_id, error)
            self._fail(row, error)
        except (UnprintableError, NoRoomError) as error:
            # The same text will not fit the next time either: drawing fails closed, at once.
            log.error("request %s: %s", row.request_id, error.code)
            self._fail(row, error)
        except CityError as error:
            log.error("request %s: %s", row.request_id, error.code)
            self._retry_or_fail(row, error)
        except Exception as error:
            # A defect of ours: this row is tried again and at last given to a person; the others go on.
            log.error("request %s: unexpected %s", row.request_id, describe_fault(error))
            self._retry_or_fail(row, CityError("internal"))
        return False

    def _claim(self, connection: Connection, state: State) -> list[Request]:
        return request_store.claim(
            connection,
            state,
            limit=self._settings.batch,
            at=self._now(),
            lease=self._settings.lease,
            corridor=self.name,
        )

    def _move(self, connection: Connection, row: Request, after: State, *, step: str, started: float) -> None:
        duration = round((time.perf_counter() - started) * 1000)
        request_store.move(connection, row, after, at=self._now(), step=step, duration_ms=duration)
        self._tell_stage(connection, row, after)

    def _refuse(self, row: Request, no: Refusal) -> None:
        self._end(row, State.REFUSED, no)

    def _fail(self, row: Request, error: CityError) -> None:
        no = refusal("technical")
        self._end(row, State.FAILED, Refusal(error.code, no.ja, no.en, retry=no.retry))

    def _end(self, row: Request, state: State, no: Refusal) -> None:
        with self._store.begin() as connection:
            request_store.move(connection, row, state, at=self._now(), step=str(state), refusal_code=no.code)
            certificate_store.drop_artifacts(connection, row.request_id)
            self._tell_end(connection, row, no)

    def _retry_or_fail(self, row: Request, error: CityError) -> None:
        if row.attempts >= self._settings.max_attempts:
            self._fail(row, error)
        else:
            self._wait([row], error)

    def _wait(self, rows: Sequence[Request], error: CityError) -> None:
        """Somebody was away: let go of the rows and come back after a moment; the console shows why."""
        with self._store.begin() as connection:
            for row in rows:
                request_store.note_event(
                    connection,
                    row.request_id,
                    at=self._now(),
                    step="wait",
                    state=row.state,
                    reason=error.code,
                )
                request_store.give_back(connection, row, until=self._now() + self._settings.patience)

    def _now(self) -> int:
        return int(self._clock().timestamp())


def need(value: T | None) -> T:
    """The value, or ConflictError when a row that this state needs is not there."""
    if value is None:
        raise ConflictError("row-missing", "a row that this state needs is not there")
    return value


def legal_day(seconds: int) -> date:
    """The day in Japan at `seconds` (Unix)."""
    return datetime.fromtimestamp(seconds, UTC).astimezone(JST).date()


def validity(issued_at: int, valid_until: str) -> str:
    """The validity of a leaf: from the legal day of `issued_at` (Unix seconds) to `valid_until` (ISO date)."""
    return format_validity(legal_day(issued_at), date.fromisoformat(valid_until))
