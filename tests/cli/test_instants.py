"""Instants on the command line: what is said of them before and after, and how one of several runs is named."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from orchestrator.campaign.occasions import planned
from orchestrator.cli.app import app
from orchestrator.cli.instants import instant_notes
from orchestrator.cli.operate import next_occasion
from orchestrator.clock import ManualClock
from orchestrator.errors import InputError, OrchestratorError
from orchestrator.ledger.runs import Occasion
from orchestrator.plan.due import due_runs
from orchestrator.store import Store, upgrade
from orchestrator.store.tables import run
from tests import world

SUNDAY = datetime(2026, 12, 6, 8, tzinfo=UTC)
NOON, EVENING = (datetime(2026, 12, 7, hour, tzinfo=UTC) for hour in (4, 10))
"""12:00 and 18:00 on Monday in Shanghai."""
TWICE = {"cron": "0 12,18 * * mon", "zone": "Asia/Shanghai"}


def of(schedule: dict[str, Any], window: str = "") -> Any:
    return world.bundle({"schedule": schedule, "window": {"local": window} if window else {}}).campaign


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty people, and a campaign that fires twice on Mondays."""
    log = {"channel": "push", "provider": "log", "options": {"file": "push.jsonl"}}
    clock = {"start": SUNDAY.isoformat(), "origin": datetime.now(UTC).isoformat(), "speed": 0.001}
    settings = {"database": "o.db", "accounts": {"fcm": log}, "clock": clock}
    definition = {**world.DEFINITION, "schedule": TWICE, "window": {}, "steps": world.DEFINITION["steps"][:1]}
    files: dict[str, Any] = {
        "orchestrator.yaml": settings,
        "campaigns/lunch.yaml": definition,
        **{f"campaigns/segments/{name}.yaml": text for name, text in world.SEGMENTS.items()},
        **{f"templates/{name}": text for name, text in world.TEMPLATES.items()},
    }
    world.write_files(tmp_path, files)
    store = Store(str(tmp_path / "o.db"))
    upgrade(store)
    for n in range(20):
        world.person(store, f"u{n}", "Asia/Shanghai", country="CN")
    store.close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


