"""The first tables of the register gate's store."""

from alembic import op

from app.registers.gate_store import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    metadata.create_all(op.get_bind())


def downgrade() -> None:
    metadata.drop_all(op.get_bind())
