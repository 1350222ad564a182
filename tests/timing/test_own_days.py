"""On which date something happened to a user: exactly one, in every zone, through every change of clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.timing.own_days import by_instants, date_of, instants_of
from orchestrator.timing.zonedata import zone_names
from orchestrator.timing.zones import candidates

DAY = timedelta(days=1)
YEARS = (date(2026, 1, 1), date(2028, 12, 30))
KEYS = ["", "country:US", "country:CN", "country:AU", "country:DE", "country:RU", *sorted(zone_names())]
INSTANTS = st.datetimes(datetime(2026, 1, 1), datetime(2028, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001  # bounds


@settings(deadline=None)  # a zone is read for the first time
@given(instant=INSTANTS, key=st.sampled_from(KEYS))
def test_it_is_the_date_on_the_wall_the_earliest_of_those_it_may_be(instant: datetime, key: str) -> None:
    assert date_of(instant, key) == min(instant.astimezone(ZoneInfo(zone)).date() for zone in candidates(key))


@settings(deadline=None)
@given(day=st.dates(*YEARS), length=st.integers(0, 5), key=st.sampled_from(KEYS))
def test_dates_follow_one_another_without_a_gap(day: date, length: int, key: str) -> None:
    last = day + length * DAY
    start, end = instants_of(day, last, key)
    assert end == instants_of(last + DAY, last + DAY, key)[0]
    assert date_of(start, key) == day
    assert date_of(end - timedelta(microseconds=1), key) == last
    assert date_of(end, key) == last + DAY


def test_every_zone_key_is_in_one_group() -> None:
    groups = by_instants(date(2026, 12, 1), date(2026, 12, 2))
    keys = [key for _, group in groups for key in group]
    assert len(keys) == len(set(keys))
    assert set(KEYS) <= set(keys)
    for (start, end), group in groups:
        assert all(instants_of(date(2026, 12, 1), date(2026, 12, 2), key) == (start, end) for key in group)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("Africa/Cairo", date(2026, 4, 24), 23),  # begins at 01:00
        ("Africa/Cairo", date(2026, 10, 29), 25),  # its last hour comes twice
        ("America/St_Johns", date(2010, 11, 6), 25),  # at 00:01 of the 7th back into it: over when it is so for good
        ("America/St_Johns", date(2010, 11, 7), 24),  # its first minute came before
        ("Pacific/Apia", date(2011, 12, 30), 0),  # left out
    ],
)
def test_days_of_odd_lengths(zone: str, day: date, hours: float) -> None:
    start, end = instants_of(day, day, zone)
    assert (end - start) == timedelta(hours=hours)
