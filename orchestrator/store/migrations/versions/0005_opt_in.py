"""agreements that wait for a confirmation."""

import sqlalchemy as sa
from alembic import op

revision = "0005_opt_in"
down_revision = "0004_links"
branch_labels = None
depends_on = None

WAITING = "asked_at IS NULL AND confirmed_at IS NULL AND ended_at IS NULL"


def upgrade() -> None:
    op.create_table(
        "opt_in",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ask_at", sa.BigInteger(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=True),
        sa.Column("confirmed_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_opt_in_user_id_channel_topic", "opt_in", ["user_id", "channel", "topic"])
    op.create_index(
        "ix_opt_in_waiting",
        "opt_in",
        ["ask_at"],
        sqlite_where=sa.text(WAITING),
        postgresql_where=sa.text(WAITING),
    )


def downgrade() -> None:
    op.drop_table("opt_in")
