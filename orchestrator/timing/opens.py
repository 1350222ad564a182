"""What the database knows of opens: read for a few users at a time, counted for everybody, made into rows.

Opens are the app's own event and, for their channel alone, opens and clicks of messages by people.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import NamedTuple

from sqlalchemy import BigInteger, Connection, CursorResult, Select, TextClause, func, or_, select, text, type_coerce

from orchestrator.clock import from_micros, span_micros, to_micros
from orchestrator.store.dialect import among, among_sql
from orchestrator.store.functions import json_string
from orchestrator.store.remember import recall, remember
from orchestrator.store.tables import event, lane, message, users
from orchestrator.timing import besttime
from orchestrator.timing.besttime import LOOK_BACK, Habits, hour_of_week, weight

BY_PERSON = ("message_opened", "link_clicked")
"""What people do with messages (see tracking): counts for the message's channel."""
ANY = ""
"""The channel of what is known from the app's own event alone."""
SAMPLE = 20_000
"""Users from whom the population's hours are counted."""
POPULATION = "besttime:population"
"""The key in ``meta``."""
_PAGE = 500

Histogram = list[float]
Keys = Mapping[int, str]
"""Users' zone keys."""


class Open(NamedTuple):
    """One open: the user, the channel (:data:`ANY` for the app's own event) and the instant in microseconds."""

    user_id: int
    channel: str
    at: int


@dataclass(frozen=True, slots=True)
class Population:
    """What everybody does, by channel: decayed opens by hour of the week, as of ``at``."""

    at: datetime
    channels: Mapping[str, Histogram]

    def of(self, channel: str) -> Histogram:
        """The histogram for a channel: the app's own events and the channel's."""
        nothing = [0.0] * besttime.WEEK_HOURS
        app, own = self.channels.get(ANY, nothing), self.channels.get(channel, nothing)
        return app if channel == ANY else [one + other for one, other in zip(app, own, strict=True)]


def best_rows(
    found: Iterable[Open], keys: Keys, population: Population, now: datetime, habits: Habits
) -> Iterator[dict[str, object]]:
    """The rows of users with enough opens: one by the app's own event, and one for each channel that has its own."""
    by_user: dict[int, list[Open]] = {}
    for one in found:
        by_user.setdefault(one.user_id, []).append(one)
    before: dict[str, Histogram] = {}
    for user, own in by_user.items():
        for channel in sorted({one.channel for one in own} | {ANY}):
            times = sorted(one.at for one in own if one.channel in {ANY, channel})
            counted = histogram(times, keys[user], now, habits)
            if len(times) < habits.least_history or not counted:
                continue
            if channel not in before:
                before[channel] = besttime.prior(population.of(channel), habits.pseudo)
            scores = besttime.mixed(besttime.smoothed(counted), before[channel])
            until = times[-habits.least_history] + span_micros(LOOK_BACK)
            row = {"user_id": user, "channel": channel, "hours": besttime.ranking(scores), "opens": len(times)}
            yield {**row, "until": until, "computed_at": to_micros(now)}


def histogram(times: Iterable[int], zone_key: str, now: datetime, habits: Habits) -> dict[int, float]:
    """Decayed opens by hour of the week on the user's own clock; nothing when that clock is not known."""
    counted: dict[int, float] = {}
    at_now = to_micros(now)
    for at in times:
        cell = hour_of_week(at, zone_key)
        if cell is not None:
            counted[cell] = counted.get(cell, 0.0) + weight(at_now - at, habits.half_life)
    return counted


def opens(connection: Connection, ids: Iterable[int], now: datetime, habits: Habits) -> Iterator[Open]:
    """The opens of these users that are young enough."""
    named = {"ids": among(ids), "since": to_micros(now - LOOK_BACK)}
    dialect = connection.dialect.name
    for user, at in connection.execute(_app_sql(dialect), {**named, "app": habits.event}):
        yield Open(user, ANY, at)
    for row in connection.execute(_touches_sql(dialect), named):
        yield Open(*row)


def count_population(connection: Connection, now: datetime, habits: Habits) -> Population:
    """What everybody does, from a stable sample of the users."""
    count = connection.execute(select(func.count()).select_from(users)).scalar_one()
    channels: dict[str, Histogram] = {}
    low, named = 0, {"stride": max(count // SAMPLE, 1), "n": _PAGE}
    while page := by_id(connection.execute(_SAMPLED, {"low": low, **named})):
        for one in opens(connection, page, now, habits):
            counted = channels.setdefault(one.channel, [0.0] * besttime.WEEK_HOURS)
            cell = hour_of_week(one.at, page[one.user_id])
            if cell is not None:
                counted[cell] += weight(to_micros(now) - one.at, habits.half_life)
        low = max(page)
    return Population(now, channels)


def keep_population(connection: Connection, population: Population) -> None:
    """In the place of the one before."""
    said = {"at": to_micros(population.at), "channels": dict(population.channels)}
    remember(connection, POPULATION, json.dumps(said))


def read_population(connection: Connection) -> Population | None:
    """The population as it was counted last; None when it never was."""
    found = recall(connection, POPULATION)
    if found is None:
        return None
    said = json.loads(found)
    return Population(from_micros(said["at"]), said["channels"])


def by_id(found: CursorResult[int, str]) -> dict[int, str]:
    """Rows of ids and zone keys."""
    return dict(found.all())


# --- SQL -------------------------------------------------------------------------------------------------------------

_SAMPLED = text("SELECT id, zone_key FROM users WHERE id > :low AND id % :stride = 0 ORDER BY id LIMIT :n")


@cache
def _app_sql(dialect: str) -> TextClause:
    return text(f"""SELECT user_id, at FROM event WHERE user_id IN {among_sql(dialect, "ids")}
        AND name = :app AND at >= :since""")


@cache
def _touches_sql(dialect: str) -> Select[int, str, int]:
    """Opens and clicks by people; one without a word on who it was is the app's own (see tracking)."""
    word = json_string(event.c.properties, "confidence")
    return (
        select(event.c.user_id, lane.c.channel, type_coerce(event.c.at, BigInteger))
        .join(message, message.c.id == event.c.message_id)
        .join(lane, lane.c.id == message.c.lane_id)
        .where(text(f"event.user_id IN {among_sql(dialect, 'ids')}"), event.c.name.in_(BY_PERSON))
        .where(text("event.at >= :since"), or_(word.is_(None), word == "human"))
    )
