"""Days of the week."""

from __future__ import annotations

import pytest

from orchestrator.errors import InputError
from orchestrator.timing.days import parse_days


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon-fri", {0, 1, 2, 3, 4}),
        ("mon,wed", {0, 2}),
        ("every", set(range(7))),
        ("Sat - Mon", {5, 6, 0}),
        ("mon-tue, sun", {0, 1, 6}),
        ("fri", {4}),
        ("mon-sun", set(range(7))),
    ],
)
def test_days(text: str, days: set[int]) -> None:
    assert parse_days(text) == days


@pytest.mark.parametrize("text", ["", "monday-fri", "mon-", "1-5", "mon,,tue", "mon fri"])
def test_wrong_days_say_what_can_be_written(text: str) -> None:
    with pytest.raises(InputError, match="no weekday") as caught:
        parse_days(text)
    assert "mon-fri" in caught.value.hint
