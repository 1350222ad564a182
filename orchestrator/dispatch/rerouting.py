"""Messages that change their account: their address has changed, or the account they waited for is stopped.

Both are the planner's own choice of account asked again, in SQL. What is planned alone moves: nothing that a worker
holds, nothing that has left. When no account is left that takes a message, it stays where it is and waits.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Connection, Row, TextClause, text

from orchestrator.campaign.version import read_bundle
from orchestrator.clock import Clock, to_micros
from orchestrator.errors import OrchestratorError
from orchestrator.ledger.ids import RUN_SHIFT, LaneId, ids_of_run
from orchestrator.ledger.lanes import VERSION, LaneTerms, ensure_lanes, terms_of_lane
from orchestrator.ledger.restored import REASON as RESTORED
from orchestrator.ledger.states import State
from orchestrator.ledger.stops import stopped_accounts
from orchestrator.ledger.transition import Transition, record
from orchestrator.policy.carriers import ANY, Carrier, Carriers, Routing, choice_sql, parted, without
from orchestrator.store import Store
from orchestrator.store.dialect import among, of_run_sql, one_of_sql, within_sql

log = logging.getLogger(__name__)

CHUNK = 300
MOVED = "next_account"


@cache
def _move_sql(dialect: str, carriers: Carriers, which: str) -> TextClause:
    """Puts messages into the lanes ``:lane0``, … of the carriers that fit; which they are now, and their old lane."""
    lanes = {one.name: f"CAST(:lane{n} AS BIGINT)" for n, one in enumerate(carriers)}
    lane = choice_sql(dialect, carriers, lanes, "a", "member.country", "users.external_id")
    people = "JOIN users ON users.id = m.user_id" if parted(carriers) else ""
    return text(f"""
        UPDATE message SET lane_id = moved.lane FROM (
            SELECT m.id, m.lane_id AS before, {lane} AS lane FROM message m
            JOIN member ON member.run_id = m.run_id AND member.user_id = m.user_id
            JOIN address a ON a.id = m.address_id {people}
            WHERE {which} AND m.state = 'planned' {of_run_sql(dialect, "member.run_id")}) AS moved
        WHERE message.id = moved.id {within_sql(dialect, "message.id")}
          AND message.state = 'planned' AND moved.lane <> moved.before
        RETURNING message.id, message.lane_id""")


def _move(
    connection: Connection, carriers: Carriers, lanes: dict[str, LaneId], which: str, values: dict[str, object]
) -> Sequence[Row[tuple[int, int]]]:
    there = without(carriers, {one.name for one in carriers} - lanes.keys())
    if not there:
        return []
    known = {f"lane{n}": lanes[one.name] for n, one in enumerate(there)}
    return connection.execute(_move_sql(connection.dialect.name, there, which), {**known, **values}).all()


_STEPS = f"""
    SELECT m.run_id, m.step, min(m.lane_id) AS lane_id, lane.version AS earlier, {VERSION} AS version
    FROM message m JOIN run ON run.id = m.run_id JOIN lane ON lane.id = m.lane_id
    WHERE m.id {{}} GROUP BY m.run_id, m.step, lane.version, run.version"""
_OF_VERSION = "m.lane_id IN (SELECT lane.id FROM lane WHERE lane.version = :earlier)"


def follow_addresses(connection: Connection, routing: Routing, ids: Sequence[int]) -> None:
    """Messages that have got another address go into the lane of an account that takes it; in the caller's transaction.

    Nothing to do where every channel has one account, since the new address was chosen among those that it takes.
    """
    if not ids or not _several(routing):
        return
    sql = text(_STEPS.format(one_of_sql(connection.dialect.name, "ids")))
    for row in connection.execute(sql, {"ids": among(ids)}).all():
        carriers = step_carriers(connection, routing, row.version, row.step)
        if len(carriers) > 1:
            lanes = ensure_lanes(connection, terms_of_lane(connection, row.lane_id), [one.name for one in carriers])
            some = one_of_sql(connection.dialect.name, "ids")
            which = f"m.id {some} AND m.run_id = :run AND m.step = :step AND {_OF_VERSION}"
            values = {"ids": among(ids), "run": row.run_id, "step": row.step, "earlier": row.earlier}
            values |= ids_of_run(row.run_id)
            _move(connection, carriers, lanes, which, values)


def _several(routing: Routing) -> bool:
    channels = [one.channel for one in routing.carriers]
    return len(set(channels)) < len(channels)


_OWN_VERSION = text(f"""
    SELECT message.step, {VERSION} AS version FROM message JOIN lane ON lane.id = message.lane_id
    JOIN run ON run.id = message.run_id WHERE message.id = :message""")


def carriers_of(connection: Connection, routing: Routing, message_id: int) -> Carriers:
    """The accounts that a message may go through; none when nothing is known of accounts."""
    if not routing.carriers:
        return ()
    row = connection.execute(_OWN_VERSION, {"message": message_id}).one()
    return step_carriers(connection, routing, row.version, row.step)


def step_carriers(connection: Connection, routing: Routing, version: str, step: int) -> Carriers:
    """The accounts that a step of a launched version may use."""
    leg = read_bundle(connection, version).campaign.steps[step - 1]
    return routing.found(leg.channel, leg.account)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A lane whose account is stopped, with messages that another may take."""

    id: int
    terms: LaneTerms
    account: str
    left: Carriers


