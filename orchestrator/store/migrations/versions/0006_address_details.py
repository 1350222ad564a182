"""what else is known of an address; several accounts for a step, each with its lane."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006_address_details"
down_revision = "0005_opt_in"
branch_labels = None
depends_on = None


def upgrade() -> None:
    details = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
    op.add_column("address", sa.Column("platform", sa.Text(), nullable=True))
    op.add_column("address", sa.Column("details", details, nullable=True))
    op.create_index("uq_lane_account", "lane", ["run_id", "step", "account"], unique=True)
    op.drop_index("ix_lane_run_id", table_name="lane")


def downgrade() -> None:
    op.create_index("ix_lane_run_id", "lane", ["run_id"])
    op.drop_index("uq_lane_account", table_name="lane")
    with op.batch_alter_table("address") as batch:
        batch.drop_column("details")
        batch.drop_column("platform")
