"""the app's own inbox."""

import sqlalchemy as sa
from alembic import op

import orchestrator.store.tables

revision = "0007_inbox"
down_revision = "0006_address_details"
branch_labels = None
depends_on = None


def upgrade() -> None:
    identifier = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "inbox_item",
        sa.Column("message_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", identifier, nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("link", sa.Text(), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("data", orchestrator.store.tables.Json, nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=True),
        sa.Column("read_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("message_id"),
    )
    op.create_index("ix_inbox_item_user_id_at", "inbox_item", ["user_id", "at"])
    op.create_index("ix_inbox_item_expires_at", "inbox_item", ["expires_at"])


def downgrade() -> None:
    op.drop_table("inbox_item")
