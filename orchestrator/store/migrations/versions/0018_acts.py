"""acts: the lines of history that are about no single message, newest first.

PostgreSQL reads through the history once, and who writes to it waits meanwhile: with hundreds of millions of lines
that is minutes. Whoever made the index before (docs/howto/operate.md: ``CONCURRENTLY``) waits for nothing; one that
was begun so and not finished is made anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018_acts"
down_revision = "0017_erased"
branch_labels = None
depends_on = None

_NAME = "ix_transition_act"
_UNFINISHED = f"SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('{_NAME}') AND NOT indisvalid"


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql" and connection.execute(sa.text(_UNFINISHED)).first() is not None:
        op.drop_index(_NAME, "transition")
    acts = sa.text("message_id IS NULL")
    where = {"sqlite_where": acts, "postgresql_where": acts}
    op.create_index(_NAME, "transition", ["at", "id"], if_not_exists=True, **where)


def downgrade() -> None:
    op.drop_index(_NAME, "transition")
