"""Retry-After: seconds, dates, and nonsense (R7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.retry_after import LEAST, MOST, retry_after

NOW = datetime(2026, 12, 1, 3, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def wait(value: str, **headers: str) -> timedelta | None:
    return retry_after({"retry-after": value, **headers}, NOW)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1", SECOND),
        ("60", 60 * SECOND),
        (" 7 ", 7 * SECOND),
        ("0", SECOND),  # clamped to 1 s
        ("31536000", MOST),  # a year
        ("9" * 50, MOST),
        ("9" * 5000, MOST),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        ("Tue, 01 Dec 2026 03:00:30 GMT", 30 * SECOND),
        ("Tuesday, 01-Dec-26 03:00:30 GMT", 30 * SECOND),
        ("Tue Dec  1 03:00:30 2026", 30 * SECOND),
        ("Tue, 01 Dec 2026 03:00:00 GMT", SECOND),
        ("Wed, 01 Dec 2027 03:00:00 GMT", MOST),
        ("Tue, 01 Dec 2026 02:59:59 GMT", None),  # past: as negative seconds
        ("Tue, 99 Dec 2026 02:59:59 GMT", None),
    ],
)
def test_each_form(value: str, expected: timedelta | None) -> None:
    assert wait(value) == expected


def test_no_header() -> None:
    assert retry_after({}, NOW) is None


def test_a_date_counts_from_the_answers_own_date() -> None:
    """The provider's clock is two hours behind ours: its date seems past, its wait is not."""
    date = "Tue, 01 Dec 2026 01:00:00 GMT"
    assert wait("Tue, 01 Dec 2026 01:00:20 GMT", date=date) == 20 * SECOND


@given(st.integers(-(10**9), 10**9))
def test_never_early_and_never_longer_than_a_day(seconds: int) -> None:
    found = wait(str(seconds))
    if seconds < 0:
        assert found is None
    else:
        assert found == min(max(timedelta(seconds=seconds), LEAST), MOST)


@given(st.integers(0, 10**7))
def test_dates_are_never_early(seconds: int) -> None:
    found = wait(format_datetime(NOW + timedelta(seconds=seconds), usegmt=True))
    assert found == min(max(timedelta(seconds=seconds), LEAST), MOST)


@given(st.text(max_size=80))
def test_no_text_breaks_it(text: str) -> None:
    found = wait(text)
    assert found is None or LEAST <= found <= MOST
