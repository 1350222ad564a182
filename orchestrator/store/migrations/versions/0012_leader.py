"""which process leads."""

import sqlalchemy as sa
from alembic import op

import orchestrator.store.tables

revision = "0012_leader"
down_revision = "0011_firings"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "leader",
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until", orchestrator.store.tables.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("role"),
    )


def downgrade() -> None:
    op.drop_table("leader")
