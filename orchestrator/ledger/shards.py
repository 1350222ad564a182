"""Shards: what is left to plan of a large run, cut into stretches of users that several planners take at once.

A planner has a shard in hand for one transaction, that of a chunk: it takes one that nobody has, plans the next users
of it, writes down how far it came, and lets go. So there are no leases and no holders: whoever dies lets go with their
connection, and the next takes the shard up where it was. A shard that is planned to its end is deleted; whoever
deletes the last one makes the run claimable in the same transaction.

Locks are taken in one order: shards, then the run. A chunk asks for its run last, so that a run which was stopped or
edited meanwhile keeps nothing of it, and nobody waits for a run longer than a commit takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from sqlalchemy import Connection, TextClause, delete, func, insert, select, text, update

from orchestrator.ledger.adopted import ADOPTING, PLANNED_AGAIN, lock_run
from orchestrator.ledger.ids import USER_BITS, UserId
from orchestrator.ledger.runs import Run, read_run, set_run_state
from orchestrator.ledger.states import RunState
from orchestrator.store.dialect import among, among_sql, skip_locked_sql
from orchestrator.store.tables import run, shard, users

WIDTH = 50_000
"""Ids of users to a shard; so it has at most as many users, however they are spread over the ids: two seconds' work."""
MOST = 1_024
"""A run is cut into this many shards at the most: they are wider then."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The users after ``through`` and up to ``high``, of a run that is being planned."""

    run: Run
    n: int
    through: UserId
    high: UserId


class RunTurnedError(Exception):
    """The run was stopped or edited while a chunk of it was planned: the chunk is to be rolled back."""


def cut(connection: Connection, item: Run, width: int = WIDTH) -> bool:
    """Cut what is left to plan of a run that the caller has locked; not of one that is small, or takes on a version.

    From here on a release that knows no shards plans the run again from where it was cut, and comes to the same.
    """
    last = connection.execute(select(func.max(users.c.id))).scalar() or 0
    left = last - item.planned_through
    if item.reason == ADOPTING or left <= 2 * width:
        return False
    step = max(width, -(-left // MOST))
    starts = range(item.planned_through, last, step)
    ends = [*starts[1:], 1 << USER_BITS]  # the last one has whoever comes while the run is planned, too
    rows = [
        {"run_id": item.id, "n": n, "through": low, "high": high, "version": item.version}
        for n, (low, high) in enumerate(zip(starts, ends, strict=True))
    ]
    connection.execute(insert(shard), rows)
    connection.execute(update(run).where(run.c.id == item.id).values(reason=PLANNED_AGAIN))
    return True


def in_shards(connection: Connection, item: Run) -> bool:
    """Whether a run is being planned in shards."""
    mine = select(shard.c.n).where(shard.c.run_id == item.id, shard.c.version == item.version)
    return connection.execute(mine.limit(1)).first() is not None


_OF_PLANNED = """EXISTS (SELECT 1 FROM run WHERE run.id = shard.run_id AND run.state = 'planning'
                         AND run.version = shard.version)"""


def take(connection: Connection, mine: Shard | None, only: int | None = None, but: Iterable[int] = ()) -> Shard | None:
    """A shard that no other planner has in hand, until the end of the transaction; ``mine`` rather than another.

    ``only``: of this run; ``but``: of none of these.
    """
    own = (0, 0) if mine is None else (mine.run.id, mine.n)
    values = {"run": own[0], "n": own[1], "only": only, "but": among(but)}
    found = connection.execute(_take_sql(connection.dialect.name), values).first()
    return None if found is None else Shard(read_run(connection, found.run_id), *found[1:])


@cache
def _take_sql(dialect: str) -> TextClause:
    return text(f"""
        SELECT run_id, n, through, high FROM shard
        WHERE {_OF_PLANNED} AND run_id = coalesce(:only, run_id) AND run_id NOT IN {among_sql(dialect, "but")}
        ORDER BY CASE WHEN run_id = :run AND n = :n THEN 0 ELSE 1 END, run_id, n LIMIT 1 {skip_locked_sql(dialect)}""")


_THROUGH = text("UPDATE shard SET through = :high WHERE run_id = :run AND n = :n")
_COUNTED = text("""
    UPDATE run SET audience = audience + :added WHERE id = :run AND state = 'planning' AND version = :version""")


def went_on(connection: Connection, item: Shard, high: int, added: int) -> None:
    """A shard is planned up to ``high``, which made the run ``added`` members larger.

    Raises:
        RunTurnedError: nobody wants the plan any more.
    """
    connection.execute(_THROUGH, {"run": item.run.id, "n": item.n, "high": high})
    values = {"run": item.run.id, "version": item.run.version, "added": added}
    if not connection.execute(_COUNTED, values, execution_options={"preserve_rowcount": True}).rowcount:
        raise RunTurnedError


def end(connection: Connection, item: Shard, now: datetime) -> bool:
    """A shard is planned to its end; whether it was the last, and the run is active from now on."""
    connection.execute(delete(shard).where(shard.c.run_id == item.run.id, shard.c.n == item.n))
    found = lock_run(connection, item.run.id)  # of two who end the last two, the second finds none left
    if (found.state, found.version) != (RunState.PLANNING, item.run.version) or in_shards(connection, found):
        return False
    return set_run_state(connection, found.id, RunState.ACTIVE, now)


def drop(connection: Connection, run_id: int) -> None:
    """Take a run from those who plan it in shards, once each has ended its chunk; before the run is locked."""
    connection.execute(delete(shard).where(shard.c.run_id == run_id))


_DROP_OVER = text(f"DELETE FROM shard WHERE NOT {_OF_PLANNED}")


def drop_over(connection: Connection) -> None:
    """Drop the shards of runs that are not planned any more, or under another version."""
    connection.execute(_DROP_OVER)
