"""Blocks: on PostgreSQL members, messages and attempts lie in partitions of whole runs (ADR 0032).

A block is ``BLOCK`` runs in a row, with one partition of each table: ``message_r64`` has the messages of the runs 64 to
127. Ids embed their run, so a statement that names ids, a range of ids, or a run, opens that block alone; and what is
old goes by dropping tables. Blocks are made ahead of the runs. What comes before its block is there lies in
``message_rest``, and stays there. SQLite has plain tables, and nothing of this.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from orchestrator.store.dialect import one_at_a_time_sql
from orchestrator.store.engine import Store

log = logging.getLogger(__name__)

RUN_SHIFT = 40
"""A message's id, and so an attempt's message, begins with its run: above these bits."""
BLOCK = 64
"""Runs to a block: a week or so of ten daily campaigns. A look-up by user alone opens every block that its statement
does not rule out, so blocks are not smaller; what is old goes a block at a time, so they are not larger."""
AHEAD = 2
"""So many blocks wait for the runs to come."""
LOCK_MS, DROP_MS = 200, 200
"""A block that cannot be had, or dropped, in this time is left for later: whoever waits for the tables, or for what has
no block, keeps everybody waiting who comes after. Below the server's ``deadlock_timeout``: it ends no one for us."""


@dataclass(frozen=True, slots=True)
class Parted:
    """A table that is cut into blocks by ``key``; the run is what stands above ``shift`` bits of it."""

    name: str
    key: str
    shift: int

    def partition(self, block: Block) -> str:
        """What its partition of a block is called."""
        return f"{self.name}_r{block.first}"

    @property
    def rest(self) -> str:
        """The partition for what has no block."""
        return f"{self.name}_rest"


PARTED = (Parted("member", "run_id", 0), Parted("message", "id", RUN_SHIFT), Parted("attempt", "message_id", RUN_SHIFT))
_MESSAGE = PARTED[1]


@dataclass(frozen=True, slots=True, order=True)
class Block:
    """The runs from ``first`` up to, not including, ``past``: what was there before there were blocks is one too."""

    first: int
    past: int


def blocks(connection: Connection) -> list[Block]:
    """The blocks there are, in order; none on SQLite."""
    if connection.dialect.name != "postgresql":
        return []
    rows = connection.execute(_PARTITIONS)
    return sorted(Block(int(row.name.rpartition("_r")[2]), int(_PAST.findall(row.bound)[0])) for row in rows)


_PARTITIONS = text("""
    SELECT child.relname AS name, pg_get_expr(child.relpartbound, child.oid) AS bound
    FROM pg_inherits JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
    WHERE pg_inherits.inhparent = to_regclass('member') AND child.relname <> 'member_rest'""")
_PAST = re.compile(r"TO \('(\d+)'\)")
_NEWEST = text("""
    SELECT greatest((SELECT max(id) FROM run),
                    pg_sequence_last_value(to_regclass(pg_get_serial_sequence('run', 'id'))), 0)""")


def missing_blocks(connection: Connection) -> list[Block]:
    """The blocks to make now: of the newest run, and ``AHEAD`` more."""
    if connection.dialect.name != "postgresql":
        return []
    covered = max((one.past for one in blocks(connection)), default=0)
    now = connection.execute(_NEWEST).scalar_one() // BLOCK * BLOCK
    wanted = (Block(first, first + BLOCK) for first in range(now, now + (AHEAD + 1) * BLOCK, BLOCK))
    return [one for one in wanted if one.first >= covered and not _begun(connection, one)]


def _begun(connection: Connection, block: Block) -> bool:
    """Whether something of a block that is not there came before it: it stays where it is, and its fellows join it."""
    return any(connection.execute(text(_BEGUN.format(one.rest, _within(one, block)))).scalar_one() for one in PARTED)


_BEGUN = "SELECT EXISTS (SELECT 1 FROM {} WHERE {})"


def _within(one: Parted, block: Block) -> str:
    return f"{one.key} >= {block.first << one.shift} AND {one.key} < {block.past << one.shift}"


def ours(connection: Connection) -> bool:
    """Whether this role may make and drop blocks: only who owns a table may, or is a member of who does."""
    return connection.dialect.name != "postgresql" or bool(connection.execute(_OURS).scalar_one())


_OURS = text(f"""
    SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), FALSE)
           AND coalesce(bool_and(pg_has_role(relowner, 'USAGE')), FALSE)
    FROM pg_class WHERE oid IN ({", ".join(f"to_regclass('{one.name}')" for one in PARTED)})""")
NOT_OURS = "the tables belong to another role: blocks are neither made ahead of the runs nor dropped with what is old"
OWN_THEM = "as their owner: GRANT owner TO role, and CREATE on the schema; or let the daemon log in as the owner"


def keep_blocks(store: Store) -> list[Block]:
    """Make what is missing; which blocks that were. Call it now and then, ahead of the runs.

    None by a role that may not (:func:`ours`). A table is made by itself, and joins the others while they are in use. A
    long report over all of them may keep it from joining: then it is left for the next time, and others have waited for
    ``LOCK_MS`` at the most.
    """
    with store.read() as connection:
        if not missing_blocks(connection) or not ours(connection):
            return []
    try:
        with store.write() as connection:
            return _make_missing(connection)
    except OperationalError as error:
        log.warning("blocks_not_made", extra={"error": type(error.orig).__name__})
        return []


def _make_missing(connection: Connection) -> list[Block]:
    connection.exec_driver_sql(one_at_a_time_sql(connection.dialect.name))
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_MS}")
    missing = missing_blocks(connection)  # another may have made them meanwhile
    for block in missing:
        for one in PARTED:
            _make(connection, one, block)
    return missing


def _make(connection: Connection, one: Parted, block: Block) -> None:
    """``PARTITION OF`` would keep everybody from the whole table; a twin that is attached keeps nobody.

    A unique key over all partitions would have to have the id in it; but a partition has whole runs, and a run's steps
    and addresses are unique in it. The check lets a statement that names the run alone open no other block.
    """
    name = one.partition(block)
    connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE {one.name} INCLUDING ALL)")
    if one is _MESSAGE:
        connection.exec_driver_sql(f"CREATE UNIQUE INDEX uq_{name}_address ON {name} (run_id, step, address_id)")
        runs = f"run_id >= {block.first} AND run_id < {block.past}"
        connection.exec_driver_sql(f"ALTER TABLE {name} ADD CONSTRAINT {name}_runs CHECK ({runs})")
    bounds = f"FROM ({block.first << one.shift}) TO ({block.past << one.shift})"
    connection.exec_driver_sql(f"ALTER TABLE {one.name} ATTACH PARTITION {name} FOR VALUES {bounds}")


def drop_block(connection: Connection, block: Block) -> None:
    """Drop its tables. The caller knows that nobody needs them any more.

    Raises:
        OperationalError: somebody reads the tables for longer than ``DROP_MS``: try again later.
    """
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {DROP_MS}")
    for one in reversed(PARTED):
        connection.exec_driver_sql(f"DROP TABLE {one.partition(block)}")
