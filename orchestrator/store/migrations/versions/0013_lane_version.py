"""lanes that keep the version of what had begun before their run took on another."""

import sqlalchemy as sa
from alembic import op

revision = "0013_lane_version"
down_revision = "0012_leader"
branch_labels = None
depends_on = None

_KEY = ["run_id", "step", "account"]
_TWIN = " AND ".join(f"twin.{name} = lane.{name}" for name in _KEY)
_LATER = f"SELECT lane.id FROM lane WHERE EXISTS (SELECT 1 FROM lane AS twin WHERE {_TWIN} AND twin.id < lane.id)"


def upgrade() -> None:
    op.add_column("lane", sa.Column("version", sa.Text(), nullable=False, server_default=""))
    op.drop_index("uq_lane_account", "lane")
    op.create_index("uq_lane_account", "lane", [*_KEY, "version"], unique=True)


def downgrade() -> None:
    first = f"SELECT min(twin.id) FROM lane JOIN lane AS twin ON {_TWIN} WHERE lane.id = message.lane_id"
    op.execute(f"UPDATE message SET lane_id = ({first}) WHERE lane_id IN ({_LATER})")
    op.execute(f"DELETE FROM lane WHERE id IN ({_LATER})")
    op.drop_index("uq_lane_account", "lane")
    op.drop_column("lane", "version")
    op.create_index("uq_lane_account", "lane", _KEY, unique=True)
