"""Messages counted: by step and channel, and what came back of each channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, Subquery, and_, case, func, select, type_coerce

from orchestrator.report.members import flag, is_sent, reached, runs_of
from orchestrator.report.refusals import refused
from orchestrator.report.touches import CLICKED, KINDS, OPENED, most_human
from orchestrator.report.values import ChannelCount, Launched, Sorted, StepCount
from orchestrator.store.tables import lane, member, message

STAGES = ("sent", "accepted", "delivered", "opened")
_BACK = ("reopened", "converted")


def letters(launched: Launched) -> Subquery:
    """One row per message: how far it came (1 or 0 each), and the confidence of its opens and clicks."""
    return (
        select(
            *(message.c[name] for name in ("run_id", "user_id", "step", "state", "held_out")),
            func.coalesce(lane.c.channel, "").label("channel"),
            type_coerce(message.c.sent_at, BigInteger).label("sent_at"),
            *(flag(condition).label(name) for name, condition in reached().items()),
            case((is_sent(), most_human(OPENED))).label("opening"),
            case((is_sent(), most_human(CLICKED))).label("clicking"),
        )
        .select_from(message.outerjoin(lane, lane.c.id == message.c.lane_id))
        .where(message.c.run_id.in_(runs_of(launched)))
        .subquery("letter")
    )


def _total(column: Any, name: str) -> Any:
    return func.coalesce(func.sum(column), 0).label(name)


def _sorted(letter: Subquery) -> list[Any]:
    return [
        _total(flag(letter.c[column] == place), f"{column}_{kind}")
        for column in ("opening", "clicking")
        for place, kind in enumerate(KINDS)
    ]


def _kinds(rows: Sequence[Row[Any]], column: str) -> Sorted:
    return Sorted(*(int(sum(getattr(row, f"{column}_{kind}") for row in rows)) for kind in KINDS))


def steps(connection: Connection, launched: Launched) -> tuple[StepCount, ...]:
    """Messages by step and channel."""
    letter = letters(launched)
    key = (letter.c.step, letter.c.channel, letter.c.state)
    counts = (func.count().label("messages"), *(_total(letter.c[name], name) for name in STAGES))
    query = select(*key, *counts, *_sorted(letter)).group_by(*key).order_by(*key)
    grouped: dict[tuple[int, str], list[Row[Any]]] = {}
    for row in connection.execute(query):
        grouped.setdefault((row.step, row.channel), []).append(row)
    return tuple(_step(step, channel, rows) for (step, channel), rows in grouped.items())


def _step(step: int, channel: str, rows: Sequence[Row[Any]]) -> StepCount:
    totals = {name: int(sum(getattr(row, name) for row in rows)) for name in ("messages", *STAGES)}
    states = {row.state: row.messages for row in rows}
    opens, clicks = _kinds(rows, "opening"), _kinds(rows, "clicking")
    return StepCount(step, channel, **totals, states=states, opens=opens, clicks=clicks)


def returned(connection: Connection, launched: Launched) -> dict[str, int]:
    """Messages accepted that had left before their member reopened, and before they converted."""
    letter = letters(launched)
    mine = and_(member.c.run_id == letter.c.run_id, member.c.user_id == letter.c.user_id)
    query = select(*(_total(flag(_before(letter, name)), name) for name in _BACK))
    row = connection.execute(query.select_from(letter.join(member, mine)).where(letter.c.accepted == 1)).one()
    return {name: int(getattr(row, name)) for name in _BACK}


def _before(letter: Subquery, what: str) -> Any:
    return letter.c.sent_at <= type_coerce(member.c[f"{what}_at"], BigInteger)


def channels(connection: Connection, launched: Launched) -> tuple[ChannelCount, ...]:
    """Each channel: its users and messages by stage, what was opened and by whom, who refused."""
    letter = letters(launched)
    planned = flag(letter.c.held_out.is_(False))
    stages = {"planned": planned} | {name: letter.c[name] for name in (*STAGES, "clicked")}
    key = (letter.c.channel, letter.c.user_id)
    sums = [_total(value, f"{name}_messages") for name, value in stages.items()]
    most = [func.max(value).label(f"{name}_users") for name, value in stages.items()]
    person = select(*key, *sums, *most, *_sorted(letter)).group_by(*key).subquery("person")
    totals = [_total(column, column.name) for column in person.c if column.name not in {"channel", "user_id"}]
    query = select(person.c.channel, *totals).group_by(person.c.channel).order_by(person.c.channel)
    against = _refused(connection, launched)
    return tuple(_channel(row, list(stages), against) for row in connection.execute(query))


def _refused(connection: Connection, launched: Launched) -> dict[str, tuple[int, int]]:
    who = refused(launched, by_channel=True)
    sums = (_total(who.c.unsubscribed, "unsubscribed"), _total(who.c.complained, "complained"))
    rows = connection.execute(select(who.c.channel, *sums).group_by(who.c.channel))
    return {row.channel: (int(row.unsubscribed), int(row.complained)) for row in rows}


def _channel(row: Row[Any], stages: Sequence[str], against: dict[str, tuple[int, int]]) -> ChannelCount:
    users, messages = ({name: int(getattr(row, f"{name}_{of}")) for name in stages} for of in ("users", "messages"))
    kinds = _kinds([row], "opening"), _kinds([row], "clicking")
    return ChannelCount(row.channel, users, messages, *kinds, *against.get(row.channel, (0, 0)))
