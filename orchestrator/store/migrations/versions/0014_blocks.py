"""runs that are forgotten; on PostgreSQL, members, messages and attempts in partitions of whole runs.

No row is copied: the tables as they are become the partition of all runs so far. To prove that they may, the server
reads through each of them once. Constants are written out: what this did stays what it did.
"""

import sqlalchemy as sa
from alembic import op

import orchestrator.store.tables

revision = "0014_blocks"
down_revision = "0013_lane_version"
branch_labels = None
depends_on = None

_BLOCK = 64
_TABLES = {"member": ("run_id", 0), "message": ("id", 40), "attempt": ("message_id", 40)}
_NEWEST = """SELECT greatest((SELECT max(id) FROM run), (SELECT max(id) >> 40 FROM message),
    pg_sequence_last_value(to_regclass(pg_get_serial_sequence('run', 'id'))), 0)"""
_INDEXES = """SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = '{}'"""


def upgrade() -> None:
    op.add_column("run", sa.Column("forgotten_at", orchestrator.store.tables.Instant(), nullable=True))
    op.create_index("ix_run_closes_at", "run", ["closes_at"])
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    op.execute("LOCK TABLE run, message, member, attempt IN ACCESS EXCLUSIVE MODE")
    bound = (connection.execute(sa.text(_NEWEST)).scalar_one() // _BLOCK + 1) * _BLOCK
    for table, (key, shift) in _TABLES.items():
        first, rest = f"{table}_r0", f"{table}_rest"
        _step_aside(connection, table, first)
        checks = [f"{key} < {bound << shift}"] + (["run_id >= 0", f"run_id < {bound}"] if table == "message" else [])
        op.execute(f"ALTER TABLE {first} ADD CONSTRAINT {first}_runs CHECK ({' AND '.join(checks)})")
        op.execute(f"CREATE TABLE {table} (LIKE {first} INCLUDING DEFAULTS) PARTITION BY RANGE ({key})")
        _index(connection, table, first)
        op.execute(f"ALTER TABLE {table} ATTACH PARTITION {first} FOR VALUES FROM (MINVALUE) TO ({bound << shift})")
        op.execute(f"CREATE TABLE {rest} PARTITION OF {table} DEFAULT")
    op.execute("CREATE UNIQUE INDEX uq_message_rest_address ON message_rest (run_id, step, address_id)")


def _step_aside(connection: sa.Connection, table: str, first: str) -> None:
    """The table and its indexes give up their names: ``ix_message_due`` is ``ix_message_r0_due`` from now on."""
    op.execute(f"ALTER TABLE {table} RENAME TO {first}")
    for name in connection.execute(sa.text(_INDEXES.format(first))).scalars().all():
        if (aside := name.replace(table, first, 1)) != name:  # an operator's own index may be called anything
            op.execute(f'ALTER INDEX "{name}" RENAME TO "{aside}"')


def _index(connection: sa.Connection, table: str, first: str) -> None:
    """The same indexes on the whole: those that are there become theirs. What is unique by run stays a partition's."""
    query = f"SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema() AND tablename = '{first}'"
    for made in connection.execute(sa.text(query)).scalars().all():
        if "_pkey" in made:
            continue
        if "UNIQUE" not in made and first in made.partition(" ON ")[0]:
            before, _, after = made.partition(" ON ")
            of_table = after.partition(" USING ")[2]
            op.execute(f"{before.replace(first, table, 1)} ON {table} USING {of_table}")
    keys = {"member": "run_id, user_id", "message": "id", "attempt": "message_id, n"}[table]
    op.execute(f"ALTER TABLE {table} ADD PRIMARY KEY ({keys})")


def downgrade() -> None:
    op.drop_index("ix_run_closes_at", "run")
    op.drop_column("run", "forgotten_at")
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in _TABLES:
        op.execute(f"CREATE TABLE {table}_whole (LIKE {table} INCLUDING ALL)")
        op.execute(f"INSERT INTO {table}_whole SELECT * FROM {table}")
        op.execute(f"DROP TABLE {table}")
        op.execute(f"ALTER TABLE {table}_whole RENAME TO {table}")
    _names_again(op.get_bind())
    op.create_index("uq_message_address", "message", ["run_id", "step", "address_id"], unique=True)


def _names_again(connection: sa.Connection) -> None:
    """A copy's indexes are named by the server: as before."""
    for table in _TABLES:
        op.execute(f"ALTER INDEX {table}_whole_pkey RENAME TO {table}_pkey")
    named = {"(lane_id, due_at)": "due", "(worker_id)": "held", "(user_id, sent_at)": "sent", "(run_id)": "unknown"}
    query = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() AND tablename = 'message'"
    for name, made in connection.execute(sa.text(query)).all():
        for columns, short in named.items():
            if columns in made:
                op.execute(f"ALTER INDEX {name} RENAME TO ix_message_{short}")
