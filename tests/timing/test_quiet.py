"""Quiet hours: the built-in ones, effective dates, several zones, wrong files."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from orchestrator.timing.quiet import QuietHours
from orchestrator.timing.zones import candidates

BUILT_IN = QuietHours.load()
HOUR = timedelta(hours=1)


def quiet_hours(channel: str, country: str | None, zone: str, day: date) -> list[int]:
    """The hours of a local day whose half is quiet."""
    walls = [datetime(day.year, day.month, day.day, hour, 30, tzinfo=ZoneInfo(zone)) for hour in range(24)]
    found = BUILT_IN.quiet(channel, country, zone, walls[0] - HOUR, walls[-1] + HOUR)
    return [wall.hour for wall in walls if wall.astimezone(UTC) in found]


NIGHT = [*range(8), 21, 22, 23]


def test_nights_are_quiet_for_everybody() -> None:
    for channel in ("push", "sms"):
        assert quiet_hours(channel, "DE", "Europe/Berlin", date(2026, 12, 15)) == NIGHT
        assert quiet_hours(channel, None, "Asia/Tokyo", date(2026, 12, 15)) == NIGHT


def test_french_sundays_and_holidays_are_quiet_for_sms() -> None:
    whole_day = list(range(24))
    assert quiet_hours("sms", "FR", "Europe/Paris", date(2026, 12, 13)) == whole_day
    assert quiet_hours("sms", "FR", "Europe/Paris", date(2026, 12, 25)) == whole_day
    assert quiet_hours("sms", "FR", "Europe/Paris", date(2027, 3, 29)) == whole_day
    assert quiet_hours("sms", "FR", "Europe/Paris", date(2026, 12, 14)) == NIGHT
    assert quiet_hours("push", "FR", "Europe/Paris", date(2026, 12, 13)) == NIGHT


def test_without_a_country_the_zone_s_own_counts() -> None:
    assert quiet_hours("sms", None, "Europe/Paris", date(2026, 12, 13)) == list(range(24))


TUESDAY, SATURDAY, SUNDAY = date(2026, 12, 15), date(2026, 12, 12), date(2026, 12, 13)
LATE = [*range(8), 20, 21, 22, 23]


@pytest.mark.parametrize(
    ("place", "zone", "tuesday", "saturday", "sunday"),
    [
        ("US-CA", "America/Los_Angeles", NIGHT, NIGHT, NIGHT),  # 47 CFR 64.1200(c)(1) alone
        *((f"US-{state}", "America/New_York", LATE, LATE, LATE) for state in ("FL", "OK", "MD", "WA", "WY")),
        ("US-KY", "America/New_York", [*range(10), 21, 22, 23], [*range(10), 21, 22, 23], [*range(10), 21, 22, 23]),
        ("US-TX", "America/Chicago", NIGHT, NIGHT, [*range(12), 21, 22, 23]),
        ("US-PA", "America/New_York", NIGHT, NIGHT, [*range(24)]),
        ("US-ME", "America/New_York", [*range(9), *range(17, 24)], [*range(24)], [*range(24)]),
        *(
            (f"US-{state}", "America/Chicago", [*range(10), *range(20, 24)], [*range(10), *range(20, 24)], None)
            for state in ("AL", "CT", "LA", "MS", "RI", "UT")
        ),
        ("US", "America/Chicago", [*range(10), *range(20, 24)], [*range(10), *range(20, 24)], None),
        ("FR", "Europe/Paris", NIGHT, NIGHT, [*range(24)]),
        ("AE", "Asia/Dubai", NIGHT, NIGHT, NIGHT),
        ("IN", "Asia/Kolkata", [*range(10), 21, 22, 23], [*range(10), 21, 22, 23], [*range(10), 21, 22, 23]),
        ("CN", "Asia/Shanghai", NIGHT, NIGHT, NIGHT),
        ("KR", "Asia/Seoul", NIGHT, NIGHT, NIGHT),
        ("MX", "America/Mexico_City", NIGHT, NIGHT, NIGHT),
    ],
)
def test_every_row_of_the_table(
    place: str, zone: str, tuesday: list[int], saturday: list[int], sunday: list[int] | None
) -> None:
    """Providers §13; None: the safe national default's Sunday, 12:00-20:00."""
    assert quiet_hours("sms", place, zone, TUESDAY) == tuesday
    assert quiet_hours("sms", place, zone, SATURDAY) == saturday
    assert quiet_hours("sms", place, zone, SUNDAY) == ([*range(12), *range(20, 24)] if sunday is None else sunday)
    assert quiet_hours("push", place, zone, SUNDAY) == NIGHT


def test_each_row_says_where_it_comes_from() -> None:
    assert all(rule.row.source for rule in BUILT_IN.rules)
    doubtful = [rule.row for rule in BUILT_IN.rules if rule.row.parts]
    assert all("unconfirmed" in row.source for row in doubtful)


@pytest.mark.parametrize("day", [TUESDAY, SATURDAY, SUNDAY])
def test_who_may_be_in_any_state_is_as_quiet_as_the_strictest(day: date) -> None:
    """But for Pennsylvania's Sundays and Maine, as the file says."""
    unknown = set(quiet_hours("sms", "US", "America/Chicago", day))
    for state in BUILT_IN.parts - {"US-PA", "US-ME"}:
        assert set(quiet_hours("sms", state, "America/Chicago", day)) <= unknown, state


