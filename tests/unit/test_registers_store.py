"""The register store: reading, events, change feed, streaming; one SQLite file a test."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect

from app.claims.decision import decide_income_certificate
from app.claims.figures import compute_figures
from app.claims.refusals import COUNTER
from app.registers.city.cases import case_entries, case_ids
from app.registers.errors import StoreInUse, UnknownResident
from app.registers.events import (
    Death,
    Move,
    NameChange,
    ProtectionLifted,
    ProtectionSet,
    ReviewSet,
    TaxRecordChanged,
)
from app.registers.migrations import upgrade
from app.registers.resident import Address, RegisterEntry, TaxRecord
from app.registers.store import Change, RegisterStore, metadata
from app.registers.taxpayer import circumstances, taxpayer_json, taxpayer_record
from app.storage.engine import open_store

NOW = datetime(2026, 11, 20, 1, 2, 3, tzinfo=UTC)
IDS = case_ids()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_store(f"sqlite:///{tmp_path / 'registers.sqlite'}")
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine) -> RegisterStore:
    store = RegisterStore(engine)
    store.add_city(case_entries(), "cases")
    return store


def test_the_migration_makes_exactly_the_tables_of_the_metadata(engine: Engine) -> None:
    upgrade(engine)  # twice changes nothing
    found = inspect(engine)
    for name, table in metadata.tables.items():
        columns = {column["name"]: column["nullable"] for column in found.get_columns(name)}
        assert columns == {column.name: column.nullable for column in table.columns}
        assert set(found.get_pk_constraint(name)["constrained_columns"]) == {
            c.name for c in table.primary_key
        }
        assert {index["name"] for index in found.get_indexes(name)} == {index.name for index in table.indexes}
    assert set(found.get_table_names()) == set(metadata.tables) | {"alembic_version"}


def test_every_table_carries_the_city_and_none_a_personal_number() -> None:
    for table in metadata.tables.values():
        assert "city_code" in table.columns
        assert not [
            column.name for column in table.columns if "number" in column.name and table.name != "changes"
        ]


def test_what_is_stored_comes_back(store: RegisterStore) -> None:
    entries = list(case_entries())
    assert store.count() == len(entries)
    assert list(store.entries()) == entries
    for entry in entries:
        assert store.find_resident(entry.resident.resident_id) == entry.resident
        assert store.tax_records_of(entry.resident.resident_id) == list(entry.tax_records)
    assert store.find_resident("M-9999999") is None
    assert store.find_tax_record(IDS["taxed"], 2024) is None


def test_candidates_are_those_born_that_day(store: RegisterStore) -> None:
    found = store.candidates(date(2004, 5, 20))
    assert [resident.resident_id for resident in found] == [IDS["twin-first"], IDS["twin-second"]]
    assert found[0].addresses
    assert store.candidates(date(1900, 1, 1)) == []


def test_a_store_is_filled_once(store: RegisterStore) -> None:
    with pytest.raises(StoreInUse):
        store.add_city(case_entries(), "again")


def test_a_broken_filling_leaves_no_origin(engine: Engine) -> None:
    def broken() -> Iterator[RegisterEntry]:
        yield from case_entries()
        raise RuntimeError("cut")

    store = RegisterStore(engine)
    with pytest.raises(RuntimeError):
        store.add_city(broken(), "x")
    assert store.origin() is None


def test_cities_in_one_store_do_not_see_each_other(store: RegisterStore, engine: Engine) -> None:
    other = RegisterStore(engine, "992020")
    assert other.count() == 0
    assert other.find_resident(IDS["taxed"]) is None
    assert other.candidates(date(2004, 5, 20)) == []


def test_events_change_the_resident_and_the_feed_together(store: RegisterStore) -> None:
    taxed = IDS["taxed"]
    assert store.record_event(ProtectionSet(taxed), NOW) == 1
    assert store.record_event(Death(IDS["mover"], date(2026, 11, 19)), NOW) == 2
    assert store.changes_since(0) == [
        Change(1, taxed, "protected", int(NOW.timestamp())),
        Change(2, IDS["mover"], "deceased", int(NOW.timestamp())),
    ]
    assert [change.number for change in store.changes_since(1)] == [2]
    assert store.changes_since(0, limit=1)[0].number == 1
    protected = store.find_resident(taxed)
    assert protected is not None and protected.protected
    store.record_event(ProtectionLifted(taxed), NOW)
    lifted = store.find_resident(taxed)
    assert lifted is not None and not lifted.protected
    dead = store.find_resident(IDS["mover"])
    assert dead is not None and dead.deceased_on == date(2026, 11, 19)


def test_a_move_ends_the_address_before(store: RegisterStore) -> None:
    taxed = IDS["taxed"]
    new = Address("見本県見本市港町一丁目1番1号", "992011", date(2026, 11, 1))
    store.record_event(Move(taxed, new), NOW)
    moved = store.find_resident(taxed)
    assert moved is not None
    assert [address.to_date for address in moved.addresses] == [date(2026, 11, 1), None]
    with pytest.raises(ValueError, match="after"):
        store.record_event(Move(taxed, new), NOW)
    assert len(store.changes_since(0)) == 1


def test_a_new_name_is_searchable_at_once(store: RegisterStore) -> None:
    store.record_event(NameChange(IDS["taxed"], "仮野", "カリノ", former_family_name="\U00020bb7\u585a"), NOW)
    renamed = store.find_resident(IDS["taxed"])
    assert renamed is not None
    assert (renamed.name, renamed.former_family_name) == ("仮野\u3000花子", "\U00020bb7\u585a")


def test_a_corrected_tax_record_replaces_the_old_one(store: RegisterStore) -> None:
    record = TaxRecord(IDS["undeclared"], 2026, True, {"income": {"salary_revenue": 2_500_000}})
    store.record_event(TaxRecordChanged(record), NOW)
    assert store.find_tax_record(IDS["undeclared"], 2026) == record
    assert store.changes_since(0)[0].kind == "tax-record-2026"


def test_events_for_nobody_are_refused(store: RegisterStore) -> None:
    with pytest.raises(UnknownResident):
        store.record_event(ReviewSet("M-9999999"), NOW)
    assert store.changes_since(0) == []


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("taxed", None),
        ("per-capita-only", None),
        ("exempt", None),
        ("moved-out-since", None),
        ("undeclared", "undeclared"),
        ("moved-in-later", "not-resident-on-january-1"),
        ("deceased", "deceased"),
        ("protected", "counter"),
        ("under-review", "counter"),
        ("family-child-12", "undeclared"),
    ],
)
def test_each_deciding_case_is_decided(store: RegisterStore, key: str, code: str | None) -> None:
    resident = store.find_resident(IDS[key])
    assert resident is not None
    record = store.find_tax_record(IDS[key], 2026)
    refusal = decide_income_certificate(circumstances(resident, record, 2026), 2026)
    assert (refusal.code if refusal else None) == code
    if code == "counter":
        assert refusal is COUNTER


@pytest.mark.parametrize(
    ("key", "year", "kind", "annual"),
    [
        ("taxed", 2026, "taxed", 241_000),
        ("taxed", 2025, "taxed", 117_000),
        ("family-head", 2026, "taxed", 246_300),
        ("exempt", 2026, "exempt", 0),
        ("per-capita-only", 2026, "per-capita-only", 5_500),
        ("pilot-year", 2021, "taxed", 173_000),
        ("disabled-exempt", 2026, "exempt", 0),
        ("public-assistance", 2026, "exempt", 0),
    ],
)
def test_figures_of_the_hand_made_residents(
    store: RegisterStore, key: str, year: int, kind: str, annual: int
) -> None:
    resident, record = store.find_resident(IDS[key]), store.find_tax_record(IDS[key], year)
    assert resident is not None and record is not None
    figures = compute_figures(taxpayer_record(resident, record))
    assert (figures.levy_kind, figures.tax["annual_total"]) == (kind, annual)


def test_the_taxpayer_record_takes_the_address_of_the_first_of_january(store: RegisterStore) -> None:
    resident, record = store.find_resident(IDS["mover"]), store.find_tax_record(IDS["mover"], 2025)
    assert resident is not None and record is not None
    data = taxpayer_json(resident, record)
    assert data["person"]["address_jan1"] == "見本県見本市センター町六丁目3番2号"
    foreign = store.find_resident(IDS["foreign-with-alias"])
    foreign_record = store.find_tax_record(IDS["foreign-with-alias"], 2026)
    assert foreign is not None and foreign_record is not None
    person = taxpayer_json(foreign, foreign_record)["person"]
    assert person["alias"] == "例部\u3000有子"
    assert "family_name_kana" not in person
