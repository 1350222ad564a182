"""The model of best time, against numbers computed by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.clock import to_micros
from orchestrator.timing import besttime
from orchestrator.timing.besttime import CODES, DATE_HOURS, KEPT, WEEK_HOURS

MONDAY, TUESDAY, SUNDAY = 0, 1, 6
NOON = 12
DAY = 86_400_000_000


def at(text: str) -> int:
    return to_micros(datetime.fromisoformat(text))


@pytest.mark.parametrize(
    ("instant", "zone", "hour"),
    [
        ("2026-12-07T00:00+00:00", "UTC", 0),
        ("2026-12-06T23:59:59+00:00", "UTC", 167),
        ("2026-12-07T11:30+00:00", "Europe/Berlin", 12),
        ("2026-12-06T23:30+00:00", "Asia/Shanghai", 7),  # there it is Monday
        ("2026-12-07T02:30+00:00", "America/Vancouver", 6 * 24 + 19),  # there it is Sunday; UTC-7 since 2026
        ("2026-07-06T10:30+00:00", "Europe/Berlin", 12),  # summer time
        ("2026-12-07T06:20+00:00", "Asia/Kathmandu", 12),  # 5:45 ahead
        ("2026-12-07T11:30+00:00", "country:DE", 12),  # two zones of one clock
        ("2026-12-07T11:30+00:00", "country:US", None),
        ("2026-12-07T11:30+00:00", "", None),
    ],
)
def test_the_hour_is_that_of_the_users_own_wall_clock(instant: str, zone: str, hour: int | None) -> None:
    assert besttime.hour_of_week(at(instant), zone) == hour


@given(st.integers(to_micros(datetime(2026, 1, 1, tzinfo=UTC)), to_micros(datetime(2028, 12, 31, tzinfo=UTC))))
def test_quarters_of_an_hour_are_fine_enough(micros: int) -> None:
    for zone in ("Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Chatham"):
        local = datetime.fromtimestamp(micros / 1e6, ZoneInfo(zone))
        assert besttime.hour_of_week(micros, zone) == local.weekday() * 24 + local.hour


def test_an_open_fades_by_half_in_every_half_life() -> None:
    month = timedelta(days=28)
    assert [besttime.weight(days * DAY, month) for days in (0, 28, 56, 84)] == [1.0, 0.5, 0.25, 0.125]
    assert besttime.weight(-5, month) == 1.0  # clocks differ


def test_an_open_is_spread_over_neighbours_and_weekdays_and_stays_one() -> None:
    found = besttime.smoothed({NOON: 1.0})  # Monday, 12:00
    assert found[NOON] == pytest.approx(1 / 2 * 1 / 2 + 1 / 2 * 1 / 2 / 7)  # 2/7
    assert found[NOON - 1] == found[NOON + 1] == pytest.approx(1 / 4 * 1 / 2 + 1 / 4 * 1 / 2 / 7)  # 1/7
    assert found[24 + NOON] == pytest.approx(1 / 28)  # Tuesday
    assert found[24 + NOON + 1] == pytest.approx(1 / 56)
    assert found[NOON + 2] == 0
    assert sum(found) == pytest.approx(1)


def test_the_week_is_round() -> None:
    found = besttime.smoothed({0: 1.0})  # Monday, midnight
    assert found[167] == found[1] == pytest.approx(1 / 8 + 1 / 56)


@given(st.dictionaries(st.integers(0, 167), st.floats(0.01, 50), max_size=20))
def test_smoothing_loses_nothing(own: dict[int, float]) -> None:
    assert sum(besttime.smoothed(own)) == pytest.approx(sum(own.values()))


def peaked(*cells: int) -> list[float]:
    """A population that opens the app in these hours alone, equally often."""
    return [1.0 if cell in cells else 0.0 for cell in range(WEEK_HOURS)]


def test_the_population_weighs_as_many_opens_as_are_said() -> None:
    assert besttime.prior(peaked(9, 18), 20.0)[9] == 10.0
    assert sum(besttime.prior(peaked(9, 18, 40), 20.0)) == pytest.approx(20)
    assert besttime.prior([0.0] * WEEK_HOURS, 20.0) == [0.0] * WEEK_HOURS


@pytest.mark.parametrize(("opens", "hour"), [(5, 18), (70, 18), (71, 12)])
def test_enough_own_opens_outweigh_the_population(opens: int, hour: int) -> None:
    """The population's 20 opens are all at 18:00 on Monday; an own one at 12:00 counts 2/7 there: 20 / (2/7) = 70."""
    before = besttime.prior(peaked(18), 20.0)
    scores = besttime.mixed(besttime.smoothed({NOON: float(opens)}), before)
    if opens == 70:
        assert scores[NOON] == pytest.approx(scores[18])
    else:
        assert besttime.ordered(scores, MONDAY)[0] == CODES[hour]


def test_the_best_hours_are_kept_by_weekday_and_those_of_the_next_morning_are_of_both() -> None:
    scores = [0.0] * WEEK_HOURS
    scores[12], scores[9], scores[24 + 1], scores[6 * 24 + 23] = 3.0, 2.0, 5.0, 1.0
    ranked = besttime.ranking(scores)
    assert len(ranked) == 7 * KEPT
    assert ranked[:3] == CODES[25] + CODES[12] + CODES[9]  # Tuesday, 01:00 is 25 o'clock of Monday
    assert ranked[KEPT] == CODES[1]
    assert ranked[6 * KEPT] == CODES[23]


@given(
    scores=st.lists(st.integers(0, 5), min_size=WEEK_HOURS, max_size=WEEK_HOURS),
    weekday=st.integers(MONDAY, SUNDAY),
    window=st.sets(st.sampled_from(CODES), min_size=1),
)
def test_the_best_of_a_window_is_the_highest_unless_it_is_none_of_those_kept(
    scores: list[int], weekday: int, window: set[str]
) -> None:
    def score(code: str) -> int:
        return scores[(weekday * 24 + CODES.index(code)) % WEEK_HOURS]

    values = [float(each) for each in scores]
    found = besttime.best_of(besttime.ranking(values), weekday, "".join(sorted(window)))
    better = [code for code in CODES if score(code) > max(score(each) for each in window)]
    if len(better) >= KEPT:
        assert found == ""
    elif found:
        assert score(found) == max(score(code) for code in window)
    assert len(besttime.ordered(values, weekday)) == DATE_HOURS


def test_who_explores_lands_on_each_hour_equally_often() -> None:
    found = [besttime.nth_of(draw, 12, "abc") for draw in range(12)]
    assert found == list("aaaabbbbcccc")
