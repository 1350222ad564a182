"""a campaign's own rate; what accounts that are being warmed up have sent."""

import sqlalchemy as sa
from alembic import op

revision = "0009_rates"
down_revision = "0008_lane_tags"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("lane", sa.Column("campaign_rate", sa.Float(), nullable=True))
    op.create_table(
        "warmed",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "since"),
    )


def downgrade() -> None:
    op.drop_table("warmed")
    with op.batch_alter_table("lane") as batch:
        batch.drop_column("campaign_rate")
