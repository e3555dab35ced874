"""RegisterStore: the mock base systems behind one small API (find one, find candidates, note an event,
follow changes).

Each method is one transaction. `record_event` writes the change and its line in the change feed together,
so who has seen number n has seen every change up to n. A whole city is written and read in batches; nothing
is cached.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from app.registers import rows
from app.registers.errors import StoreInUse, UnknownResident
from app.registers.events import Event, TaxRecordChanged, apply_event, tax_record_kind
from app.registers.resident import CITY_CODE, RegisterEntry, Resident, TaxRecord
from app.registers.tables import (
    addresses,
    changes,
    metadata,
    register_info,
    residents,
    tax_records,
)

__all__ = ["Change", "RegisterStore", "metadata"]

UNCHANGED: Final = "tax-record-same"
"""Kind of a tax record that came again as it was: nobody's certificate is wrong because of it."""
BATCH: Final = 2_000
"""Residents a transaction while a city is written: bounds memory, and what a crash leaves is visible as
incomplete.
"""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the feed; `at` is Unix seconds UTC, `kind` as in `events`."""

    number: int
    resident_id: str
    kind: str
    at: int


class RegisterStore:
    """The registers of one city. The engine comes from `app.storage.engine.open_store`, upgraded by
    `migrations`.
    """

    def __init__(self, engine: Engine, city_code: str = CITY_CODE) -> None:
        self._engine = engine
        self._city = city_code

    def find_resident(self, resident_id: str) -> Resident | None:
        """The resident, living or dead, present or moved out; None if there is none."""
        with self._engine.begin() as connection:
            return self._find_resident(connection, resident_id)

    def find_tax_record(self, resident_id: str, fiscal_year: int) -> TaxRecord | None:
        """The tax record of that year; None if the tax office has none (treated as 未申告)."""
        with self._engine.begin() as connection:
            return self._find_tax_record(connection, resident_id, fiscal_year)

    def tax_records_of(self, resident_id: str) -> list[TaxRecord]:
        """Every tax record of one person, ascending by year."""
        with self._engine.begin() as connection:
            return self._tax_records(connection, resident_id, resident_id).get(resident_id, [])

    def candidates(self, birthdate: date) -> list[Resident]:
        """Everybody born on that day, for `match.match_resident` (one index lookup)."""
        query = (
            select(residents)
            .where(residents.c.city_code == self._city, residents.c.birthdate == birthdate.isoformat())
            .order_by(residents.c.resident_id)
        )
        with self._engine.begin() as connection:
            found = connection.execute(query).all()
            return self._with_addresses(connection, found)

    def record_event(self, event: Event, at: datetime) -> int:
        """Store what happened and append it to the feed; returns its number. Raises: UnknownResident,
        ValueError.
        """
        with self._engine.begin() as connection:
            before = self._find_resident(connection, event.resident_id)
            if before is None:
                raise UnknownResident(event.resident_id)
            after = apply_event(before, event)
            kind = event.kind
            if isinstance(event, TaxRecordChanged):
                if (
                    self._find_tax_record(connection, event.resident_id, event.record.fiscal_year)
                    == event.record
                ):
                    # Delivered twice, or a correction of something that no certificate shows.
                    kind = UNCHANGED
                self._put_tax_record(connection, event.record)
            else:
                self._replace(connection, after)
            result = connection.execute(
                insert(changes).values(
                    city_code=self._city,
                    resident_id=event.resident_id,
                    kind=kind,
                    at=int(at.timestamp()),
                )
            )
            return int(result.inserted_primary_key[0])

    def changes_since(self, number: int, limit: int = 1_000) -> list[Change]:
        """Changes after `number`, ascending, at most `limit`."""
        query = (
            select(changes.c.number, changes.c.resident_id, changes.c.kind, changes.c.at)
            .where(changes.c.city_code == self._city, changes.c.number > number)
            .order_by(changes.c.number)
            .limit(limit)
        )
        with self._engine.begin() as connection:
            return [Change(*row) for row in connection.execute(query)]

    def position(self) -> int:
        """The number of the newest change; 0 before the first. What is read afterwards is at least as new."""
        query = select(func.max(changes.c.number)).where(changes.c.city_code == self._city)
        with self._engine.begin() as connection:
            return int(connection.execute(query).scalar() or 0)

    def is_corrected(self, resident_id: str, fiscal_year: int, *, since: int) -> bool:
        """Whether the tax record of that year became another one after change number `since`."""
        query = (
            select(changes.c.number)
            .where(
                changes.c.city_code == self._city,
                changes.c.number > since,
                changes.c.resident_id == resident_id,
                changes.c.kind == tax_record_kind(fiscal_year),
            )
            .limit(1)
        )
        with self._engine.begin() as connection:
            return connection.execute(query).first() is not None

    def count(self) -> int:
        """How many residents the store holds."""
        query = select(func.count()).select_from(residents).where(residents.c.city_code == self._city)
        with self._engine.begin() as connection:
            return int(connection.execute(query).scalar_one())

    def add_city(self, entries: Iterable[RegisterEntry], origin: str) -> int:
        """Fill an empty store from a stream; `origin` says where from. Returns how many. Raises: StoreInUse.

        A store whose filling broke off has no `origin` and is refused by `origin()`: make it again.
        """
        if self.count():
            raise StoreInUse
        total = 0
        for batch in _batches(entries):
            self._add_batch(batch)
            total += len(batch)
        with self._engine.begin() as connection:
            connection.execute(
                insert(register_info).values(city_code=self._city, name="origin", content=origin)
            )
        return total

    def origin(self) -> str | None:
        """Where the city came from; None if the store is empty or was not filled to the end."""
        query = select(register_info.c.content).where(
            register_info.c.city_code == self._city, register_info.c.name == "origin"
        )
        with self._engine.begin() as connection:
            content = connection.execute(query).scalar_one_or_none()
        return None if content is None else str(content)

    def entries(self) -> Iterator[RegisterEntry]:
        """Every resident with every tax record, ascending by resident id, in batches of one transaction
        each.
        """
        last = ""
        while True:
            query = (
                select(residents)
                .where(residents.c.city_code == self._city, residents.c.resident_id > last)
                .order_by(residents.c.resident_id)
                .limit(BATCH)
            )
            with self._engine.begin() as connection:
                found = connection.execute(query).all()
                if not found:
                    return
                people = self._with_addresses(connection, found)
                taxes = self._tax_records(connection, people[0].resident_id, people[-1].resident_id)
            for person in people:
                yield RegisterEntry(person, tuple(taxes.get(person.resident_id, ())))
            last = people[-1].resident_id

    def _add_batch(self, batch: list[RegisterEntry]) -> None:
        people = [entry.resident for entry in batch]
        with self._engine.begin() as connection:
            connection.execute(
                insert(residents), [rows.resident_row(person, self._city) for person in people]
            )
            history = [row for person in people for row in rows.address_rows(person, self._city)]
            connection.execute(insert(addresses), history)
            taxes = [rows.tax_row(record, self._city) for entry in batch for record in entry.tax_records]
            if taxes:
                connection.execute(insert(tax_records), taxes)

    def _find_resident(self, connection: Connection, resident_id: str) -> Resident | None:
        query = select(residents).where(
            residents.c.city_code == self._city, residents.c.resident_id == resident_id
        )
        found = connection.execute(query).all()
        return next(iter(self._with_addresses(connection, found)), None)

    def _with_addresses(self, connection: Connection, found: Any) -> list[Resident]:
        history: dict[str, list[Any]] = {row.resident_id: [] for row in found}
        ids = list(history)
        for start in range(0, len(ids), 500):  # a query has a limited number of parameters
            query = (
                select(addresses)
                .where(
                    addresses.c.city_code == self._city,
                    addresses.c.resident_id.in_(ids[start : start + 500]),
                )
                .order_by(addresses.c.resident_id, addresses.c.position)
            )
            for item in connection.execute(query):
                history[item.resident_id].append(item)
        return [rows.resident_of(row, history[row.resident_id]) for row in found]

    def _tax_records(self, connection: Connection, first: str, last: str) -> dict[str, list[TaxRecord]]:
        query = (
            select(tax_records)
            .where(
                tax_records.c.city_code == self._city,
                tax_records.c.resident_id >= first,
                tax_records.c.resident_id <= last,
            )
            .order_by(tax_records.c.resident_id, tax_records.c.fiscal_year)
        )
        found: dict[str, list[TaxRecord]] = {}
        for row in connection.execute(query):
            found.setdefault(row.resident_id, []).append(rows.tax_record_of(row))
        return found

    def _replace(self, connection: Connection, resident: Resident) -> None:
        where = (residents.c.city_code == self._city, residents.c.resident_id == resident.resident_id)
        connection.execute(update(residents).where(*where).values(rows.resident_row(resident, self._city)))
        connection.execute(
            delete(addresses).where(
                addresses.c.city_code == self._city,
                addresses.c.resident_id == resident.resident_id,
            )
        )
        connection.execute(insert(addresses), rows.address_rows(resident, self._city))

    def _find_tax_record(
        self, connection: Connection, resident_id: str, fiscal_year: int
    ) -> TaxRecord | None:
        query = select(tax_records).where(
            tax_records.c.city_code == self._city,
            tax_records.c.resident_id == resident_id,
            tax_records.c.fiscal_year == fiscal_year,
        )
        row = connection.execute(query).first()
        return None if row is None else rows.tax_record_of(row)

    def _put_tax_record(self, connection: Connection, record: TaxRecord) -> None:
        connection.execute(
            delete(tax_records).where(
                tax_records.c.city_code == self._city,
                tax_records.c.resident_id == record.resident_id,
                tax_records.c.fiscal_year == record.fiscal_year,
            )
        )
        connection.execute(insert(tax_records).values(rows.tax_row(record, self._city)))


def _batches(entries: Iterable[RegisterEntry]) -> Iterator[list[RegisterEntry]]:
    batch: list[RegisterEntry] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