def said(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, (done.output, done.exception)
    return re.sub(r"\s+", " ", done.output)


def refused(*words: str) -> OrchestratorError:
    with pytest.raises(OrchestratorError) as caught:
        CliRunner().invoke(app, list(words), catch_exceptions=False)
    return caught.value


def fire(project: Path) -> None:
    """Both of Monday's runs, planned."""
    store, clock = Store(str(project / "o.db")), ManualClock(NOON)
    for instant in (NOON, EVENING):
        clock.instant = instant
        with store.write() as connection:
            [(item, found)] = due_runs(connection, instant)
        world.planner(clock).plan(store, item, found)
    store.close()


@pytest.mark.usefixtures("project")
def test_before_it_fires() -> None:
    assert "lunch: 1 step, 1 arm, 0% held out, at any time, for 1h" in said("validate", "lunch")
    assert "lunch on 2026-12-07T12:00: 20 people" in said("plan", "lunch", "--dry-run")
    assert "18:00 ████" in said("plan", "lunch", "--dry-run", "--date", "2026-12-07T18:00")
    which = refused("plan", "lunch", "--dry-run", "--date", "2026-12-07")
    assert "has 2 runs that are called 2026-12-07" in which.message
    assert which.hint == "name one: 2026-12-07T12:00, 2026-12-07T18:00"
    assert "does not fire at 2026-12-08" in refused("plan", "lunch", "--dry-run", "--date", "2026-12-08").message
    launched = said("launch", "lunch", "--yes")
    assert "The first may leave at 2026-12-07 04:00 UTC" in launched
    assert "Next: 2026-12-07T12:00 (12-07 04:00 UTC), 2026-12-07T18:00 (12-07 10:00 UTC)" in launched
    text = said("calendar", "--days", "2", "--from", "2026-12-07", "--html", "calendar.html")
    assert Path("calendar.html").read_text().count("at 18:00+08:00") == 1
    assert "2 firings of 1 campaign (1 launched)" in text
    for words in ("at 12:00+08:00 │ 04:00 – 05:00", "at 18:00+08:00 │ 10:00 – 11:00"):
        assert words in text


def test_afterwards_each_run_has_its_time(project: Path) -> None:
    said("launch", "lunch", "--yes")
    fire(project)
    table = said("runs", "lunch")
    assert table.index("2026-12-07T18:00") < table.index("2026-12-07T12:00")
    assert "Lunch, 2026-12-07T18:00" in said("report", "lunch@2026-12-07T18:00")
    assert "runs that are called 2026-12-07" in refused("report", "lunch@2026-12-07").message
    told = said("explain", "u3", "lunch")
    assert told.index("Run of 2026-12-07T12:00") < told.index("Run of 2026-12-07T18:00")
    assert "of the run of 2026-12-07T18:00" in said("explain", "u3", "lunch", "--rules")


def test_what_waits_is_confirmed_by_its_time(project: Path) -> None:
    said("launch", "lunch", "--yes")
    fire(project)
    store = Store(str(project / "o.db"))
    with store.write() as connection:
        connection.execute(update(run).values(state="planning", reason="unusual_size"))
    store.close()
    which = refused("confirm", "lunch", "--run", "2026-12-07")
    assert "has 2 runs" in which.message
    assert "lunch goes on for 2026-12-07T18:00" in said("confirm", "lunch", "--run", "2026-12-07T18:00")
    assert "does not wait" in refused("confirm", "lunch", "--run", "2026-12-07T18:00").message
    assert "is no date" in refused("confirm", "lunch", "--run", "monday").message
    assert "lunch goes on for 2026-12-07T12:00" in said("confirm", "lunch")


def test_many_instants_of_a_date_stand_in_one_line(project: Path) -> None:
    path = project / "campaigns" / "lunch.yaml"
    definition = json.loads(path.read_text()) | {"schedule": {"cron": "0 9-21 * * *", "zone": "Asia/Shanghai"}}
    path.write_text(json.dumps(definition))
    text = said("calendar", "--days", "1", "--from", "2026-12-08")
    assert "1 firing of 1 campaign" in text
    assert "at 09:00+08:00 … 21:00+08:00 (13×) │ 01:00 – 14:00" in text


def test_the_next_occasion_is_the_next_instant() -> None:
    assert next_occasion(of(TWICE), SUNDAY) == Occasion(date(2026, 12, 7), NOON)
    with pytest.raises(InputError, match="fires on no date"):
        next_occasion(of({"at": "2026-12-01T18:00Z"}), SUNDAY)
    assert planned(of(TWICE), "2026-12-07T12:00").at == NOON


@pytest.mark.parametrize(
    ("schedule", "window", "said"),
    [
        ({"at": "2026-12-01T18:00+08:00"}, "", "fires at no instant from now on"),
        ({**TWICE, "until": "2026-12-06"}, "", "fires at no instant from now on"),
        ({**TWICE}, "09:00-11:00", "is over or shut in"),
        ({**TWICE}, "sat 00:00-24:00", "is over or shut everywhere"),
        ({"cron": "0 18 * * *", "zone": "Asia/Shanghai"}, "09:00-12:00", "(among them the one it is written in)"),
    ],
)
def test_notes_say_whom_a_schedule_cannot_reach(schedule: dict[str, Any], window: str, said: str) -> None:
    [note] = instant_notes(of(schedule, window), SUNDAY)
    assert said in note


def test_a_cron_string_that_fires_each_minute_is_noted() -> None:  # `0 9` was meant
    [note] = instant_notes(of({"cron": "* 9 * * mon", "zone": "Asia/Shanghai"}), SUNDAY)
    assert "fires again 1 min later, for the whole segment each time" in note
    assert list(instant_notes(of({"cron": "0 * * * *", "zone": "Asia/Shanghai"}), SUNDAY)) == []


def test_nothing_is_noted_where_everybody_is_reached() -> None:
    assert list(instant_notes(of(TWICE), SUNDAY)) == []
    assert list(instant_notes(world.bundle().campaign, SUNDAY)) == []
    goes_on = world.bundle({"schedule": TWICE, "window": {"local": "09:00-11:00", "late": "next"}}).campaign
    assert list(instant_notes(goes_on, SUNDAY + timedelta(days=1))) == []
