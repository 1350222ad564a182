"""runs at instants, runs that members join by an event."""

import sqlalchemy as sa
from alembic import op

import orchestrator.store.tables

revision = "0011_firings"
down_revision = "0010_best_time"
branch_labels = None
depends_on = None

Instant = orchestrator.store.tables.Instant
_RUN = ("fires_at", "enrols_until")
_DATES, _INSTANTS = sa.text("fires_at IS NULL"), sa.text("fires_at IS NOT NULL")


def upgrade() -> None:
    identifier = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    for name in _RUN:
        op.add_column("run", sa.Column(name, Instant(), nullable=True))
    op.drop_index("uq_run_date", "run")
    _index("uq_run_date", "local_date", _DATES)
    _index("uq_run_instant", "fires_at", _INSTANTS)
    op.create_table(
        "waiting",
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("user_id", identifier, nullable=False),
        sa.Column("event_id", identifier, nullable=False),
        sa.Column("event_at", Instant(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("campaign", "user_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_waiting_campaign_due_at", "waiting", ["campaign", "due_at"])
    op.create_table(
        "enrolled",
        sa.Column("run_id", identifier, nullable=False),
        sa.Column("user_id", identifier, nullable=False),
        sa.Column("event_id", identifier, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "user_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "event_cursor",
        sa.Column("reader", sa.Text(), nullable=False),
        sa.Column("event_id", identifier, nullable=False),
        sa.PrimaryKeyConstraint("reader"),
    )


def downgrade() -> None:
    for name in ("event_cursor", "enrolled", "waiting"):
        op.drop_table(name)
    op.execute("DELETE FROM run WHERE fires_at IS NOT NULL")  # one date may have had several
    op.drop_index("uq_run_instant", "run")
    op.drop_index("uq_run_date", "run")
    op.create_index("uq_run_date", "run", ["campaign", "local_date"], unique=True)
    for name in _RUN:
        op.drop_column("run", name)


def _index(name: str, column: str, where: sa.TextClause) -> None:
    op.create_index(name, "run", ["campaign", column], unique=True, sqlite_where=where, postgresql_where=where)
