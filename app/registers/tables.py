"""Tables of the register store: what the mock base systems hold. One writer: the register gate's process or
the CLI.

Dates are ISO text, `changes.at` Unix seconds UTC, flags 0 or 1, `tax_records.data` canonical JSON of a
taxpayer record (docs/formats/taxpayer-record.md). Every table carries the city code. There is no column for
a 個人番号.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

metadata: Final = MetaData()

register_info: Final = Table(
    "register_info",
    metadata,
    Column("city_code", String(6), primary_key=True),
    Column("name", String(32), primary_key=True),
    Column("content", Text, nullable=False),
)

residents: Final = Table(
    "residents",
    metadata,
    Column("city_code", String(6), primary_key=True),
    Column("resident_id", String(32), primary_key=True),
    Column("household_id", String(32), nullable=False),
    Column("relation", String(16), nullable=False),
    Column("name", Text, nullable=False),
    Column("family_name", Text, nullable=False),
    Column("given_name", Text, nullable=False),
    Column("family_name_kana", Text, nullable=False),
    Column("given_name_kana", Text, nullable=False),
    Column("search_key", Text, nullable=False),
    Column("sex", Integer, nullable=False),
    Column("birthdate", String(10), nullable=False),
    Column("former_family_name", Text),
    Column("alias", Text),
    Column("deceased_on", String(10)),
    Column("protected", Integer, nullable=False),
    Column("under_review", Integer, nullable=False),
    Column("dummy", Integer, nullable=False),
    Index("residents_by_birthdate", "city_code", "birthdate", "search_key"),
)

addresses: Final = Table(
    "addresses",
    metadata,
    Column("city_code", String(6), primary_key=True),
    Column("resident_id", String(32), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("address", Text, nullable=False),
    Column("address_city_code", String(6), nullable=False),
    Column("machiaza_id", String(7)),
    Column("from_date", String(10), nullable=False),
    Column("to_date", String(10)),
)

tax_records: Final = Table(
    "tax_records",
    metadata,
    Column("city_code", String(6), primary_key=True),
    Column("resident_id", String(32), primary_key=True),
    Column("fiscal_year", Integer, primary_key=True, autoincrement=False),
    Column("declared", Integer, nullable=False),
    Column("data", Text, nullable=False),
)

changes: Final = Table(
    "changes",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("city_code", String(6), nullable=False),
    Column("resident_id", String(32), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("at", BigInteger, nullable=False),
)
