"""topic and tags of a lane: what frequency caps count by.

Lanes that are there get their campaign's topic, which is the tag of a campaign without tags.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008_lane_tags"
down_revision = "0007_inbox"  # stays: best time goes on top of 0009_rates
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("lane", sa.Column("topic", sa.Text(), nullable=False, server_default=""))
    op.add_column("lane", sa.Column("tags", sa.Text(), nullable=False, server_default=""))
    sqlite = op.get_bind().dialect.name == "sqlite"
    topic = "json_extract(version.body, '$.definition.topic')" if sqlite else "version.body::json #>> '{definition,topic}'"
    op.execute(f"""
        UPDATE lane SET topic = coalesce((SELECT {topic} FROM version JOIN run ON run.version = version.hash
                                          WHERE run.id = lane.run_id), '')""")
    op.execute("UPDATE lane SET tags = ',' || topic || ',' WHERE topic <> ''")


def downgrade() -> None:
    op.drop_column("lane", "tags")
    op.drop_column("lane", "topic")
