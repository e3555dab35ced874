"""Logins at the login provider: whose they are, and which ID tokens were used up."""

from alembic import op

from app.registers.gate_store import login_tokens, logins

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for table in (logins, login_tokens):
        # A new store got every table by the first revision already.
        table.create(op.get_bind(), checkfirst=True)


def downgrade() -> None:
    for table in (login_tokens, logins):
        table.drop(op.get_bind())
