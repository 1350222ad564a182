"""Forgetting what is old: the members and messages of runs long over, and old events.

A run is forgotten when it has been over for long enough and nothing of it is waiting, on its way, or unknown. On
PostgreSQL a block goes as a whole, by dropping its tables, once all its runs may go; on SQLite, and of what lies in no
block, rows go a few at a time. The run stays, with the size of its audience, and says when it was forgotten.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from orchestrator import metrics
from orchestrator.clock import span_micros, to_micros
from orchestrator.ledger.ids import ids_of_run
from orchestrator.ledger.runs import pending
from orchestrator.store import Store
from orchestrator.store.blocks import Block, blocks, drop_block, ours
from orchestrator.store.remember import recall, remember

log = logging.getLogger(__name__)

CHUNK = 500
"""Rows of one transaction."""
EVENTS_CHUNK = 2_000
"""Events looked at in one."""
AT_A_TIME = 200
"""Transactions of one round, so that the other work of its thread goes on."""


@dataclass(slots=True)
class _Round:
    """What is left of a round."""

    chunks: int = field(default_factory=lambda: AT_A_TIME)

    def spend(self) -> bool:
        self.chunks -= 1
        return self.chunks >= 0


def forget_messages(store: Store, now: datetime, keep: timedelta) -> int:
    """Forget runs that were over before ``now - keep``, as many as fit into a round; how many."""
    cutoff, left = to_micros(now - keep), _Round()
    with store.read() as connection:
        known = blocks(connection)
        newest = connection.execute(_NEWEST).scalar_one()
        mine = ours(connection)  # else a block would lose what goes row by row, and keep what goes with its tables
        old = [one for one in known if mine and one.past <= newest and _may_go(connection, one, cutoff)]
        over = connection.execute(_OVER, {"cutoff": cutoff}).scalars().all()
    alone = [run for run in over if not any(one.first <= run < one.past for one in known)]
    forgotten = sum(_forget_block(store, one, now, cutoff, left) for one in old)
    return forgotten + sum(_forget_run(store, run, now, left) for run in alone)


def _may_go(connection: Connection, block: Block, cutoff: int) -> bool:
    return connection.execute(_NEEDED, {"cutoff": cutoff, **_ends(block)}).first() is None


def _ends(block: Block) -> dict[str, int]:
    """The block in runs, and in ids of messages."""
    ids = {"first_id": ids_of_run(block.first)["first_id"], "past_id": ids_of_run(block.past)["first_id"]}
    return {"first": block.first, "past": block.past, **ids}


_NEWEST = text("SELECT coalesce(max(id), 0) FROM run")
_STILL = "SELECT 1 FROM message WHERE id >= :first_id AND id < :past_id AND {}"
_WAITING = ("state = 'planned'", "worker_id IS NOT NULL", "state = 'unknown'")  # each has its index
_NEEDED = text(f"""
    SELECT 1 FROM run WHERE id >= :first AND id < :past
      AND (finished_at IS NULL OR finished_at >= :cutoff OR closes_at >= :cutoff)
    UNION ALL {" UNION ALL ".join(_STILL.format(one) for one in _WAITING)} LIMIT 1""")
_OVER = text("""
    SELECT id FROM run WHERE closes_at < :cutoff AND finished_at < :cutoff
      AND (forgotten_at IS NULL OR EXISTS (SELECT 1 FROM member WHERE member.run_id = run.id))
      AND NOT EXISTS (SELECT 1 FROM message WHERE message.run_id = run.id AND message.state = 'unknown')
    ORDER BY id""")


# --- what goes: rows in tables of their own, then rows in tables that hang on them ------------------------------------

_IDS = "message_id >= :first_id AND message_id < :past_id"
_MEMBERS = """DELETE FROM {0} WHERE (run_id, user_id) IN (
    SELECT run_id, user_id FROM {0} WHERE run_id >= :first AND run_id < :past LIMIT :n)"""
_BESIDE = (
    _MEMBERS.format("enrolled"),
    f"DELETE FROM receipt WHERE id IN (SELECT id FROM receipt WHERE {_IDS} LIMIT :n)",
    f"DELETE FROM transition WHERE id IN (SELECT id FROM transition WHERE {_IDS} LIMIT :n)",
)
_OWN = (
    f"DELETE FROM attempt WHERE message_id IN (SELECT message_id FROM attempt WHERE {_IDS} LIMIT :n)",
    "DELETE FROM message WHERE id IN (SELECT id FROM message WHERE id >= :first_id AND id < :past_id LIMIT :n)",
    _MEMBERS.format("member"),
)
_FORGOTTEN = text("UPDATE run SET forgotten_at = :now WHERE id >= :first AND id < :past AND forgotten_at IS NULL")


def _forget_block(store: Store, block: Block, now: datetime, cutoff: int, left: _Round) -> int:
    """By dropping its tables; 0 when somebody else is at them just now, or the round is over."""
    if not _delete(store, _BESIDE, _ends(block), left):
        return 0
    try:
        with store.write() as connection:
            if not _may_go(connection, block, cutoff):
                return 0
            drop_block(connection, block)
            done = connection.execute(_FORGOTTEN, {"now": to_micros(now), **_ends(block)}).rowcount
    except OperationalError as error:
        log.warning("block_not_dropped", extra={"first": block.first, "error": type(error.orig).__name__})
        return 0
    return _told(done, block)


def _forget_run(store: Store, run: int, now: datetime, left: _Round) -> int:
    """Row by row, members last; 0 when the round is over before they all are gone: the next goes on.

    It is said to be forgotten before the first row goes: nobody is to count what is left of it.
    """
    alone = Block(run, run + 1)
    with store.read() as connection:
        if pending(connection, run):
            return 0
    with store.write() as connection:
        connection.execute(_FORGOTTEN, {"now": to_micros(now), **_ends(alone)})
    return _told(1, alone) if _delete(store, (*_BESIDE, *_OWN), _ends(alone), left) else 0


def _told(runs: int, block: Block) -> int:
    metrics.forgotten.labels("run").inc(runs)
    log.info("runs_forgotten", extra={"first": block.first, "runs": runs})
    return runs


def _delete(store: Store, statements: Iterable[str], ends: Mapping[str, int], left: _Round) -> bool:
    """Delete in short transactions; whether all is gone."""
    for sql in statements:
        done = CHUNK
        while done == CHUNK:
            if not left.spend():
                return False
            with store.write() as connection:
                done = connection.execute(text(sql), {"n": CHUNK, **ends}).rowcount
    return True


# --- events -----------------------------------------------------------------------------------------------------------

_CURSOR, _DAY = "events_forgotten_through", timedelta(days=1)
_NEXT = text("SELECT min(id) FROM event WHERE id > :low")
# The newest stays: SQLite gives the number after the highest there is, and who has read so far would miss who gets it.
_OLD_EVENTS = text("""
    DELETE FROM event WHERE id >= :low AND id < :high AND at < :cutoff AND id < (SELECT max(id) FROM event)""")


def forget_events(store: Store, now: datetime, keep: timedelta) -> int:
    """Delete events that happened before ``now - keep``: all are looked through once a day, a round at a time.

    All but the newest. By their ids: an index by time would cost every event that comes in more than this costs.
    """
    with store.read() as connection:
        said = recall(connection, _CURSOR) or "0:0"
    low, begun = map(int, said.split(":"))
    if low < 0:  # the last pass is over
        if to_micros(now) - begun < span_micros(_DAY):
            return 0
        low = 0
    begun = begun if low else to_micros(now)
    gone, left = 0, _Round()
    while low >= 0 and left.spend():
        deleted, low = _events_chunk(store, low, begun, to_micros(now - keep))
        gone += deleted
    metrics.forgotten.labels("event").inc(gone)
    return gone


def _events_chunk(store: Store, low: int, begun: int, cutoff: int) -> tuple[int, int]:
    """How many were deleted, and after which id to go on; -1: nowhere."""
    with store.write() as connection:
        first = connection.execute(_NEXT, {"low": low}).scalar()
        through = -1 if first is None else first + EVENTS_CHUNK - 1
        gone = 0
        if first is not None:
            ends = {"low": first, "high": first + EVENTS_CHUNK, "cutoff": cutoff}
            gone = connection.execute(_OLD_EVENTS, ends).rowcount
        remember(connection, _CURSOR, f"{through}:{begun}")
    return gone, through
