"""The two commands, over a ledger that the real planner wrote."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update
from typer.testing import CliRunner, Result

from orchestrator.cli.report import app
from orchestrator.clock import ManualClock, SystemClock
from orchestrator.errors import InputError, NotFoundError
from orchestrator.store import Store
from orchestrator.store.tables import attempt, campaign, member, message
from orchestrator.store.tables import run as runs
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


def test_a_story_has_the_codes_of_the_accounts_provider(planned: Path) -> None:
    store = Store(str(planned / "orchestrator.db"))
    at = world.OPENING
    with store.write() as connection:
        number = connection.execute(select(message.c.id).order_by(message.c.id)).scalars().first()
        row = {"message_id": number, "n": 1, "worker_id": 7, "account": "fcm", "started_at": at, "ended_at": at}
        connection.execute(insert(attempt).values(**row, outcome="stop_channel", code="10001"))
    store.close()
    told = "\n".join(run("explain", name, "lunch").output for name in ("mei", "anna"))
    assert "[10001]" in told
    (planned / "orchestrator.yaml").write_text(
        "accounts: {fcm: {channel: push, provider: getui, rate: 5, connections: 5}}\n", encoding="utf-8"
    )
    told = "\n".join(run("explain", name, "lunch").output for name in ("mei", "anna"))
    assert "[10001 (the access token has expired)]" in " ".join(told.split())


def test_who_was_not_in_the_audience(planned: Path) -> None:
    assert "late-comer was not in the audience of lunch" in run("explain", "late-comer", "lunch").output


@pytest.mark.parametrize("what", ["lunch", "lunch@2026-12-07"])
def test_what_was_forgotten_is_not_told_otherwise(planned: Path, what: str) -> None:
    store = Store(str(planned / "orchestrator.db"))
    with store.write() as connection:
        connection.execute(delete(message))
        connection.execute(delete(member))
        connection.execute(update(runs).values(forgotten_at=world.OPENING))
    store.close()
    assert "were forgotten by" in run("report", what).output
    story = run("explain", "mei", what).output
    assert "older than keep_messages: 1. Whether mei was in them is not known any more." in " ".join(story.split())
    assert "was not in the audience" not in story


def test_one_run_and_options_before_it(planned: Path) -> None:
    assert said("report", "--json", "lunch@2026-12-07")["launched"]["local_date"] == "2026-12-07"
    assert "has no run of 2026-12-08" in str(run("report", "lunch@2026-12-08").exception)


def test_help_tells_of_both_reports(planned: Path) -> None:
    shown = run("report", "--help").output
    assert "retention" in shown
    assert "CAMPAIGN" in shown
    assert "--csv" in run("report", "lunch", "--help").output


def test_every_number_goes_to_a_sheet(planned: Path) -> None:
    assert run("report", "lunch", "--csv", "report.csv").exit_code == 0
    lines = (planned / "report.csv").read_text(encoding="utf-8-sig").splitlines()
    assert lines[0] == "section,item,detail,measure,value,low,high"
    assert "decisions,skipped,no_consent,members,1,," in lines


def test_outcomes_are_exported(planned: Path) -> None:
    printed = run("export", "lunch").stdout.splitlines()
    assert printed[0].startswith("campaign,run_id,run_date,user,arm,")
    assert len(printed) == 4
    assert run("export", "lunch@2026-12-07", "--format", "parquet", "--out", "o.parquet").exit_code == 0
    assert (planned / "o.parquet").stat().st_size > 0
    assert "Parquet needs a file" in str(run("export", "lunch", "--format", "parquet").exception)


def test_who_stays(planned: Path) -> None:
    store = Store(str(planned / "orchestrator.db"))
    for days in (40, 39, 3):
        world.did(store, "mei", "app_open", SystemClock().now() - timedelta(days=days))
    store.close()
    found = said("report", "retention", "--json", "--zone", "Asia/Shanghai")
    assert (found["users"], found["back"]["1"]["count"]) == (1, 1)
    assert run("report", "retention", "--html", "r.html", "--csv", "r.csv", "--locale", "zh").exit_code == 0
    assert (planned / "r.html").exists()
    assert "cohorts," in (planned / "r.csv").read_text(encoding="utf-8-sig")
    assert "unknown zone" in str(run("report", "retention", "--zone", "Asia/Shanghay").exception)
    assert "there are no events called 'nothing'" in str(run("report", "retention", "--event", "nothing").exception)


def test_a_campaign_called_retention_is_told_how_to_be_reported(planned: Path) -> None:
    store = Store(str(planned / "orchestrator.db"))
    now = SystemClock().now()
    world.did(store, "mei", "app_open", now - timedelta(days=9))
    with store.write() as connection:
        connection.execute(
            insert(campaign).values(name="retention", state="running", version="v", launched_at=now, updated_at=now)
        )
    store.close()
    assert "report retention@DATE" in run("report", "retention").output
