"""Mandates, the counter's codes and acts, device locks, and the gate's own feed of what happened to a binding."""

from alembic import op

from app.registers.mandate_tables import ALL, COUNTERS, gate_progress

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # A new store may have got every table by the first revision already.
    for table in ALL:
        table.create(op.get_bind(), checkfirst=True)
    for name in COUNTERS:
        op.execute(gate_progress.insert().values(name=name, value=0))


def downgrade() -> None:
    for table in reversed(ALL):
        table.drop(op.get_bind())
