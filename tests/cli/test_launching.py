"""``launch`` shows how far a campaign reaches and asks; ``runs`` and ``confirm``; ``calendar``."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.cli.launching import _next_words
from orchestrator.clock import ManualClock
from orchestrator.errors import InputError
from orchestrator.plan.firings import next_firings
from orchestrator.store import Store, upgrade
from orchestrator.store.tables import alert, run, users
from tests import world

SUNDAY = datetime(2026, 12, 6, 8, tzinfo=UTC)
"""Before anything of Monday's run."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty people in three countries, two campaigns, a cap; the business clock stands about still."""
    origin = datetime.now(UTC).isoformat()
    log = {"channel": "push", "provider": "log", "options": {"file": "push.jsonl"}}
    sms = {"channel": "sms", "provider": "log", "options": {"file": "sms.jsonl", "channel": "sms"}}
    clock = {"start": SUNDAY.isoformat(), "origin": origin, "speed": 0.001}
    settings = {"database": "o.db", "accounts": {"fcm": log, "twilio": sms}, "clock": clock, "confirm_above": 30}
    days = {"schedule": {"days": "every"}}
    files: dict[str, Any] = {
        "orchestrator.yaml": settings,
        "campaigns/lunch.yaml": {**world.DEFINITION, **days, "priority": 60},
        "campaigns/other.yaml": {**world.DEFINITION, **days, "name": "other", "audience": {"segment": "germans"}},
        "campaigns/caps.yaml": {"caps": [{"channel": "push", "most": 1, "within": "24h"}]},
        "campaigns/segments/germans.yaml": {"name": "germans", "where": {"attribute": "country", "equals": "DE"}},
        **{f"campaigns/segments/{name}.yaml": text for name, text in world.SEGMENTS.items()},
        **{f"templates/{name}": text for name, text in world.TEMPLATES.items()},
    }
    world.write_files(tmp_path, files)
    store = Store(str(tmp_path / "o.db"))
    upgrade(store)
    for n in range(40):
        zone, country = [("Europe/Berlin", "DE"), ("Asia/Shanghai", "CN"), ("America/New_York", "US")][n % 3]
        world.person(store, f"u{n}", zone, country=country, phone=f"+491511234{n:04}" if n < 10 else None)
    store.close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


