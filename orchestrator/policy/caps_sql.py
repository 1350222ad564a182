"""What caps and back-off count, in SQL: for a batch at the mark, and as a set form for a whole audience.

Both are made of the same conditions. A message counts from its mark on as long as it left or may have left; whoever was
merged into a user counts with them. The SQL holds no value that came from outside: rules refuse such words.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, TextClause, text

from orchestrator.clock import from_micros, span_micros, to_micros
from orchestrator.ledger.ids import RUN_SHIFT, STEP_BITS
from orchestrator.ledger.in_doubt import in_doubt_sql
from orchestrator.ledger.lanes import ids_since, live_ids
from orchestrator.ledger.states import LEFT
from orchestrator.policy import predicates
from orchestrator.policy.caps import Backoff, CapRule, Caps, Record
from orchestrator.store.dialect import among, among_sql, from_sql, lock_rows_sql, one_of_sql

_LEFT = ", ".join(f"'{state}'" for state in sorted(LEFT))
APP_OPEN = "app_open"
_BY_HAND = ("message_opened", "link_clicked")
"""Answers only where a person made them: machines open mails and follow links too."""


def tags_text(tags: Collection[str]) -> str:
    """A campaign's tags as a lane has them."""
    return f",{','.join(sorted(tags))},"


# --- what counts -----------------------------------------------------------------------------------------------------


def _tagged(tag: str, lane: str) -> str:
    return f"{lane}.tags LIKE '%,{tag},%'"


def _covered(rule: CapRule, lane: str) -> str:
    """:meth:`CapRule.covers` of the messages of a lane."""
    parts = [f"{lane}.channel = '{rule.channel}'"] if rule.channel else []
    parts += [_tagged(rule.tag, lane)] if rule.tag else []
    return " AND ".join(parts) or "1 = 1"


def _spared(exempt: Collection[str]) -> str:
    return "".join(f" AND NOT {_tagged(tag, 'sent_lane')}" for tag in sorted(exempt))


def _counted(exempt: Collection[str], ledger: str = "", more: str = "") -> str:
    """``sent`` of ``sent_lane`` left, or may have (also what waits to be sent again), and is not of an exempt tag."""
    waits = f"sent.state IN ('planned', 'claimed') AND {in_doubt_sql('sent', ledger, more)}"
    return f"(sent.state IN ({_LEFT}) OR ({waits})){_spared(exempt)}"


def _within(rule: CapRule) -> str:
    """Rolling, and the span's far end is outside: what left exactly so long ago does not count."""
    return f"sent.sent_at > :now - {span_micros(rule.within)}"


def _of_person(user: str) -> str:
    return f"""sent.user_id IN (SELECT {user} UNION ALL
        SELECT alias.old_user_id FROM user_alias AS alias WHERE alias.user_id = {user})"""


def at_cap_sql(rule: CapRule, exempt: Collection[str], user: str, ledger: str = "") -> str:
    """The set form: whether the rule leaves a user no room at ``:now``. ``ledger``: the schema and a dot."""
    return f"""((SELECT count(*) FROM {ledger}message AS sent
        JOIN {ledger}lane AS sent_lane ON sent_lane.id = sent.lane_id
        WHERE {_of_person(user)} AND {_within(rule)} AND {_counted(exempt, ledger)} AND {_covered(rule, "sent_lane")})
        >= {rule.most})"""


@cache
def _sent_sql(dialect: str, rules: tuple[CapRule, ...], exempt: frozenset[str]) -> TextClause:
    """Rows of (user, when, 1 or 0 for each rule); ``:batch`` are messages that do not count, being asked about."""
    asked = among_sql(dialect, "users")
    hits = [f"({_within(rule)} AND {_covered(rule, 'sent_lane')})" for rule in rules]
    flags = ", ".join(f"CASE WHEN {hit} THEN 1 ELSE 0 END" for hit in hits)
    oldest = span_micros(max(rule.within for rule in rules))
    return text(f"""
        WITH who AS (SELECT users.id AS person, users.id AS user_id FROM users WHERE users.id IN {asked} UNION ALL
            SELECT alias.user_id, alias.old_user_id FROM user_alias AS alias WHERE alias.user_id IN {asked})
        SELECT who.person, sent.sent_at, {flags} FROM who
        JOIN message AS sent ON sent.user_id = who.user_id AND sent.sent_at > :now - {oldest}
             {from_sql(dialect, "sent.id")}
        JOIN lane AS sent_lane ON sent_lane.id = sent.lane_id
        WHERE {_counted(exempt, more=from_sql(dialect, "tried.message_id"))} AND ({" OR ".join(hits)})
          AND NOT sent.id {one_of_sql(dialect, "batch")}
        ORDER BY sent.sent_at DESC""")


