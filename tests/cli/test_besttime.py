"""``besttime show`` and ``refresh``: what is drawn, which hour is chosen, and why."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner, Result

from orchestrator.cli.besttime import app
from orchestrator.clock import SystemClock
from orchestrator.errors import NotFoundError
from orchestrator.store import Store, upgrade
from tests import world

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ada opens the app at 14:00, Berlin; so did everybody else at 16:00, and Bob is new."""
    monkeypatch.chdir(tmp_path)
    definition = {**world.DEFINITION, "window": {"local": "09:00-21:00"}, "schedule": {"days": "every"}}
    definition |= {"best_time": {"explore": "0%"}, "steps": [world.DEFINITION["steps"][0]]}
    files = {"campaigns/lunch.yaml": json.dumps(definition, ensure_ascii=False)}
    files |= {f"campaigns/segments/{name}.yaml": json.dumps(said) for name, said in world.SEGMENTS.items()}
    files["orchestrator.yaml"] = "best_time: {pseudo: 1}\n"
    files |= {f"templates/{name}": said for name, said in world.TEMPLATES.items()}
    for name, said in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(said, encoding="utf-8")
    store = Store(str(tmp_path / "orchestrator.db"))
    upgrade(store)
    for name, hour, days in (("ada", 14, 8), ("cid", 16, 9), ("dot", 16, 9), ("bob", 16, 1)):
        world.person(store, name)
        for n in range(1, days + 1):
            at = (SystemClock().now() - timedelta(days=n)).astimezone(BERLIN)
            world.did(store, name, "app_open", at.replace(hour=hour, minute=10))
    store.close()
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_a_habit_is_drawn_and_the_hour_chosen_from_it() -> None:
    assert json.loads(run("refresh", "--json").stdout) == {"users": 4}
    shown = run("show", "ada", "--campaign", "lunch").stdout
    assert "ada, push: their own history decides (8 opens)" in shown
    assert "own opens within 180 days (8)" in shown
    assert "from 14:00, best hour of their own (8 opens)" in shown
    assert all(day in shown for day in ("mon", "sun", "█"))


def test_json_has_all_the_numbers() -> None:
    run("refresh")
    said = json.loads(run("show", "ada", "--campaign", "lunch", "--json").stdout)
    assert (said["opens"], said["needed"], said["why"], said["zone_key"]) == (8, 5, "own", "Europe/Berlin")
    assert [len(said[name]) for name in ("counts", "own", "population", "mix")] == [168] * 4
    assert sum(said["counts"]) == 8
    assert sum(said["population"]) == pytest.approx(1)
    (choice,) = said["choices"]
    assert (choice["step"], choice["arm"], choice["why"]) == (1, "all", "own")


def test_who_is_new_goes_by_the_population() -> None:
    run("refresh")
    shown = run("show", "bob", "--campaign", "lunch").stdout
    assert "too little history (1 opens of at least 5): the population decides" in shown
    assert "from 16:00, the population's best hour: too little history of their own (1 opens)" in shown


def test_what_was_not_refreshed_says_so() -> None:
    assert "not looked at yet (orchestrator besttime refresh)" in run("show", "ada").stdout


def test_a_channel_without_a_step_chooses_nothing() -> None:
    assert json.loads(run("show", "ada", "--channel", "email", "--campaign", "lunch", "--json").stdout)["choices"] == []


def test_nobody_is_not_drawn() -> None:
    with pytest.raises(NotFoundError, match="no user 'adda'"):
        run("show", "adda")
