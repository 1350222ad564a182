"""``orchestrator window next``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.cli.window import app
from orchestrator.errors import InputError


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(app, ["next", *arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_issue_s_own_example() -> None:
    days = ("--days", "mon-fri", "--zone", "America/Vancouver", "--after", "2026-12-15T00:00Z", "--count", "3")
    assert run("10:30-11:45", *days) == [
        {"date": f"2026-12-{day}", "opens": f"2026-12-{day}T17:30:00Z", "closes": f"2026-12-{day}T18:45:00Z"}
        for day in (15, 16, 17)
    ]


def test_weekends_are_left_out_by_the_recipient_s_calendar() -> None:
    found = run(
        "08:00-09:00", "--days", "mon-fri", "--zone", "Asia/Tokyo", "--after", "2026-12-17T23:00Z", "--count", "2"
    )
    assert [row["opens"] for row in found] == ["2026-12-17T23:00:00Z", "2026-12-20T23:00:00Z"]
    assert [row["date"] for row in found] == ["2026-12-18", "2026-12-21"]


def test_a_gap_has_no_opening_and_a_fold_has_two() -> None:
    gap = run("02:30-02:45", "--zone", "Europe/Paris", "--after", "2027-03-27T12:00Z", "--count", "1")
    assert gap[0]["date"] == "2027-03-29"
    fold = run("02:30-02:45", "--zone", "Europe/Paris", "--after", "2027-10-30T12:00Z", "--count", "2")
    assert [row["opens"] for row in fold] == ["2027-10-31T00:30:00Z", "2027-10-31T01:30:00Z"]


def test_people_get_a_table() -> None:
    result = CliRunner().invoke(app, ["next", "10:30-11:45", "--zone", "Europe/Berlin", "--after", "2026-12-15T00:00Z"])
    assert result.exit_code == 0
    assert "2026-12-15T09:30:00Z" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["25:00-26:00"],
        ["10:30-11:45", "--zone", "Mars/Olympus"],
        ["10:30-11:45", "--days", "funday"],
        ["10:30-11:45", "--after", "tomorrow"],
        ["10:30-11:45", "--after", "2026-12-15T00:00"],
        ["10:30-11:45", "--after", "9999-12-31T23:59Z"],
        ["10:30-11:45", "--after", "0001-01-01T00:00+14:00"],
    ],
)
def test_wrong_input_is_raised_for_the_cli_to_print(arguments: list[str]) -> None:
    with pytest.raises(InputError):
        CliRunner().invoke(app, ["next", *arguments], catch_exceptions=False)
