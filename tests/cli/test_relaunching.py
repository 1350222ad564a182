"""``launch`` of a campaign that runs: it says what becomes of the runs under way, asks, and does it; or leaves them."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.clock import ManualClock
from orchestrator.daemon.control import serve, socket_path
from orchestrator.daemon.verbs import Desk
from orchestrator.daemon.wiring import clock_of
from orchestrator.errors import InputError
from orchestrator.plan.due import due_runs
from orchestrator.settings import load_settings
from orchestrator.store import Store, upgrade
from orchestrator.store.tables import campaign, transition
from tests import world
from tests.plan.editing import decisions, owed

SUNDAY = datetime(2026, 12, 6, 9, 30, tzinfo=UTC)
"""Monday's run has opened, and nobody's lunch of it."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve people, a campaign that was launched and has a run under way; the business clock stands about still."""
    log = {"channel": "push", "provider": "log", "options": {"file": "push.jsonl"}}
    sms = {"channel": "sms", "provider": "log", "options": {"file": "sms.jsonl", "channel": "sms"}}
    clock = {"start": SUNDAY.isoformat(), "origin": datetime.now(UTC).isoformat(), "speed": 0.001}
    settings = {"database": "o.db", "accounts": {"fcm": log, "twilio": sms}, "clock": clock, "confirm_above": 10}
    files: dict[str, Any] = {
        "orchestrator.yaml": settings,
        "campaigns/lunch.yaml": world.DEFINITION,
        **{f"campaigns/segments/{name}.yaml": text for name, text in world.SEGMENTS.items()},
        **{f"templates/{name}": text for name, text in world.TEMPLATES.items()},
    }
    world.write_files(tmp_path, files)
    store = Store(str(tmp_path / "o.db"))
    upgrade(store)
    for n in range(12):
        world.person(store, f"u{n}", phone=f"+49151123{n:05}" if n < 5 else None)
    store.close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    said("launch", "lunch", "--yes")
    store = Store(str(tmp_path / "o.db"))
    clock_now = ManualClock(SUNDAY)
    with store.write() as connection:
        [(item, found)] = due_runs(connection, SUNDAY)
    world.planner(clock_now).plan(store, item, found)
    store.close()
    return tmp_path


def edit(project: Path, **changes: Any) -> None:
    (project / "campaigns/lunch.yaml").write_text(json.dumps({**world.DEFINITION, **changes}))


def said(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, (done.output, done.exception)
    return re.sub(r"\s+", " ", done.output)


def seen(project: Path, what: Any) -> Any:
    store = Store(str(project / "o.db"))
    try:
        return what(store)
    finally:
        store.close()


def test_it_says_what_becomes_of_the_run_under_way(project: Path) -> None:
    edit(project, steps=world.DEFINITION["steps"][:1])
    text = said("launch", "lunch", "--yes")
    assert "The run of 2026-12-07 is under way: 17 messages wait for 12 people, and take on this version" in text
    assert "The run of 2026-12-07 took on this version: 12 messages wait; 5 were taken back" in text
    assert sorted(step for _, step in seen(project, owed)) == [1] * 12 + [2] * 5
    assert "took on" not in said("launch", "lunch", "--yes")


def test_somebody_is_asked_for_the_people_whose_messages_change(project: Path) -> None:
    edit(project, priority=60)
    with pytest.raises(InputError, match="12 people would get something"):
        CliRunner().invoke(app, ["launch", "lunch"], catch_exceptions=False)
    assert seen(project, lambda store: len(owed(store))) == 17


def test_new_runs_only(project: Path) -> None:
    edit(project, steps=world.DEFINITION["steps"][:1])
    text = said("launch", "lunch", "--yes", "--new-runs-only")
    assert "The run of 2026-12-07 is under way and keeps its version: --new-runs-only" in text
    assert {one[0] for one in seen(project, owed).values()} == {"planned"}


def test_a_run_that_cannot_says_why(project: Path) -> None:
    edit(project, schedule={"dates": ["2026-12-09"]})
    text = said("launch", "lunch", "--yes")
    assert text.count("is under way and keeps its version: the new schedule does not have it") == 2
    edit(project, experiment={"arms": [{"name": "a"}, {"name": "b"}]})
    assert "keeps its version: some of its members are in an arm that is gone" in said("launch", "lunch", "--yes")
    edit(project, max_audience=3)
    assert "keeps its version: its audience is larger than the new max_audience" in said("launch", "lunch", "--yes")


def test_the_same_for_machines(project: Path) -> None:
    edit(project, audience={"segment": "regulars"})
    found = json.loads(CliRunner().invoke(app, ["launch", "lunch", "--yes", "--json"]).output)
    assert found["changed"]
    [live], [done] = found["reach"]["live"], found["runs"]
    assert (live["name"], live["people"], live["waiting"], live["adopts"]) == ("2026-12-07", 12, 17, True)
    assert (done["state"], done["waiting"], done["taken_back"]) == ("active", 0, 0)
    assert set(seen(project, decisions).values()) == {("skipped", "edited_out")}


def test_launching_what_runs_already_does_nothing(project: Path) -> None:
    def lines(store: Store) -> Any:
        with store.read() as connection:
            history = connection.execute(select(transition.c.id)).all()
            return history, connection.execute(select(campaign)).all()

    before = seen(project, lines)
    assert "lunch is running already as version" in said("launch", "lunch", "--yes")
    assert not json.loads(CliRunner().invoke(app, ["launch", "lunch", "--yes", "--json"]).output)["changed"]
    assert seen(project, lines) == before
    said("pause", "lunch")
    assert "lunch is running as version" in said("launch", "lunch", "--yes")


def test_it_goes_through_the_daemon(project: Path) -> None:
    edit(project, steps=world.DEFINITION["steps"][:1])
    settings = load_settings()
    store = Store(str(project / "o.db"))

    async def run() -> str:
        desk = Desk(store, clock_of(settings), settings)
        server = await serve(desk, socket_path((project / "o.db").resolve()))
        async with server:
            return await asyncio.to_thread(said, "launch", "lunch", "--yes")

    text = asyncio.run(run())
    store.close()
    assert "took on this version: 12 messages wait; 5 were taken back" in text
