"""Status entries in a table of their own, copies for foreign wallets, and why something was revoked."""

import sqlalchemy as sa
from alembic import op

from app.storage.tables import copies, revocations, status_entries

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    bind = op.get_bind()
    # A new store got every table as it is now by the first revision already.
    for table in (status_entries, copies, revocations):
        table.create(bind, checkfirst=True)
    if "revoked_at" not in {column["name"] for column in sa.inspect(bind).get_columns("certificates")}:
        return
    op.add_column("requests", sa.Column("register_position", sa.BigInteger()))
    op.add_column(
        "status_lists", sa.Column("is_open", sa.Boolean(), nullable=False, server_default=sa.true())
    )
    op.execute(
        "INSERT INTO status_entries (status_list, status_index, request_id, last_day, is_invalid)"
        " SELECT status_list, status_index, request_id, valid_until, revoked_at IS NOT NULL FROM certificates"
    )
    op.execute(
        "INSERT INTO revocations (request_id, reason, note, at)"
        " SELECT request_id, CASE revocation_reason WHEN 'withdrawn' THEN 'withdrawn' ELSE 'staff' END,"
        " COALESCE(revocation_reason, ''), revoked_at FROM certificates WHERE revoked_at IS NOT NULL"
    )
    with op.batch_alter_table("certificates") as batch:
        batch.drop_constraint("certificates_status", type_="unique")
        batch.drop_column("revoked_at")
        batch.drop_column("revocation_reason")


def downgrade() -> None:
    # What is revoked must not become valid again by going back.
    raise NotImplementedError("a store with copies has no older form")
