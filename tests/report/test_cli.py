"""The two commands, over a ledger that the real planner wrote."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from typer.testing import CliRunner, Result

from orchestrator.cli.report import app
from orchestrator.clock import ManualClock
from orchestrator.errors import InputError, NotFoundError
from orchestrator.store.tables import member
from tests import world


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database in which one run of ``lunch`` is planned; the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORCHESTRATOR_CONFIG", raising=False)
    store = world.fresh(tmp_path / "orchestrator.db")
    for name in ("mei", "anna", "joe"):
        world.person(store, name, consents=() if name == "joe" else ("push", "sms"))
    world.plan(store, world.bundle(), ManualClock(world.OPENING))
    with store.write() as connection:
        connection.execute(update(member).values(reopened_at=world.OPENING + timedelta(hours=1)))
    world.person(store, "late-comer")
    store.close()
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=True)


def said(*arguments: str) -> Any:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_report_of_a_planned_run_adds_up(planned: Path) -> None:
    found = said("report", "lunch", "--json")
    assert found["adds_up"]
    assert found["audience"] == 3
    decided = {(row["name"], row["reason"]): row["members"] for row in found["decisions"]}
    assert decided == {("pending", ""): 2, ("skipped", "no_consent"): 1}
    assert found["launched"]["windows"]["all/1"] == [[630, 705]]


def test_a_page_is_written_and_named(planned: Path) -> None:
    result = run("report", "lunch", "--html", "report.html", "--locale", "zh")
    assert result.exit_code == 0, result.output
    assert "report.html" in result.output
    assert (planned / "report.html").read_text(encoding="utf-8").startswith('<!doctype html>\n<html lang="zh"')


def test_a_page_that_cannot_be_written_says_why(planned: Path) -> None:
    result = run("report", "lunch", "--html", "nowhere/report.html")
    assert isinstance(result.exception, InputError)
    assert "cannot write nowhere/report.html" in str(result.exception)


def test_an_unknown_campaign_is_not_found_with_the_nearest(planned: Path) -> None:
    result = run("report", "lunhc")
    assert isinstance(result.exception, NotFoundError)
    assert "did you mean 'lunch'?" in result.exception.hint


def test_one_members_story(planned: Path) -> None:
    result = run("explain", "mei", "lunch")
    assert result.exit_code == 0, result.output
    assert "Step 1: push through fcm" in result.output
    assert "跳过" in run("explain", "joe", "lunch", "--locale", "zh").output
    story = said("explain", "mei", "lunch", "--json")
    assert story["members"][0]["messages"][0]["state"] == "planned"
    assert story["words"][0].startswith("User mei in Lunch")


def test_who_was_not_in_the_audience(planned: Path) -> None:
    assert "late-comer was not in the audience of lunch" in run("explain", "late-comer", "lunch").output
