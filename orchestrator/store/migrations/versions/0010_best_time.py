"""best time."""

import sqlalchemy as sa
from alembic import op

import orchestrator.store.tables

revision = "0010_best_time"
down_revision = "0009_rates"
branch_labels = None
depends_on = None

Instant = orchestrator.store.tables.Instant
_SLOT = (("weekday", sa.SmallInteger()), ("hours", sa.Text()), ("shut", sa.Text()), ("explore", sa.BigInteger()))


def upgrade() -> None:
    identifier = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    for name, kind in _SLOT:
        op.add_column("slot", sa.Column(name, kind, nullable=True))
    op.add_column("message", sa.Column("timed", sa.SmallInteger(), nullable=True))
    op.create_table(
        "slot_hour",
        sa.Column("run_id", identifier, nullable=False),
        sa.Column("step", sa.SmallInteger(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("zone_key", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("hour", sa.Text(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("spread", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "step", "arm", "zone_key", "country", "hour"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "best_hour",
        sa.Column("user_id", identifier, nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("hours", sa.Text(), nullable=False),
        sa.Column("opens", sa.Integer(), nullable=False),
        sa.Column("until", Instant(), nullable=False),
        sa.Column("computed_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "channel"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_best_hour_computed_at", "best_hour", ["computed_at"])


def downgrade() -> None:
    op.drop_table("best_hour")
    op.drop_table("slot_hour")
    op.drop_column("message", "timed")
    for name, _ in reversed(_SLOT):
        op.drop_column("slot", name)