# --- who has a prior claim -------------------------------------------------------------------------------------------


@cache
def _rivals_sql(dialect: str) -> TextClause:
    return text(f"""
    SELECT lane.id FROM run JOIN campaign ON campaign.name = run.campaign JOIN lane ON lane.run_id = run.id
    WHERE run.state IN ('planning', 'active') AND campaign.state = 'running' AND run.campaign <> :campaign
      AND lane.priority > :priority
      AND (EXISTS (SELECT 1 FROM message WHERE message.lane_id = lane.id AND message.state = 'planned'
                   AND message.due_at < :until {from_sql(dialect, "message.id")})
           OR EXISTS (SELECT 1 FROM message WHERE message.worker_id IS NOT NULL AND message.lane_id = lane.id
                      AND message.state = 'claimed' {from_sql(dialect, "message.id")}))""")


@cache
def _reserved_sql(dialect: str, rules: tuple[CapRule, ...], exempt: frozenset[str], horizon: timedelta) -> TextClause:
    """Rows of (user, when due, flags): messages of rival lanes that can still be sent, found by their very ids.

    A claim further off than the rule's span takes no slot from now: by then a message of now is out of the span.
    """
    reach = [span_micros(min(rule.within, horizon)) for rule in rules]
    hits = [
        f"(claim.due_at < :now + {far} AND {_covered(rule, 'rival')})" for rule, far in zip(rules, reach, strict=True)
    ]
    flags = ", ".join(f"CASE WHEN {hit} THEN 1 ELSE 0 END" for hit in hits)
    spared = "".join(f" AND NOT {_tagged(tag, 'rival')}" for tag in sorted(exempt))
    return text(f"""
        SELECT claim.user_id, claim.due_at, {flags} FROM lane AS rival
        JOIN users ON users.id IN {among_sql(dialect, "users")}
        JOIN message AS claim ON claim.lane_id = rival.id
             AND claim.id = rival.run_id * {1 << RUN_SHIFT} + users.id * {1 << STEP_BITS} + rival.step
             {from_sql(dialect, "claim.id")}
        WHERE rival.id IN {among_sql(dialect, "rivals")} AND claim.state IN ('planned', 'claimed')
          AND NOT claim.held_out AND claim.deadline > :now AND ({" OR ".join(hits)}){spared}
          AND NOT {in_doubt_sql("claim", more=from_sql(dialect, "tried.message_id"))}
          AND {predicates.consented("claim.user_id", "rival.channel", "rival.topic")}
          AND NOT {predicates.user_suppressed("claim.user_id", "rival.channel")}
        ORDER BY claim.due_at""")


# --- who has not answered --------------------------------------------------------------------------------------------


def _latest(user: str, name: str, more: str = "") -> str:
    return f"""(SELECT event.at FROM event WHERE event.user_id = {user} AND event.name = {name} {more}
        ORDER BY event.at DESC LIMIT 1)"""


_HUMAN = "AND coalesce(event.properties ->> 'confidence', 'human') = 'human'"


def _answered(user: str) -> str:
    """When the user last came back, or opened or clicked a message themselves; 0: never."""
    ways = [_latest(user, f"'{APP_OPEN}'"), _latest(user, ":goal")]
    ways += [_latest(user, f"'{name}'", _HUMAN) for name in _BY_HAND]
    return (
        f"(SELECT coalesce(max(way.at), 0) FROM ({' UNION ALL '.join(f'SELECT {way} AS at' for way in ways)}) AS way)"
    )


def _unanswered(backoff: Backoff, exempt: Collection[str], answered: str, user: str, ledger: str) -> str:
    """The user's newest messages after their last answer, no more than make a difference, as a subquery."""
    channels = ", ".join(f"'{channel}'" for channel in sorted(backoff.channels))
    return f"""(SELECT sent.sent_at FROM {ledger}message AS sent
        JOIN {ledger}lane AS sent_lane ON sent_lane.id = sent.lane_id
        WHERE {_of_person(user)} AND sent.sent_at > {answered} AND sent.state IN ({_LEFT}){_spared(exempt)}
          AND sent_lane.channel IN ({channels}) ORDER BY sent.sent_at DESC LIMIT {backoff.longest})"""


def _streak(backoff: Backoff, exempt: Collection[str], users: str, ledger: str = "") -> str:
    """Rows of (user_id, unanswered, last): ``users`` is SQL that gives ``user_id``."""
    newest = _unanswered(backoff, exempt, "who.answered", "who.user_id", ledger)
    return f"""
        SELECT who.user_id, (SELECT count(*) FROM {newest} AS newest) AS unanswered,
               (SELECT max(newest.sent_at) FROM {newest} AS newest) AS last
        FROM (SELECT asked.user_id, {_answered("asked.user_id")} AS answered FROM ({users}) AS asked) AS who"""


