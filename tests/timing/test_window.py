"""Windows: what may be written, and that they are exactly the minutes they say."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import InputError
from orchestrator.timing.instants import InstantSet
from orchestrator.timing.window import Part, Window
from orchestrator.timing.zonedata import canonical_zones, zone_names
from tests.timing.oracle import DAY, differences, distinct_transitions, is_inside, minutes_around, transitions

LUNCH = Window.parse("10:30-11:45")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def spans(found: InstantSet) -> list[tuple[str, str]]:
    return [(f"{start:%m-%d %H:%M}", f"{end:%m-%d %H:%M}") for start, end in found.intervals]


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """One to three intervals, the last perhaps over midnight."""
    count = draw(st.integers(1, 3))
    edges = sorted(draw(st.sets(st.integers(0, 1440), min_size=2 * count, max_size=2 * count)))
    parts = list(zip(edges[::2], edges[1::2], strict=True))
    tail = min(parts[0][0], parts[-1][0] - 1)  # as far as it can go into the next date without meeting the first part
    if tail > 0 and parts[-1][0] < 1440 and draw(st.booleans()):
        parts[-1] = (parts[-1][0], 1440 + draw(st.integers(1, tail)))
    return Window(tuple(Part(start, end) for start, end in parts))


@st.composite
def weekly(draw: st.DrawFn) -> Window:
    """A window for some weekdays, and perhaps another for some of the others."""
    days = draw(st.lists(st.integers(0, 6), unique=True, min_size=1, max_size=6))
    cut = draw(st.integers(0, len(days)))
    parts: list[Part] = []
    for some in (days[:cut], days[cut:]):
        if some:
            start = draw(st.integers(0, 1439))
            parts.append(Part(start, draw(st.integers(start + 1, 1440)), frozenset(some)))
    return Window(tuple(sorted(parts, key=lambda part: (sorted(part.days), part.start))))


any_zone = st.sampled_from(sorted(zone_names()))
any_day = st.dates(date(2026, 1, 1), date(2028, 12, 31))


class TestText:
    @given(st.one_of(windows(), weekly()))
    def test_text_and_window_are_the_same_thing(self, window: Window) -> None:
        assert Window.parse(str(window)) == window

    @pytest.mark.parametrize(
        ("text", "canonical"),
        [
            ("10:30-11:45", "10:30-11:45"),
            ("10:30-11:45, 17:00-18:30", "10:30-11:45, 17:00-18:30"),
            (" 9:00 - 10:00 ", "09:00-10:00"),
            ("17:00-18:30,10:30-11:45", "10:30-11:45, 17:00-18:30"),
            ("10:30–11:45，17：00-18:30", "10:30-11:45, 17:00-18:30"),
            ("22:00-02:00", "22:00-02:00"),
            ("22:00-00:00", "22:00-24:00"),
            ("00:00-24:00", "00:00-24:00"),
            ("10:00-11:00, 11:00-12:00", "10:00-11:00, 11:00-12:00"),
            ("mon-fri 10:30-11:45, sat-sun 12:00-14:00", "mon-fri 10:30-11:45, sat-sun 12:00-14:00"),
            ("mon-fri 10:30-11:45, 17:00-18:30", "mon-fri 10:30-11:45, 17:00-18:30"),
            ("Sat/Sun 9:00-10:00", "sat-sun 09:00-10:00"),
            ("mon/wed 9:00-10:00", "mon/wed 09:00-10:00"),
            ("every 9:00-10:00", "09:00-10:00"),
            ("9:00-10:00, sat 12:00-13:00", "every 09:00-10:00, sat 12:00-13:00"),
            ("mon 22:00-02:00, tue 03:00-04:00", "mon 22:00-02:00, tue 03:00-04:00"),
        ],
    )
    def test_what_may_be_written(self, text: str, canonical: str) -> None:
        assert str(Window.parse(text)) == canonical

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "not an interval"),
            ("10:30", "not an interval"),
            ("10:30-11:45-12:00", "not an interval"),
            ("10.30-11.45", "not an interval"),
            ("10:30-11:45,", "not an interval"),
            ("lunch", "not an interval"),
            ("25:00-26:00", "25:00"),
            ("23:00-24:30", "24:30"),
            ("10:60-11:00", "10:60"),
            ("24:00-02:00", "starts at 24:00"),
            ("10:00-10:00", "no length"),
            ("00:00-00:00", "no length"),
            ("10:00-12:00, 11:00-13:00", "overlap"),
            ("10:00-12:00, 10:00-12:00", "overlap"),
            ("00:00-24:00, 10:00-11:00", "overlap"),
            ("22:00-08:00, 07:00-09:00", "over midnight"),
            ("9:00-10:00, sat 9:30-13:00", "overlap"),
            ("sun 22:00-08:00, mon 07:00-09:00", "over midnight"),
            ("funday 9:00-10:00", "no weekday"),
            ("mon- 9:00-10:00", "no weekday"),
            ("1" * 10_000_000, "characters"),
        ],
    )
    def test_an_impossible_window_says_what_and_what_next(self, text: str, says: str) -> None:
        with pytest.raises(InputError, match=says) as caught:
            Window.parse(text)
        assert caught.value.hint
        assert len(str(caught.value)) < 400

    def test_it_is_a_value(self) -> None:
        assert {Window.parse("10:30-11:45"), Window.parse("10:30-11:45 ")} == {LUNCH}


class TestAgainstEveryMinute:
    @settings(max_examples=150, deadline=None)
    @given(windows(), st.data())
    def test_around_every_kind_of_transition(self, window: Window, data: st.DataObject) -> None:
        zone, changes = data.draw(st.sampled_from(transitions()))
        day = changes + timedelta(days=data.draw(st.integers(-2, 2)))
        assert differences(window, day, zone) == []

    @settings(max_examples=80, deadline=None)
    @given(st.one_of(windows(), weekly()), any_day, any_zone)
    def test_on_any_day_anywhere(self, window: Window, day: date, zone: str) -> None:
        assert differences(window, day, zone) == []

    @pytest.mark.slow
    def test_every_change_of_clocks_until_2028(self) -> None:  # promises R9; zones that change alike count once
        texts = ("00:00-24:00", "22:00-02:00", "01:00-03:00", "23:30-00:30", "00:15-00:45, 01:45-02:15", "10:30-11:45")
        several = [Window.parse(text) for text in texts]
        cases = 0
        for zone, day in distinct_transitions():
            info = ZoneInfo(zone)
            for near in (day - DAY, day, day + DAY):
                walls = [(t, t.astimezone(info)) for t in minutes_around(near)]
                for window in several:
                    found = window.on(near, zone)
                    assert all((t in found) == is_inside(window, near, wall) for t, wall in walls), (zone, near, window)
                    cases += len(walls)
        assert cases >= 500_000

    @pytest.mark.parametrize(
        ("zone", "day"),
        [
            ("Australia/Lord_Howe", date(2027, 4, 4)),
            ("Australia/Lord_Howe", date(2027, 10, 3)),
            ("Africa/Cairo", date(2027, 4, 30)),
            ("Africa/Cairo", date(2027, 10, 28)),
            ("America/Santiago", date(2027, 9, 5)),
            ("America/New_York", date(2027, 3, 14)),
            ("America/New_York", date(2027, 11, 7)),
            ("Europe/Paris", date(2027, 3, 28)),
            ("Europe/Dublin", date(2027, 10, 31)),
            ("Africa/Casablanca", date(2027, 2, 7)),
            ("America/Scoresbysund", date(2027, 3, 27)),
            ("Pacific/Kiritimati", date(2027, 1, 1)),
            ("Pacific/Pago_Pago", date(2027, 1, 1)),
            ("Asia/Kathmandu", date(2027, 1, 1)),
        ],
    )
    @pytest.mark.parametrize(
        "text",
        ["00:00-24:00", "22:00-02:00", "01:00-03:00", "23:30-00:30", "00:15-00:45", "01:30-01:31", "12:00-11:59"],
    )
    def test_the_well_known_traps(self, zone: str, day: date, text: str) -> None:
        for near in (day - DAY, day, day + DAY):
            assert differences(Window.parse(text), near, zone) == []

    def test_the_oracle_catches_today_s_offset_used_for_tomorrow(self) -> None:
        """A test that cannot fail is worthless: the usual mistake (one offset for the whole day) is seen."""

        def wrong(zone: str, day: date) -> bool:
            naive = datetime(day.year, day.month, day.day, tzinfo=UTC)
            offset = naive.astimezone(ZoneInfo(zone)).utcoffset() or timedelta()
            window = Window.parse("00:00-24:00")
            opens, closes = (naive + timedelta(hours=hour) - offset for hour in (0, 24))
            info = ZoneInfo(zone)
            return any(is_inside(window, day, t.astimezone(info)) != (opens <= t < closes) for t in minutes_around(day))

        sample = transitions()[::40]
        assert all(any(wrong(zone, day + n * DAY) for n in (-1, 0, 1)) for zone, day in sample)


class TestGapsAndFolds:
    """The vectors of promises §3."""

    @pytest.mark.parametrize(
        ("zone", "day", "text", "opens"),
        [
            ("America/New_York", date(2027, 3, 14), "02:30-02:31", []),
            ("America/New_York", date(2027, 11, 7), "01:30-01:31", ["11-07 05:30", "11-07 06:30"]),
            ("Europe/Paris", date(2027, 3, 28), "02:30-02:31", []),
            ("Europe/Paris", date(2027, 10, 31), "02:30-02:31", ["10-31 00:30", "10-31 01:30"]),
            ("Australia/Lord_Howe", date(2027, 4, 4), "01:45-01:46", ["04-03 14:45", "04-03 15:15"]),
            ("Africa/Cairo", date(2027, 4, 30), "00:30-00:31", []),
            ("Africa/Cairo", date(2027, 4, 30), "00:00-01:01", ["04-29 22:00"]),
            ("America/Santiago", date(2027, 9, 5), "00:30-00:31", []),
            ("Asia/Kathmandu", date(2027, 6, 1), "10:30-11:45", ["06-01 04:45"]),
        ],
    )
    def test_vector(self, zone: str, day: date, text: str, opens: list[str]) -> None:
        assert [start for start, _end in spans(Window.parse(text).on(day, zone))] == opens

    def test_a_window_over_a_gap_is_shorter(self) -> None:
        assert spans(Window.parse("01:30-03:30").on(date(2027, 3, 28), "Europe/Paris")) == [
            ("03-28 00:30", "03-28 01:30")
        ]

    def test_a_whole_day_is_23_24_or_25_hours(self) -> None:
        lengths = []
        for day in (date(2027, 3, 28), date(2027, 6, 1), date(2027, 10, 31)):
            ((start, end),) = Window.parse("00:00-24:00").on(day, "Europe/Paris").intervals
            lengths.append((end - start) // timedelta(hours=1))
        assert lengths == [23, 24, 25]

    def test_the_day_that_samoa_left_out_has_no_window(self) -> None:
        assert not LUNCH.on(date(2011, 12, 30), "Pacific/Apia")
        assert LUNCH.on(date(2011, 12, 31), "Pacific/Apia")


class TestDefectsOfPeers:
    def test_overnight_window_is_not_swapped(self) -> None:  # mautic Interval: 22-07 became 07-22
        window = Window.parse("22:00-07:00")
        assert spans(window.on(date(2026, 12, 1), "Europe/Berlin")) == [("12-01 21:00", "12-02 06:00")]
        assert utc("2026-12-01T11:00") not in window.on(date(2026, 12, 1), "Europe/Berlin")

    def test_daylight_saving_does_not_shift_a_window(self) -> None:  # mautic PR 10612, #9616
        for day in (date(2027, 3, 27), date(2027, 3, 28), date(2027, 3, 29), date(2027, 10, 31), date(2027, 11, 1)):
            ((start, end),) = LUNCH.on(day, "Europe/Berlin").intervals
            assert f"{start.astimezone(ZoneInfo('Europe/Berlin')):%F %R}" == f"{day} 10:30"
            assert end - start == timedelta(minutes=75)

    def test_next_month_uses_next_month_s_offset(self) -> None:  # dittofeed, countly: today's or a stored UTC offset
        assert spans(LUNCH.on(date(2027, 3, 1), "America/New_York")) == [("03-01 15:30", "03-01 16:45")]
        assert spans(LUNCH.on(date(2027, 4, 1), "America/New_York")) == [("04-01 14:30", "04-01 15:45")]

    def test_monday_in_tokyo_is_monday(self) -> None:  # dittofeed gives Tuesday
        monday = date(2026, 12, 14)
        (start, _end) = Window.parse("00:30-01:00").on(monday, "Asia/Tokyo").intervals[0]
        assert start == utc("2026-12-13T15:30")
        assert start.astimezone(ZoneInfo("Asia/Tokyo")).weekday() == monday.weekday() == 0

    def test_the_same_date_reaches_everybody_on_their_own_tuesday(self) -> None:
        for zone in ("Asia/Shanghai", "Europe/Berlin", "America/Vancouver"):
            ((start, _end),) = LUNCH.on(date(2026, 12, 15), zone).intervals
            assert f"{start.astimezone(ZoneInfo(zone)):%a %R}" == "Tue 10:30"


def test_vancouver_comes_from_the_package_not_from_the_machine() -> None:  # tzdata 2025b says 18:00Z
    assert spans(Window.parse("10:00-10:01").on(date(2026, 12, 15), "America/Vancouver"))[0][0] == "12-15 17:00"


def test_a_wrong_zone_is_an_error_with_a_hint() -> None:
    with pytest.raises(InputError, match="Europe/Berln") as caught:
        LUNCH.on(date(2026, 12, 15), "Europe/Berln")
    assert "Europe/Berlin" in caught.value.hint


def test_a_plan_over_the_world_asks_in_microseconds() -> None:
    """100 µs each once a zone's transitions are known; measured 13."""
    for zone in canonical_zones():
        LUNCH.on(date(2026, 12, 1), zone)
    began = time.perf_counter()
    for zone in canonical_zones():
        for day in range(2, 12):
            LUNCH.on(date(2026, 12, day), zone)
    assert (time.perf_counter() - began) / (10 * len(canonical_zones())) < 100e-6 * 3  # three: machines are shared
