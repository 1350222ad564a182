"""large runs that several planners plan at once."""

import sqlalchemy as sa
from alembic import op

import orchestrator.store.tables

revision = "0016_shards"
down_revision = "0014_blocks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "shard",
        sa.Column("run_id", orchestrator.store.tables.Id, nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("through", orchestrator.store.tables.Id, nullable=False),
        sa.Column("high", orchestrator.store.tables.Id, nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "n"),
    )


def downgrade() -> None:
    op.drop_table("shard")
