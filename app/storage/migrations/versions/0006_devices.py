"""Which requests were made under a mandate, and the mails that tell of a new device."""

from alembic import op

from app.storage.tables import mandate_requests, notice_mails

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    # A new store got every table by the first revision already.
    for table in (mandate_requests, notice_mails):
        table.create(op.get_bind(), checkfirst=True)


def downgrade() -> None:
    for table in (notice_mails, mandate_requests):
        table.drop(op.get_bind())