def said(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, (done.output, done.exception)
    return re.sub(r"\s+", " ", done.output)


@pytest.mark.usefixtures("project")
def test_launch_says_how_far_it_reaches_and_when_it_fires() -> None:
    text = said("launch", "lunch", "--yes")
    assert "40 of the 40 people in the audience would get something" in text
    for words in ("40 push", "14 DE", "13 CN", "13 US", "14 Europe/Berlin", "SMS: at most 10 messages, about 10 parts"):
        assert words in text
    assert "The first may leave at 2026-12-06 09:30 UTC" in text  # Berlin's Sunday; Shanghai's is over
    assert "lunch is running as version" in text
    assert "It fires at once for 2026-12-06: whose window of that date has passed gets nothing (late)" in text
    assert "2026-12-07 (its run opens 12-06 09:00 UTC)" in text


def test_the_first_of_an_own_date_leaves_on_that_date(project: Path) -> None:
    path = project / "campaigns" / "lunch.yaml"
    schedule = {"days": "every", "relative_to": {"attribute": "birthday", "yearly": True}}
    path.write_text(json.dumps({**json.loads(path.read_text()), "schedule": schedule}))
    born(project, "u0", "1990-12-07")
    text = said("launch", "lunch", "--yes")
    assert "1 of the 1 people in the audience would get something" in text
    assert "It fires at once for 2026-12-06" in text  # for nobody, and not for u0
    assert "The first may leave at 2026-12-07 09:30 UTC" in text
    born(project, "u3", "1990-12-06")
    assert "The first may leave at 2026-12-06 09:30 UTC" in said("launch", "lunch", "--yes")


def born(project: Path, user: str, birthday: str) -> None:
    store = Store(str(project / "o.db"))
    with store.write() as connection:
        query = update(users).where(users.c.external_id == user)
        connection.execute(query.values(attributes={"birthday": birthday}))
    store.close()


@pytest.mark.usefixtures("project")
def test_launching_to_many_is_confirmed() -> None:
    with pytest.raises(InputError, match="40 people would get something") as caught:
        CliRunner().invoke(app, ["launch", "lunch"], catch_exceptions=False)
    assert "--yes" in caught.value.hint
    with pytest.raises(InputError, match="confirm_above"):
        CliRunner().invoke(app, ["launch", "lunch", "--json"], catch_exceptions=False)
    assert "is running" in said("launch", "other")  # 14 are not many


@pytest.mark.usefixtures("project")
def test_on_a_terminal_somebody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.cli.launching._watched", lambda: True)
    no = CliRunner().invoke(app, ["launch", "lunch"], input="n\n")
    assert no.exit_code == 1
    assert "Launch to 40 people?" in no.output
    assert "is running" not in no.output
    assert "is running" in CliRunner().invoke(app, ["launch", "lunch"], input="y\n").output


@pytest.mark.usefixtures("project")
def test_the_same_for_machines() -> None:
    found = json.loads(CliRunner().invoke(app, ["launch", "lunch", "--yes", "--json"]).output)
    reach = found["reach"]
    assert (reach["people"], reach["channels"], reach["countries"]) == (
        40,
        {"push": 40, "sms": 10},
        {"DE": 14, "CN": 13, "US": 13},
    )
    assert reach["first"] == "2026-12-06T09:30:00+00:00"
    assert [one["at_once"] for one in reach["firings"]] == [True, False, False]


def test_runs_shows_what_waits(project: Path) -> None:
    assert "no run yet" in said("runs")
    said("launch", "lunch", "--yes")
    store = Store(str(project / "o.db"))
    with store.write() as connection:
        times = {"as_of": SUNDAY, "closes_at": SUNDAY + timedelta(days=3), "created_at": SUNDAY}
        row = {"campaign": "lunch", "version": "v", "local_date": "2026-12-07", "state": "planning"}
        connection.execute(insert(run).values(id=7, **row, reason="unusual_size", **times))
        facts = {"campaign": "lunch", "date": "2026-12-07", "audience": 9000, "usual": 300}
        key = "unusual_size:7"
        connection.execute(insert(alert).values(key=key, kind="unusual_size", facts=facts, at=SUNDAY, next_at=SUNDAY))
    store.close()
    text = said("runs", "lunch")
    assert "waiting" in text
    assert "9,000 (usually 300)" in text
    assert "more than three times as many people" in text
    assert "lunch goes on for 2026-12-07" in said("confirm", "lunch", "--run", "2026-12-07")
    assert "planning" in said("runs")
    assert json.loads(CliRunner().invoke(app, ["runs", "--json"]).output)[0]["reason"] == "confirmed"


def test_next_firings_of_a_campaign_that_is_over() -> None:
    campaign = world.bundle().campaign
    assert [one.day for one in next_firings(campaign, SUNDAY)] == [date(2026, 12, 7)]
    assert next_firings(campaign, SUNDAY + timedelta(days=9)) == []
    assert "on no date" in _next_words([])


@pytest.mark.usefixtures("project")
def test_the_calendar_by_day() -> None:
    said("launch", "lunch", "--yes")
    text = said("calendar", "--days", "2", "--from", "2026-12-25")
    assert "4 firings of 2 campaigns (1 launched)" in text
    assert "Fri 12-25" in text
    assert "US Christmas Day" in text
    assert "DE Christmas Day" in text
    assert "02:30 – 16:45" in text  # from Shanghai's 10:30 to New York's 11:45
    assert "≤ 40" in text
    assert "not launched" in text
    assert "lunch goes before other on Fri 12-25, Sat 12-26: about 14 people are in both" in text
    assert "under the cap 1 push in 24h" in text


@pytest.mark.usefixtures("project")
def test_a_narrow_calendar_loses_neither_hours_nor_states(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, ["calendar", "--days", "1", "--from", "2026-12-25"]).output
    assert max(map(len, shown.splitlines())) <= 80
    assert all(word in shown for word in ("02:30", "16:45", "≤ 40", "≤ 14"))
    assert shown.count("not launched") == 2


def test_the_calendar_knows_edits_pauses_and_broken_files(project: Path) -> None:
    said("launch", "lunch", "--yes")
    said("pause", "lunch")
    path = project / "campaigns/lunch.yaml"
    path.write_text(path.read_text().replace("10:30-11:45", "10:30-11:40"))
    (project / "campaigns/broken.yaml").write_text("name: broken\n")
    found = json.loads(CliRunner().invoke(app, ["calendar", "--days", "1", "--json"]).output)
    entries = {one["name"]: one for one in found["entries"]}
    assert (entries["lunch"]["source"], entries["lunch"]["edited"]) == ("paused", True)
    assert entries["lunch"]["windows"] == ["10:30-11:45"]  # as launched
    assert (entries["other"]["source"], entries["other"]["volume"]) == (
        "file",
        {"audience": 14, "messages": 14, "runs": 0, "events": False},
    )
    assert "orchestrator validate broken" in found["notes"][0]


def test_the_calendar_as_a_page(project: Path) -> None:
    said("calendar", "--days", "7", "--from", "2026-12-21", "--html", "c.html", "--locale", "zh")
    html = (project / "c.html").read_text()
    assert html.count("<svg") == 4  # two widths, two languages
    assert "活动日历" in html
    assert "What fires when" in html
    assert "Christmas Day" in html
    assert not re.search(r"""(src|href)=["']https?:""", html)


def test_volumes_come_from_earlier_runs(project: Path) -> None:
    said("launch", "lunch", "--yes")
    store = Store(str(project / "o.db"))
    clock = ManualClock(SUNDAY)
    what = world.bundle(schedule={"days": "every"})
    world.launch(store, what, clock.now())
    from orchestrator.plan.due import due_runs

    with store.write() as connection:
        due = due_runs(connection, clock.now())
    for item, bundle in due:
        world.planner(clock).plan(store, item, bundle)
    store.close()
    found = json.loads(CliRunner().invoke(app, ["calendar", "--days", "1", "--json"]).output)
    volume = next(one["volume"] for one in found["entries"] if one["name"] == "lunch")
    assert (volume["audience"], volume["runs"]) == (40, len(due))
    assert volume["messages"] == 27  # of the latest date; Shanghai's lunch was over
