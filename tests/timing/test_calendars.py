"""Calendars: China's swapped days, parts of countries, a deployment's own dates."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from orchestrator.errors import InputError
from orchestrator.timing.calendars import Calendar, calendar_of, named_calendar


@pytest.mark.parametrize(
    ("day", "holiday", "workday"),
    [
        (date(2026, 2, 17), True, False),  # Spring Festival
        (date(2026, 2, 20), True, False),  # a Friday off, for the Saturday before
        (date(2026, 2, 14), False, True),  # that Saturday
        (date(2026, 2, 21), False, False),  # a Saturday like others
        (date(2026, 10, 10), False, True),  # a Saturday worked for the National Day's week
        (date(2026, 10, 1), True, False),
        (date(2026, 11, 2), False, True),
    ],
)
def test_china_swaps_days(day: date, holiday: bool, workday: bool) -> None:
    china = calendar_of("CN")
    assert (china.is_holiday(day), china.is_workday(day)) == (holiday, workday)


def test_a_part_of_a_country_has_its_own() -> None:
    epiphany = date(2027, 1, 6)
    assert calendar_of("DE-BY").is_holiday(epiphany)
    assert not calendar_of("DE").is_holiday(epiphany)
    assert not calendar_of("de-xx").is_holiday(epiphany)


@pytest.mark.parametrize("region", ["", "XX", "123", "CN\x00"])
def test_where_nobody_knows_any_there_are_none(region: str) -> None:
    nowhere = calendar_of(region)
    days = [date(2027, 1, 1) + timedelta(days=n) for n in range(365)]
    assert not any(map(nowhere.is_holiday, days))
    assert sum(map(nowhere.is_workday, days)) == sum(day.weekday() < 5 for day in days)


def test_a_deployment_adds_and_takes_away() -> None:
    own = Calendar(
        "CN",
        added=frozenset({date(2026, 11, 11)}),
        removed=frozenset({date(2026, 10, 1)}),
        worked=frozenset({date(2026, 11, 14)}),
    )
    assert own.is_holiday(date(2026, 11, 11))
    assert not own.is_workday(date(2026, 11, 11))
    assert not own.is_holiday(date(2026, 10, 1))
    assert own.is_workday(date(2026, 10, 1))
    assert own.is_workday(date(2026, 11, 14))


@pytest.mark.parametrize(("region", "says"), [("CM1", "no calendar"), ("DE-XX", "no part"), ("", "no calendar")])
def test_an_unknown_name_is_said(region: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        named_calendar(region)
    assert caught.value.hint
