"""The first tables of the register store."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Written out, not taken from the metadata: a later change of the metadata must not change this step."""
    op.create_table(
        "register_info",
        sa.Column("city_code", sa.String(6), primary_key=True),
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_table(
        "residents",
        sa.Column("city_code", sa.String(6), primary_key=True),
        sa.Column("resident_id", sa.String(32), primary_key=True),
        sa.Column("household_id", sa.String(32), nullable=False),
        sa.Column("relation", sa.String(16), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("family_name", sa.Text, nullable=False),
        sa.Column("given_name", sa.Text, nullable=False),
        sa.Column("family_name_kana", sa.Text, nullable=False),
        sa.Column("given_name_kana", sa.Text, nullable=False),
        sa.Column("search_key", sa.Text, nullable=False),
        sa.Column("sex", sa.Integer, nullable=False),
        sa.Column("birthdate", sa.String(10), nullable=False),
        sa.Column("former_family_name", sa.Text),
        sa.Column("alias", sa.Text),
        sa.Column("deceased_on", sa.String(10)),
        sa.Column("protected", sa.Integer, nullable=False),
        sa.Column("under_review", sa.Integer, nullable=False),
        sa.Column("dummy", sa.Integer, nullable=False),
    )
    op.create_index("residents_by_birthdate", "residents", ["city_code", "birthdate", "search_key"])
    op.create_table(
        "addresses",
        sa.Column("city_code", sa.String(6), primary_key=True),
        sa.Column("resident_id", sa.String(32), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("address_city_code", sa.String(6), nullable=False),
        sa.Column("machiaza_id", sa.String(7)),
        sa.Column("from_date", sa.String(10), nullable=False),
        sa.Column("to_date", sa.String(10)),
    )
    op.create_table(
        "tax_records",
        sa.Column("city_code", sa.String(6), primary_key=True),
        sa.Column("resident_id", sa.String(32), primary_key=True),
        sa.Column("fiscal_year", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("declared", sa.Integer, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )
    op.create_table(
        "changes",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("city_code", sa.String(6), nullable=False),
        sa.Column("resident_id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """The store can be made again from a register file."""
    for table in ("changes", "tax_records", "addresses", "residents", "register_info"):
        op.drop_table(table)
