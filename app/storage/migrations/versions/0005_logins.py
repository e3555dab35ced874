"""Logins under way at the login provider, and what they came to."""

from alembic import op

from app.storage.logins import LOGIN_TABLES

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for table in LOGIN_TABLES:
        # A new store may have got every table by the first revision already.
        table.create(op.get_bind(), checkfirst=True)


def downgrade() -> None:
    for table in reversed(LOGIN_TABLES):
        table.drop(op.get_bind())
