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


def test_american_texts_keep_to_the_strictest_state() -> None:
    assert quiet_hours("sms", "US", "America/Chicago", date(2026, 12, 15)) == [*range(10), 20, 21, 22, 23]
    assert quiet_hours("sms", "US", "America/Chicago", date(2026, 12, 13)) == [*range(12), 20, 21, 22, 23]


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