@cache
def _streak_sql(dialect: str, backoff: Backoff, exempt: frozenset[str]) -> TextClause:
    return text(
        _streak(
            backoff, exempt, f"SELECT users.id AS user_id FROM users WHERE users.id IN {among_sql(dialect, 'users')}"
        )
    )


def backed_off_sql(backoff: Backoff, exempt: Collection[str], users: str, ledger: str = "") -> str:
    """The set form: of the users whom the SQL ``users`` gives as ``user_id``, those the back-off holds at ``:now``."""
    gaps = " ".join(
        f"WHEN {backoff.after + n} THEN streak.last > :now - {span_micros(gap)}" for n, gap in enumerate(backoff.gaps)
    )
    held = f"CASE streak.unanswered {gaps} ELSE 1 = 1 END" if gaps else "1 = 1"
    return f"""SELECT streak.user_id FROM ({_streak(backoff, exempt, users, ledger)}) AS streak
        WHERE streak.unanswered >= {backoff.after} AND {held}"""


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose messages are asked about: higher priorities of other campaigns have a prior claim; ``goal``: an answer."""

    campaign: str
    priority: int
    goal: str


# --- a batch ---------------------------------------------------------------------------------------------------------


@cache
def _lock_sql(dialect: str) -> TextClause:
    return text(f"SELECT id FROM users WHERE id IN {among_sql(dialect, 'users')} ORDER BY id {lock_rows_sql(dialect)}")


def lock_users(connection: Connection, users: Sequence[int]) -> None:
    """Let nobody else mark messages to these users before this transaction has ended; in the order of their ids."""
    if lock_rows_sql(connection.dialect.name):
        connection.execute(_lock_sql(connection.dialect.name), {"users": among(users)}).all()


def read_records(  # one value each
    connection: Connection,
    caps: Caps,
    rules: tuple[CapRule, ...],
    backoff: Backoff | None,
    users: Sequence[int],
    batch: Sequence[int],
    sender: Sender,
    now: datetime,
) -> dict[int, Record]:
    """What these users have had and are to have, as far as these rules count it.

    ``batch``: the messages that are asked about; they count for nothing themselves.
    """
    records = {user: Record() for user in users}
    asked = {"users": among(users), "batch": among(batch), "now": to_micros(now)}
    counting = tuple(rule for rule in rules if rule.most)  # none at all needs no counting
    if counting:
        _read_sent(connection, caps, counting, asked, records)
        _read_reserved(connection, caps, counting, sender, asked, records)
    if backoff is not None:
        sql = _streak_sql(connection.dialect.name, backoff, caps.exempt)
        for row in connection.execute(sql, {"users": asked["users"], "goal": sender.goal}):
            records[row.user_id].unanswered = row.unanswered
            records[row.user_id].last = None if row.last is None else from_micros(row.last)
    return records


def _read_sent(
    connection: Connection,
    caps: Caps,
    rules: tuple[CapRule, ...],
    asked: Mapping[str, Any],
    records: Mapping[int, Record],
) -> None:
    sql = _sent_sql(connection.dialect.name, rules, caps.exempt)
    oldest = from_micros(asked["now"]) - max(rule.within for rule in rules)
    for person, at, *hits in connection.execute(sql, {**asked, **ids_since(connection, oldest)}):
        for rule, hit in zip(rules, hits, strict=True):
            if hit:
                records[person].sent.setdefault(rule, []).append(from_micros(at))


def _read_reserved(
    connection: Connection,
    caps: Caps,
    rules: tuple[CapRule, ...],
    sender: Sender,
    asked: Mapping[str, Any],
    records: Mapping[int, Record],
) -> None:
    until = asked["now"] + span_micros(caps.horizon)
    live = live_ids(connection)
    values = {"campaign": sender.campaign, "priority": sender.priority, "until": until, **live}
    rivals = list(connection.execute(_rivals_sql(connection.dialect.name), values).scalars())
    if not rivals:
        return
    sql = _reserved_sql(connection.dialect.name, rules, caps.exempt, caps.horizon)
    bound = {"users": asked["users"], "now": asked["now"], "rivals": among(rivals), **live}
    for person, at, *hits in connection.execute(sql, bound):
        for rule, hit in zip(rules, hits, strict=True):
            if hit:
                records[person].reserved.setdefault(rule, []).append(from_micros(at))
