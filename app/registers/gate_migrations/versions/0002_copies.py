"""How many copies for a wallet a request was opened for; 0: a certificate with its page."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    columns = sa.inspect(op.get_bind()).get_columns("authorised_requests")
    # A new store got the column by the first revision already.
    if "copies" not in {column["name"] for column in columns}:
        op.add_column(
            "authorised_requests", sa.Column("copies", sa.Integer(), nullable=False, server_default="0")
        )


def downgrade() -> None:
    op.drop_column("authorised_requests", "copies")
