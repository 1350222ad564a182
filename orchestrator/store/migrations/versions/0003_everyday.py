"""SMS budgets and alerts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

import orchestrator.store.tables

revision = "0003_everyday"
down_revision = "0002_user_alias"
branch_labels = None
depends_on = None

Instant = orchestrator.store.tables.Instant


def upgrade() -> None:
    identifier = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "spend",
        sa.Column("run_id", identifier, autoincrement=False, nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("sms", sa.BigInteger(), nullable=False),
        sa.Column("sms_parts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
    )
    op.create_index(op.f("ix_spend_campaign"), "spend", ["campaign"])
    op.create_table(
        "alert",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql"), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", Instant(), nullable=False),
        sa.Column("posted_at", Instant()),
        sa.Column("mailed_at", Instant()),
        sa.Column("sent_at", Instant()),
        sa.PrimaryKeyConstraint("key"),
    )
    waiting = sa.text("sent_at IS NULL")
    op.create_index("ix_alert_waiting", "alert", ["next_at"], sqlite_where=waiting, postgresql_where=waiting)


def downgrade() -> None:
    op.drop_table("alert")
    op.drop_table("spend")