def test_a_law_begins_on_its_date() -> None:
    before, after = date(2026, 10, 11), date(2026, 10, 18)
    assert quiet_hours("sms", "US-PA", "America/New_York", before) == NIGHT
    assert quiet_hours("sms", "US-PA", "America/New_York", after) == [*range(24)]


@pytest.mark.parametrize(
    "day", ["2026-12-25", "2027-01-01", "2027-03-29", "2027-05-06", "2027-05-17", "2030-04-22", "2030-07-14"]
)
def test_french_holidays_come_from_the_calendar_and_never_run_out(day: str) -> None:
    assert quiet_hours("sms", "FR", "Europe/Paris", date.fromisoformat(day)) == [*range(24)]
    assert quiet_hours("sms", "BE", "Europe/Brussels", date.fromisoformat(day)) == NIGHT


def test_a_row_for_holidays_alone(tmp_path: Path) -> None:
    path = tmp_path / "quiet.yaml"
    path.write_text('quiet:\n  - {channels: [sms], parts: [DE-BY], hours: "00:00-24:00", holidays: true}\n')
    own = QuietHours.load(path)
    start = datetime(2027, 1, 4, tzinfo=UTC)  # Epiphany is a holiday in Bavaria, and none in Berlin
    assert [opens.day for opens, _ in own.quiet("sms", "DE-BY", "UTC", start, start + 120 * HOUR).intervals] == [6]
    assert not own.quiet("sms", "DE-BE", "UTC", start, start + 120 * HOUR)
    assert not own.quiet("sms", "DE", "UTC", start, start + 120 * HOUR)
    assert own.divided(["sms", "push"]) == {"DE"}
    assert own.divided(["push"]) == set()


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("countries: [US], parts: [US-FL]", "one of the two"),
        ("unknown_part: true", "needs the countries"),
        ("parts: [Florida]", "should match pattern"),
    ],
)
def test_a_row_that_cannot_be_meant(tmp_path: Path, row: str, says: str) -> None:
    path = tmp_path / "quiet.yaml"
    path.write_text(f'quiet:\n  - {{channels: [sms], hours: "21:00-08:00", {row}}}\n')
    with pytest.raises(ConfigError, match=says):
        QuietHours.load(path)


def test_an_unknown_zone_is_quiet_all_day() -> None:  # Amazon Pinpoint ignores quiet time when the zone is missing
    start = datetime(2026, 12, 15, tzinfo=UTC)
    assert BUILT_IN.quiet("push", None, "", start, start + 48 * HOUR).intervals == ((start, start + 48 * HOUR),)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["country:US", "country:FR", "Europe/Paris", "Australia/Lord_Howe", "country:BR"]),
    st.integers(0, 3 * 365 * 24 * 60),
    st.integers(0, 90),
)
def test_quiet_in_any_candidate_zone_is_quiet(key: str, minutes: int, hours: int) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    end = start + hours * HOUR
    found = BUILT_IN.quiet("push", None, key, start, end)
    instant = start
    while instant < end:
        walls = [instant.astimezone(ZoneInfo(zone)) for zone in candidates(key)]
        assert (instant in found) == any(wall.hour < 8 or wall.hour >= 21 for wall in walls)
        instant += timedelta(minutes=37)


def test_rows_have_effective_dates(tmp_path: Path) -> None:
    path = tmp_path / "quiet.yaml"
    path.write_text(
        'quiet:\n  - {channels: [sms], hours: "12:00-14:00", days: mon-fri, from: 2026-12-10, until: 2026-12-11}\n'
    )
    own = QuietHours.load(path)
    start = datetime(2026, 12, 7, tzinfo=UTC)
    found = own.quiet("sms", "DE", "UTC", start, start + timedelta(days=14))
    assert [opens.day for opens, _closes in found.intervals] == [10, 11]
    assert not own.quiet("push", "DE", "UTC", start, start + timedelta(days=14))


def test_all_mistakes_of_a_file_are_told_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "quiet.yaml"
    path.write_text(
        "quiet:\n"
        "  - channels: [sms, pigeon]\n"
        '    hours: "25:00-26:00"\n'
        '  - {channels: [sms], hours: "21:00-08:00", days: weekend}\n'
        '  - {channels: [sms], hours: "21:00-08:00", dates: ["13-45"], colour: red}\n'
    )
    with pytest.raises(ConfigError) as caught:
        QuietHours.load(path)
    assert {(problem.line, problem.field.split(".")[2]) for problem in caught.value.problems} == {
        (2, "channels"),
        (3, "hours"),
        (4, "days"),
        (5, "dates"),
        (5, "colour"),
    }


@pytest.mark.parametrize("content", [b"quiet: [", b"\xff\xfe", b"", b"[1, 2]", b"quiet: {a: 1}"])
def test_a_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "quiet.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"quiet\.yaml"):
        QuietHours.load(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        QuietHours.load(tmp_path / "none.yaml")
