"""A triggered campaign on the command line: what is said of it before it is launched, and of its members."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.clock import ManualClock
from orchestrator.plan.enrolling import Enroller
from orchestrator.store import Store, upgrade
from tests import world
from tests.plan.carts import CART, NOON, ONE_PUSH, ORDER, TRIGGER, WAIT, happened

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
TEMPLATES = {"lunch/push.en.j2": "title: {{ trigger.item }}?\n\nStill there.\n"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven people of Berlin, of whom one left a cart behind on each day of the last week, at nine in the morning."""
    log = {"channel": "push", "provider": "log", "options": {"file": "push.jsonl"}}
    clock = {"start": NOON.isoformat(), "origin": datetime.now(UTC).isoformat(), "speed": 0.001}
    schedule = {"trigger": {**TRIGGER, "properties": {"item": "a pan"}}}
    definition = {**world.DEFINITION, "schedule": schedule, "window": {"expires_after": "2h"}, "steps": ONE_PUSH}
    files: dict[str, Any] = {
        "orchestrator.yaml": {"database": "o.db", "accounts": {"fcm": log}, "clock": clock},
        "campaigns/lunch.yaml": definition,
        **{f"campaigns/segments/{name}.yaml": text for name, text in world.SEGMENTS.items()},
        **{f"templates/{name}": text for name, text in TEMPLATES.items()},
    }
    world.write_files(tmp_path, files)
    store = Store(str(tmp_path / "o.db"))
    upgrade(store)
    for n in range(7):
        world.person(store, f"u{n}")
        happened(store, f"u{n}", CART, NOON - n * DAY - 3 * HOUR, item="a pan")
    store.close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


def said(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, (done.output, done.exception)
    return re.sub(r"\s+", " ", done.output)


@pytest.mark.usefixtures("project")
def test_before_it_is_launched() -> None:
    assert "lunch: 1 step, 1 arm, 0% held out, at any time, for 2h" in said("validate", "lunch")
    assert "│ a pan?" in said("preview", "lunch")
    planned = said("plan", "lunch", "--dry-run")
    assert "lunch in the last 24 hours: 1 people in the audience" in planned
    assert f"By {CART} it would have been triggered once in the last 24 hours and 7 times in the last 7 days" in planned
    assert "10:00 ████" in planned
    calendar = said("calendar", "--days", "2", "--from", "2026-12-08", "--html", "calendar.html")
    assert f"on {CART}" in calendar
    assert "~ 1" in calendar
    assert "what the events of the last seven days would have come to" in calendar
    assert f"on {CART}" in Path("calendar.html").read_text()
    launched = said("launch", "lunch", "--yes")
    assert "lunch, counted for the last 24 hours: 1 of the 1 people in the audience would get something" in launched
    assert f"From now on it waits for each user's {CART}, 45 min later, unless {ORDER} meanwhile" in launched
    assert json.loads(CliRunner().invoke(app, ["launch", "lunch", "--yes", "--json"]).output)["reach"]["triggered"] == {
        "event": CART,
        "last_day": 1,
        "last_week": 7,
    }


def test_why_somebody_is_a_member_and_another_is_not(project: Path) -> None:
    said("launch", "lunch", "--yes")
    store, clock = Store(str(project / "o.db")), ManualClock(NOON + HOUR)
    happened(store, "u1", CART, NOON + HOUR, item="a wok")
    happened(store, "u2", CART, NOON + HOUR + timedelta(minutes=30), item="a wok")
    happened(store, "u4", CART, NOON + HOUR, item="a wok")
    happened(store, "u4", ORDER, NOON + HOUR + timedelta(minutes=20))
    happened(store, "u5", CART, NOON - HOUR, item="a wok")  # before the launch
    happened(store, "u5", ORDER, NOON - HOUR + timedelta(minutes=20))
    happened(store, "u6", CART, NOON - HOUR, item="a wok")
    happened(store, "u6", ORDER, NOON + HOUR)  # too late to make it needless
    clock.advance(WAIT)
    Enroller(store, world.planner(clock)).tick()
    store.close()
    member = said("explain", "u1", "lunch")
    assert "Run of 2026-12-07: found in the audience (segment everybody) as of 2026-12-07 12:45 UTC" in member
    rule = f"{CART}, 45 min later, unless {ORDER} meanwhile"
    assert f"Joined by {CART} of Mon 7 Dec 13:00:00 ({rule})." in member
    assert f"由 12月7日周一 13:00:00 的 {CART} 触发（{CART}，45 分钟后，期间无 {ORDER}）" in said(
        "explain", "u1", "lunch", "--locale", "zh"
    )
    assert f"u2 may join lunch at 2026-12-07 13:15 UTC: until then it waits ({rule})." in said("explain", "u2", "lunch")
    assert f"u3 has not joined lunch: it has not been triggered for them since its launch ({rule})" in said(
        "explain", "u3", "lunch"
    )
    for user in ("u5", "u6"):
        assert f"{user} has not joined lunch: it has not been triggered for them" in said("explain", user, "lunch")
    rules = said("explain", "u1", "lunch", "--rules")
    assert "nothing since that makes it needless: passes" in rules
    assert "window: holds until 2026-12-07 13:45:00" in rules  # as the clock of the command has it
    needless(rule)


def needless(rule: str) -> None:
    """Who is told of ``u4``, whose cart was followed by an order: in words, by rules, for machines."""
    then = f"their {CART} of 2026-12-07 12:00 UTC was followed by {ORDER} at 2026-12-07 12:20 UTC"
    assert f"u4 has not joined lunch: {then} ({rule})." in said("explain", "u4", "lunch")
    chinese = said("explain", "u4", "lunch", "--locale", "zh", "--rules")
    assert f"u4 未进入 lunch：2026-12-07 12:00 UTC 的 {CART} 之后，2026-12-07 12:20 UTC 发生了 {ORDER}" in chinese
    assert f"进入规则，截至（已结束） 2026-12-07 12:20:00 UTC： 触发后未发生取消事件（{ORDER}）：不予发送" in chinese
    assert (
        "Rules of joining, as it was at 2026-12-07 12:20:00 UTC: "
        f"nothing since that makes it needless ({ORDER}): does not let it leave"
        in said("explain", "u4", "lunch", "--rules")
    )
    machine = json.loads(CliRunner().invoke(app, ["explain", "u4", "lunch", "--rules", "--json"]).output)
    assert machine["forestalled"] == {
        "event": CART,
        "at": "2026-12-07T12:00:00Z",
        "by": ORDER,
        "by_at": "2026-12-07T12:20:00Z",
    }
    [rules] = machine["rules"]
    assert (rules["message_id"], rules["rules"][0]["rule"], rules["rules"][0]["verdict"]) == (
        None,
        f"needless:{ORDER}",
        "drops",
    )
