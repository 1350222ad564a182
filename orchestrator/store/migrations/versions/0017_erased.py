"""opt-outs of people who were erased."""

import sqlalchemy as sa
from alembic import op

import orchestrator.store.tables

revision = "0017_erased"
down_revision = "0016_shards"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "erased",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", orchestrator.store.tables.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "channel", "topic", "reason"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("erased")
