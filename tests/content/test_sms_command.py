"""``sms count``."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from orchestrator.cli.sms import app


def test_json_is_exactly_the_three_fields() -> None:
    result = CliRunner().invoke(app, ["count", "a" * 161, "--json"])
    assert json.loads(result.stdout) == {"encoding": "GSM-7", "units": 161, "parts": 2}


@pytest.mark.parametrize(("given", "units"), [("abc\n", 3), ("abc", 3), ("abc\r\n", 3), ("a\nb\n\n", 4), ("", 0)])
def test_standard_input_without_its_last_line_end(given: str, units: int) -> None:
    result = CliRunner().invoke(app, ["count", "-", "--json"], input=given)
    assert json.loads(result.stdout)["units"] == units


def test_a_line_for_people_names_what_costs() -> None:
    result = CliRunner().invoke(app, ["count", "it’s lunch"])
    assert result.stdout.strip() == "1 part · UCS-2 · 10 code units · outside the SMS alphabet: '’'"
    assert "Nothing to send" in CliRunner().invoke(app, ["count", ""]).stdout


def test_input_that_is_no_text() -> None:
    result = CliRunner().invoke(app, ["count", "-"], input=b"\xff")
    assert result.exit_code == 2
    assert "not UTF-8" in result.output
