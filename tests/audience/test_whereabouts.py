"""Where users are: the rules for zone keys are those of the timing room."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator.audience.whereabouts import phone, zone, zone_key, zone_names
from orchestrator.errors import InputError
from orchestrator.timing import zones as timing

COUNTRIES = [None, "", "DE", "cn", " us ", "UK", "XX", "Germany", "EU"]


def test_zone_keys_are_those_of_timing() -> None:
    names = [*sorted(zone_names()), None, "", "Factory", "europe/berlin", " Asia/Tokyo ", "GMT+8", "Mars/Olympus"]
    for name in names:
        for country in COUNTRIES:
            assert zone_key(name, country) == timing.zone_key(name, country), (name, country)
    assert timing.zone_key(None, "de") == "country:DE"


def test_a_zones_rules_are_those_of_the_pinned_package() -> None:
    """Debian's 2025b says 18:00Z."""
    noon = datetime(2026, 12, 15, 10, tzinfo=zone("America/Vancouver"))
    assert noon.astimezone(UTC) == datetime(2026, 12, 15, 17, tzinfo=UTC)
    with pytest.raises(InputError, match="unknown time zone"):
        zone("../etc/passwd")


@pytest.mark.parametrize(
    ("text", "region", "value", "country"),
    [
        ("+49 (151) 234-56789", None, "+4915123456789", "DE"),
        ("0151 23456789", "DE", "+4915123456789", "DE"),
        ("13800138000", "CN", "+8613800138000", "CN"),
        ("+800 1234 5678", None, "+80012345678", None),
    ],
)
def test_phones_become_e164(text: str, region: str | None, value: str, country: str | None) -> None:
    assert (phone(text, region).value, phone(text, region).country) == (value, country)


@pytest.mark.parametrize("text", ["0151 23456789", "hello", "", "+49", "+999123456789", "1" * 1000, "+1" * 100])
def test_what_is_no_phone_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InputError) as caught:
        phone(text)
    assert "phone number" in str(caught.value)
    assert not text or text not in str(caught.value)
