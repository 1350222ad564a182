"""users merge."""

import sqlalchemy as sa
from alembic import op

import orchestrator.store.tables

revision = "0002_user_alias"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    identifier = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "user_alias",
        sa.Column("old_user_id", identifier, autoincrement=False, nullable=False),
        sa.Column("user_id", identifier, nullable=False),
        sa.Column("merged_at", orchestrator.store.tables.Instant(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("old_user_id"),
    )
    op.create_index("ix_user_alias_user_id", "user_alias", ["user_id"])


def downgrade() -> None:
    op.drop_table("user_alias")
