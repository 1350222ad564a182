"""Dates relative to a user's own: the SQL against plain Python, over odd dates, zones and histories; and whole runs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import ColumnElement, and_, exists, func, insert, select

from orchestrator.campaign.spec import RelativeTo
from orchestrator.plan import audience as audience_module
from orchestrator.plan.audience import audience, month_days
from orchestrator.store import Store
from orchestrator.store.tables import event, users
from orchestrator.timing.zones import candidates
from tests import world
from tests.nightly import size

MONDAY = date(2026, 12, 7)
DAY = timedelta(days=1)
KEYS = (
    "Asia/Shanghai", "Europe/Berlin", "America/Vancouver", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu",
    "America/New_York", "Africa/Cairo", "country:US", "country:CN", "country:AU", "",
)  # fmt: skip
FIRST = datetime(2026, 2, 20, tzinfo=UTC)
DAYS = st.dates(date(2026, 2, 25), date(2028, 3, 4))


def relative(what: RelativeTo) -> Any:
    """The small campaign, whose schedule is relative to that."""
    offset = f"{what.offset.days}d"
    given: dict[str, Any] = {"event": what.event} if what.event else {"attribute": what.attribute}
    given |= {"yearly": True} if what.yearly else {}
    return world.bundle({"schedule": {"days": "every", "relative_to": {**given, "offset": offset}}})


# --- the oracle ------------------------------------------------------------------------------------------------------


@cache
def _earliest(key: str, instant: datetime) -> date:
    return min(instant.astimezone(ZoneInfo(zone)).date() for zone in candidates(key))


@dataclass(frozen=True)
class Person:
    """What is known of somebody."""

    key: str
    birthday: Any
    orders: tuple[datetime, ...]

    def local(self, instant: datetime) -> date:
        """On which date something happened to them: where the zone is not known, the earliest it may have been."""
        return _earliest(self.key, instant)

    def due(self, what: RelativeTo, day: date, as_of: datetime) -> bool:
        """Whether the run of a date is theirs."""
        wanted = day - what.offset
        if what.event:
            past = [at for at in self.orders if at <= as_of]
            return bool(past) and self.local(max(past)) == wanted
        own = self._date()
        if own is None or not what.yearly:
            return own == wanted
        leap = wanted.year % 4 == 0
        own_day = (2, 28) if (own.month, own.day) == (2, 29) and not leap else (own.month, own.day)
        return own_day == (wanted.month, wanted.day) and own <= wanted

    def _date(self) -> date | None:
        try:
            return date.fromisoformat(self.birthday[:10]) if isinstance(self.birthday, str) else None
        except ValueError:
            return None


def _birthday(chance: random.Random) -> Any:
    day = date(2024, 2, 20) + timedelta(days=chance.randrange(16) + 366 * chance.randrange(4))
    text = day.replace(year=1988, day=min(day.day, 28)).isoformat() if chance.random() < 0.3 else day.isoformat()
    odd = ["1992-02-29", "2024-02-29", "tomorrow", "", None, 19900301, f"{text}T23:30:00-08:00", f"{text} 00:15:00"]
    return chance.choice([text, text, text, *odd, "2026-13-45x", f"x{text}", "2028-02-29T01:00:00Z"])


def _person(n: int) -> Person:
    chance = random.Random(n)
    near = FIRST + timedelta(minutes=chance.randrange(8 * 24 * 60))
    orders = tuple(near + timedelta(minutes=chance.randrange(4 * 24 * 60)) for _ in range(chance.randrange(4)))
    return Person(KEYS[n % len(KEYS)], _birthday(chance), orders)


CROWD = [_person(n) for n in range(size(360, 3000))]


def settle(store: Store) -> None:
    """Bring them all in, once."""
    with store.write() as connection:
        if connection.execute(select(func.count()).select_from(users)).scalar_one() == len(CROWD):
            return
        rows = [
            {"id": n + 1, "external_id": f"u{n}", "zone_key": one.key, "attributes": {"birthday": one.birthday},
             "created_at": FIRST, "updated_at": FIRST}
            for n, one in enumerate(CROWD)
        ]  # fmt: skip
        connection.execute(insert(users), rows)
        orders = [
            {"user_id": n + 1, "name": "order_paid", "at": at, "received_at": at, "source_id": f"{n}-{k}"}
            for n, one in enumerate(CROWD)
            for k, at in enumerate(one.orders)
        ]
        connection.execute(insert(event), orders)


def found(store: Store, clause: ColumnElement[bool], as_of: datetime) -> set[int]:
    with store.read() as connection:
        return set(connection.execute(select(users.c.id).where(clause), {"as_of": as_of}).scalars())


def wanted(what: RelativeTo, days: Sequence[date], as_of: datetime) -> set[int]:
    return {n + 1 for n, one in enumerate(CROWD) if any(one.due(what, day, as_of) for day in days)}


ATTRIBUTES = st.builds(
    RelativeTo, st.just("birthday"), yearly=st.booleans(), offset=st.integers(-366, 366).map(lambda n: n * DAY)
)
NEAR = st.one_of(st.sampled_from([date(y, m, d) for y in (2026, 2027) for m, d in ((2, 27), (2, 28), (3, 1))]), DAYS)
SHARED = settings(
    max_examples=size(25, 2000), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@SHARED
@given(what=ATTRIBUTES, dated=st.one_of(NEAR, st.just(date(2028, 2, 28)), st.just(date(2028, 2, 29))))
def test_attributes_by_sql_and_by_the_calendar(shared_store: Store, what: RelativeTo, dated: date) -> None:
    settle(shared_store)
    day = dated + what.offset
    clause = audience(relative(what), [day], shared_store.dialect)
    assert found(shared_store, clause, FIRST) == wanted(what, [day], FIRST)


@SHARED
@given(
    dated=st.dates(FIRST.date() - DAY, FIRST.date() + 13 * DAY),
    days=st.integers(3, 366),
    seen=st.integers(0, 13 * 24 * 60),
)
def test_events_by_sql_and_by_every_wall_clock(shared_store: Store, dated: date, days: int, seen: int) -> None:
    settle(shared_store)
    what, as_of = RelativeTo(event="order_paid", offset=days * DAY), FIRST + timedelta(minutes=seen)
    clause = audience(relative(what), [dated + what.offset], shared_store.dialect)
    assert found(shared_store, clause, as_of) == wanted(what, [dated + what.offset], as_of)


@SHARED
@given(start=NEAR, which=st.sets(st.integers(0, 30), min_size=1), yearly=st.booleans())
def test_several_dates_of_attributes(shared_store: Store, start: date, which: set[int], *, yearly: bool) -> None:
    settle(shared_store)
    what, days = RelativeTo("birthday", yearly=yearly), [start + n * DAY for n in which]
    clause = audience(relative(what), days, shared_store.dialect)
    assert found(shared_store, clause, FIRST) == wanted(what, days, FIRST)


@SHARED
@given(which=st.sets(st.integers(0, 13), min_size=1, max_size=5))
def test_several_dates_of_events(shared_store: Store, which: set[int]) -> None:
    settle(shared_store)
    what, as_of = RelativeTo(event="order_paid", offset=3 * DAY), FIRST + 14 * DAY
    days = [FIRST.date() + n * DAY for n in which]
    clause = audience(relative(what), days, shared_store.dialect)
    assert found(shared_store, clause, as_of) == wanted(what, days, as_of)


def test_everybody_who_ever_ordered_has_one_date_and_no_more(shared_store: Store) -> None:
    settle(shared_store)
    what, as_of = RelativeTo(event="order_paid", offset=14 * DAY), FIRST + 30 * DAY
    times: dict[int, int] = {}
    for n in range(30):
        clause = audience(relative(what), [FIRST.date() + n * DAY + what.offset], shared_store.dialect)
        for user in found(shared_store, clause, as_of):
            times[user] = times.get(user, 0) + 1
    assert times == {n + 1: 1 for n, one in enumerate(CROWD) if one.orders}


# --- naive variants: each is caught ----------------------------------------------------------------------------------

ORDERS = (event.c.user_id == users.c.id, event.c.name == "order_paid")


def _bounds(dated: date) -> tuple[datetime, datetime]:
    start = datetime.combine(dated, datetime.min.time(), UTC)
    return start, start + DAY


def utc_days(dated: date) -> ColumnElement[bool]:
    """The date in UTC."""
    last = select(func.max(event.c.at)).where(*ORDERS).correlate(users).scalar_subquery()
    start, end = _bounds(dated)
    return and_(last >= start, last < end)


def any_order(dated: date) -> ColumnElement[bool]:
    """Any order of that date, whatever came after it."""
    start, end = _bounds(dated)
    return exists(select(1).where(*ORDERS, event.c.at >= start, event.c.at < end)).correlate(users)


def agreed(dated: date) -> ColumnElement[bool]:
    """Only what every zone a user may be in calls that date: loses whom it cannot place."""
    last = select(func.max(event.c.at)).where(*ORDERS).correlate(users).scalar_subquery()
    sure = []
    for key in KEYS:
        found = [_local_day(zone, dated) for zone in candidates(key)]
        start, end = max(start for start, _ in found), min(end for _, end in found)
        sure.append(and_(users.c.zone_key == key, last >= start, last < end))
    clause = sure[0]
    for one in sure[1:]:
        clause = clause | one
    return clause


def _local_day(zone: str, dated: date) -> tuple[datetime, datetime]:
    midnight = datetime.combine(dated, datetime.min.time(), ZoneInfo(zone))
    return midnight.astimezone(UTC), (midnight + DAY).astimezone(UTC)


@pytest.mark.parametrize("naive", [utc_days, any_order, agreed])
def test_a_naive_variant_is_caught(shared_store: Store, naive: Callable[[date], ColumnElement[bool]]) -> None:
    settle(shared_store)
    what, as_of = RelativeTo(event="order_paid", offset=14 * DAY), FIRST + 30 * DAY
    days = [FIRST.date() + n * DAY for n in range(14)]
    assert any(found(shared_store, naive(day), as_of) != wanted(what, [day + what.offset], as_of) for day in days), (
        "the oracle would not notice"
    )


def test_a_naive_leap_year_is_caught(shared_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(shared_store)
    monkeypatch.setattr(audience_module, "month_days", lambda day: (f"{day:%m-%d}",))
    what = RelativeTo("birthday", yearly=True)
    clause = audience(relative(what), [date(2027, 2, 28)], shared_store.dialect)
    assert found(shared_store, clause, FIRST) < wanted(what, [date(2027, 2, 28)], FIRST)


@pytest.mark.parametrize(
    ("day", "kept"),
    [("2027-02-28", ("02-28", "02-29")), ("2028-02-28", ("02-28",)), ("2028-02-29", ("02-29",)), ("2100-02-28", 2)],
)
def test_29_february_is_kept_on_the_28th_of_other_years(day: str, kept: tuple[str, ...] | int) -> None:
    found = month_days(date.fromisoformat(day))
    assert found == kept or len(found) == kept