_LANES = text(f"""
    SELECT lane.id, lane.run_id, lane.step, lane.channel, lane.rate, lane.priority, lane.topic, lane.tags,
           lane.campaign_rate, lane.account, lane.version AS earlier, {VERSION} AS version
    FROM lane JOIN run ON run.id = lane.run_id JOIN stop ON stop.account = lane.account
    WHERE run.state = 'active' AND (stop.until IS NULL OR stop.until > :machine)
      AND EXISTS (SELECT 1 FROM message WHERE message.lane_id = lane.id AND message.state = 'planned')
    ORDER BY lane.id""")


def leave_stopped(store: Store, clock: Clock, routing: Routing) -> int:
    """Move what waits for a stopped account to the next one that takes it; how many messages.

    Not while an older database has been restored: what it says is owed may have left already.
    """
    with store.read() as connection:
        stopped = stopped_accounts(connection)
        if not stopped or RESTORED in stopped.values():
            return 0
        lanes = list(_waiting(connection, clock, routing, stopped))
    return sum(_empty(store, clock, lane) for lane in lanes)


def _waiting(connection: Connection, clock: Clock, routing: Routing, stopped: Iterable[str]) -> Iterable[_Waiting]:
    rows = connection.execute(_LANES, {"machine": to_micros(clock.machine())}).all()
    for row in rows:
        try:
            carriers = step_carriers(connection, routing, row.version, row.step)
        except OrchestratorError:  # this release cannot read the version: the worker says so
            continue
        ill = next((one for one in carriers if one.name == row.account), None)
        left = tuple(one for one in without(carriers, stopped) if ill is None or _overlap(one, ill))
        if left:
            known = (row.run_id, row.step, row.channel, row.rate, row.priority, row.topic, row.tags)
            terms = LaneTerms(*known, row.campaign_rate, row.earlier)
            yield _Waiting(row.id, terms, row.account, left)


def _overlap(one: Carrier, other: Carrier) -> bool:
    """Whether there could be an address that both take."""
    kinds = ANY in (one.kinds, other.kinds) or one.kinds & other.kinds
    countries = not (one.countries and other.countries) or one.countries & other.countries
    platforms = not (one.platforms and other.platforms) or one.platforms & other.platforms
    return bool(kinds and countries and platforms)


# "+ 0" keeps both databases from the index by lane, whose order is not that of the ids in which the chunks follow
_CHUNK = text("""
    SELECT max(id) FROM (SELECT id FROM message WHERE id > :low AND id < :last AND lane_id + 0 = :lane
                         AND state = 'planned' ORDER BY id LIMIT :n) AS chunk""")
_BETWEEN = "m.id > :low AND m.id <= :high AND m.lane_id + 0 = :lane"


def _empty(store: Store, clock: Clock, lane: _Waiting) -> int:
    low, last, total = lane.terms.run_id << RUN_SHIFT, (lane.terms.run_id + 1) << RUN_SHIFT, 0
    while True:
        with store.read() as connection:
            asked = {"low": low, "last": last, "lane": lane.id, "n": CHUNK}
            high = connection.execute(_CHUNK, asked).scalar()
        if high is None:
            break
        with store.write() as connection:
            total += _leave(connection, clock, lane, low, high)
        low = high
    if total:
        log.warning("next_account", extra={"account": lane.account, "run": lane.terms.run_id, "messages": total})
    return total


def _leave(connection: Connection, clock: Clock, lane: _Waiting, low: int, high: int) -> int:
    """One chunk, with a line of history for each message."""
    lanes = ensure_lanes(connection, lane.terms, [one.name for one in lane.left])
    run = lane.terms.run_id
    values: dict[str, object] = {"low": low, "high": high, "lane": lane.id, "run": run, **ids_of_run(run)}
    moved = _move(connection, lane.left, lanes, _BETWEEN, values)
    names, now = {number: name for name, number in lanes.items()}, clock.now()
    record(
        connection,
        [
            Transition(
                now,
                State.PLANNED,
                "sweeper",
                State.PLANNED,
                f"{MOVED}:{lane.account} → {names[LaneId(row.lane_id)]}",
                message_id=row.id,
            )
            for row in moved
        ],
    )
    return len(moved)
