"""Whose clock counts, and that not knowing never means "send anyway"."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import InputError
from orchestrator.timing.window import Part, Window
from orchestrator.timing.zonedata import canonical_zones, unknown_zone, zones_by_country
from orchestrator.timing.zones import candidates, country_of, is_zone, nearest_zone, on_all, on_any, zone_key

LUNCH = Window.parse("10:30-11:45")
DAY = date(2026, 12, 15)


def test_zoneinfo_reads_the_package_even_for_zones_that_were_loaded_before() -> None:  # stack §6
    code = (
        "from zoneinfo import ZoneInfo; ZoneInfo('America/Vancouver');"
        "import orchestrator.timing.zones; from datetime import datetime, UTC;"
        "print(datetime(2026, 12, 15, 10, tzinfo=ZoneInfo('America/Vancouver')).astimezone(UTC).hour)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "17"
    assert datetime(2026, 12, 15, 10, tzinfo=ZoneInfo("America/Vancouver")).astimezone(UTC).hour == 17


@pytest.mark.parametrize(
    ("zone", "country", "key"),
    [
        ("Europe/Berlin", "US", "Europe/Berlin"),
        (" Europe/Berlin ", None, "Europe/Berlin"),
        (None, "US", "country:US"),
        ("", "us", "country:US"),
        ("Mars/Olympus", "DE", "country:DE"),
        ("Mars/Olympus", None, ""),
        (None, "XX", ""),
        (None, None, ""),
        ("Factory", None, ""),
        ("+08:00", None, ""),
    ],
)
def test_zone_key(zone: str | None, country: str | None, key: str) -> None:
    assert zone_key(zone, country) == key


@given(st.text(max_size=60), st.text(max_size=3))
def test_an_invalid_zone_name_never_stops_a_run(zone: str, country: str) -> None:  # parcelvoy #610: 600 K rows lost
    assert candidates(zone_key(zone, country))


def test_candidates() -> None:
    assert candidates("Europe/Berlin") == ("Europe/Berlin",)
    assert "Pacific/Honolulu" in candidates("country:US")
    assert "America/New_York" in candidates("country:US")
    assert candidates("country:CN") == ("Asia/Shanghai",)  # legal time, though zone.tab has Urumqi
    assert candidates("country:DE")[0] == "Europe/Berlin"
    assert candidates("") == canonical_zones()
    assert candidates("country:XK") == canonical_zones()  # Kosovo is not in zone.tab: anywhere, rather than an error
    with pytest.raises(InputError, match="Mars"):
        candidates("Mars/Olympus")


def test_every_candidate_can_be_asked() -> None:
    for country in zones_by_country():
        assert all(is_zone(zone) for zone in candidates(f"country:{country}"))


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Europe/Berln", "Europe/Berlin"),
        ("", ""),
        ("#!", ""),
    ],
)
def test_nearest_zone(name: str, near: str) -> None:
    assert nearest_zone(name) == near


def test_no_zone_is_guessed_from_an_abbreviation() -> None:  # CST is Shanghai's and Chicago's, and not UCT
    assert unknown_zone("CST").hint == "give an IANA name such as Europe/Berlin"
    assert "Asia/Shanghai" in unknown_zone("Shanghai").hint


def test_an_unknown_zone_has_no_lunch_anywhere() -> None:  # Amazon Pinpoint sends anyway
    assert not on_all(LUNCH, DAY, "")
    assert not on_all(LUNCH, DAY, "country:US")


def test_one_of_several_zones_counts_as_all_of_them() -> None:
    ((start, end),) = on_all(Window.parse("08:00-21:00"), DAY, "country:US").intervals
    assert (start.hour, end.hour) == (18, 2)  # Adak begins at 18:00Z (Honolulu too), the East ends at 02:00Z


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["country:US", "country:AU", "country:ES", "country:CN", "Europe/Berlin"]), st.integers(0, 20))
def test_all_is_the_intersection_and_any_the_union(key: str, hour: int) -> None:
    window = Window((Part(hour * 60, hour * 60 + 600),))
    each = [window.on(DAY, zone) for zone in candidates(key)]
    edges = {edge for found in each for pair in found.intervals for edge in pair}
    for instant in edges:
        assert (instant in on_all(window, DAY, key)) == all(instant in found for found in each)
        assert (instant in on_any(window, DAY, key)) == any(instant in found for found in each)


def test_country_of() -> None:
    assert country_of("Europe/Paris") == country_of("country:FR") == "FR"
    assert country_of("") == country_of("Etc/GMT+3") == ""
