"""What the city remembers of a handled message, so that the same message again can be answered again."""

from alembic import op

from app.storage.tables import repeats

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # A new store got every table by the first revision already.
    repeats.create(op.get_bind(), checkfirst=True)


def downgrade() -> None:
    repeats.drop(op.get_bind())
