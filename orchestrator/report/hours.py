"""At which hour of the recipient's own day requests left, and whether any left outside the window."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, Connection, and_, func, select, type_coerce, union_all
from sqlalchemy.sql import exists

from orchestrator.clock import EPOCH
from orchestrator.errors import InputError
from orchestrator.report.members import runs_of
from orchestrator.report.values import Hours, Launched, Opening
from orchestrator.store.tables import attempt, member, message
from orchestrator.timing.zones import candidates

BIN = 5
"""Minutes to a bar."""
_MINUTE = 60_000_000


def zone_of(key: str) -> ZoneInfo | None:
    """The zone of a member, when it is known exactly; None for a country with several, or for nothing at all."""
    zones = _candidates(key)
    return _zone(zones[0]) if len(zones) == 1 else None


def _candidates(key: str) -> tuple[str, ...]:
    """Every zone the member may be in; a name that tzdata no longer has counts as anywhere."""
    try:
        return candidates(key)
    except InputError:
        return candidates("")


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def inside(minute: int, openings: Iterable[Opening]) -> bool:
    """Whether a minute of the day is in one of the openings."""
    return any(start <= minute < end for start, end in openings)


def hours(connection: Connection, launched: Launched) -> Hours:
    """All requests, by the recipient's wall clock. Grouped by minute: zones and windows have whole minutes."""
    bins = [0] * (24 * 60 // BIN)
    several = requests = outside = 0
    for zone_key, arm, step, minute, count in _requests(connection, launched):
        at = EPOCH + timedelta(minutes=minute)
        zones = _candidates(zone_key)
        requests += count
        if len(zones) == 1:
            bins[_minute_of_day(at, zones[0]) // BIN] += count
        else:
            several += count
        window = (launched.windows or {}).get((arm, step), ())
        if window and not all(inside(_minute_of_day(at, zone), window) for zone in zones):
            outside += count
    openings = merged(opening for window in (launched.windows or {}).values() for opening in window)
    return Hours(tuple(bins), requests, several, outside if openings else None, openings)


def merged(openings: Iterable[Opening]) -> tuple[Opening, ...]:
    """The same minutes in as few openings as possible: arms' windows often lie within the campaign's."""
    joined: list[Opening] = []
    for start, end in sorted(openings):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return tuple(joined)


def _minute_of_day(at: datetime, zone: str) -> int:
    local = at.astimezone(_zone(zone))
    return local.hour * 60 + local.minute


def _requests(connection: Connection, launched: Launched) -> list[tuple[str, str, int, int, int]]:
    """(zone key, arm, step, minute since 1970, how many): attempts, and requests whose attempt was never settled."""
    mine = message.c.run_id.in_(runs_of(launched))
    settled = exists().where(attempt.c.message_id == message.c.id, attempt.c.n == message.c.attempts)
    columns = (message.c.run_id, message.c.user_id, message.c.arm, message.c.step)
    began = type_coerce(attempt.c.started_at, BigInteger).label("began")
    left = type_coerce(message.c.sent_at, BigInteger).label("began")
    request = union_all(
        select(*columns, began).join_from(attempt, message, attempt.c.message_id == message.c.id).where(mine),
        select(*columns, left).where(mine, message.c.sent_at.is_not(None), ~settled),
    ).subquery("request")
    of_member = and_(member.c.run_id == request.c.run_id, member.c.user_id == request.c.user_id)
    minute = (request.c.began // _MINUTE).label("minute")
    key = (member.c.zone_key, request.c.arm, request.c.step, minute)
    query = select(*key, func.count()).select_from(request.join(member, of_member)).group_by(*key)
    return [tuple(row) for row in connection.execute(query)]
