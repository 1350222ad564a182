"""Durations, shares, rates, days, names."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from orchestrator.campaign import words


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        ("1h30m", timedelta(minutes=90)),
        ("14d", timedelta(days=14)),
        ("1.5h", timedelta(minutes=90)),
        ("2w", timedelta(days=14)),
        ("45s", timedelta(seconds=45)),
    ],
)
def test_durations(text: str, length: timedelta) -> None:
    assert words.span(text) == length


@pytest.mark.parametrize(
    "text", ["", "30", 30, "30 minutes", "-1h", "0m", "1y", "99999999d", "h", None, ["1h"], "1h" * 9999 + "x"]
)
def test_no_durations(text: object) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        words.span(text)
    assert len(caught.value.message()) < 200


@given(st.integers(1, 10_000))
def test_durations_are_exact(minutes: int) -> None:
    assert words.span(f"{minutes}m") == timedelta(minutes=minutes)


@pytest.mark.parametrize(("text", "number"), [("5%", 0.05), ("12.5 %", 0.125), (0.05, 0.05), (0, 0.0), ("90%", 0.9)])
def test_shares(text: object, number: float) -> None:
    assert words.share(text) == pytest.approx(number, abs=1e-12)


@pytest.mark.parametrize("text", ["91%", 0.91, "100%", -0.1, "-5%", "five", True, None, "0.1"])
def test_no_shares(text: object) -> None:
    with pytest.raises(PydanticCustomError):
        words.share(text)


def test_ten_for_ten_per_cent_is_explained() -> None:
    with pytest.raises(PydanticCustomError) as caught:
        words.share(10)
    assert caught.value.context == {"text": "10 is outside 0% to 90%", "hint": "write 10% for 10 per cent", "field": ""}


@pytest.mark.parametrize(
    ("text", "number"), [("2000/min", 2000 / 60), ("30/s", 30), ("100/hour", 100 / 3600), ("1 / h", 1 / 3600)]
)
def test_rates(text: str, number: float) -> None:
    assert words.rate(text) == pytest.approx(number)


@pytest.mark.parametrize("text", ["2000", 2000, "2000/day", "0/s", "fast", "-1/s", None])
def test_no_rates(text: object) -> None:
    with pytest.raises(PydanticCustomError):
        words.rate(text)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("every", range(7)),
        ("mon-fri", range(5)),
        ("sat", [5]),
        ("fri-mon", [4, 5, 6, 0]),
        (["mon", "wed"], [0, 2]),
        (["mon-tue", "SUN"], [0, 1, 6]),
    ],
)
def test_days(text: object, numbers: list[int]) -> None:
    assert words.weekdays(text) == frozenset(numbers)


@pytest.mark.parametrize("text", ["", "money", [], [1], None, "mon-", "mon-fry", {"mon": 1}, "*"])
def test_no_days(text: object) -> None:
    with pytest.raises(PydanticCustomError):
        words.weekdays(text)


def test_dates() -> None:
    assert words.day("2026-02-28") == date(2026, 2, 28)
    for text in ("2026-02-29", "2026-2-28", "20260228", 20260228, "2026-02-28T10:00", "tomorrow", None):
        with pytest.raises(PydanticCustomError):
            words.day(text)
