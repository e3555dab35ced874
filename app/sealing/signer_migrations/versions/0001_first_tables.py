"""The first tables of the signer's store."""

from alembic import op

from app.sealing.signer_store import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    metadata.create_all(op.get_bind())


def downgrade() -> None:
    metadata.drop_all(op.get_bind())
