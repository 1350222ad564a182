"""The page about edits says what the commands say: its example is played, in a small project, with real messages."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.campaign.load import load_bundle
from orchestrator.cli.app import app
from orchestrator.cli.live import _WHY
from orchestrator.clock import ManualClock
from orchestrator.plan.due import due_runs
from orchestrator.store import Store, upgrade
from tests import world
from tests.docs.pages import blocks, page
from tests.plan.editing import Post

PAGE = page("howto/editing.md")
MONDAY = datetime(2026, 12, 7, 10, 10, tzinfo=UTC)
"""In Berlin lunch is going on; in Vancouver it is night."""
BERLIN, VANCOUVER = 60, 40


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hundred people in two cities; Monday's run under way, and Berlin's first messages sent."""
    log = {"channel": "push", "provider": "log", "options": {"file": "push.jsonl"}}
    sms = {"channel": "sms", "provider": "log", "options": {"file": "sms.jsonl", "channel": "sms"}}
    clock = {"start": MONDAY.isoformat(), "origin": datetime.now(UTC).isoformat(), "speed": 0.001}
    settings = {"database": "o.db", "accounts": {"fcm": log, "twilio": sms}, "clock": clock}
    files: dict[str, Any] = {
        "orchestrator.yaml": settings,
        "campaigns/lunch.yaml": world.DEFINITION,
        **{f"campaigns/segments/{name}.yaml": text for name, text in world.SEGMENTS.items()},
        **{f"templates/{name}": text for name, text in world.TEMPLATES.items()},
    }
    world.write_files(tmp_path, files)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "130")
    store, now = Store(str(tmp_path / "o.db")), ManualClock(world.OPENING)
    upgrade(store)
    for n in range(BERLIN + VANCOUVER):
        world.person(store, f"u{n}", "Europe/Berlin" if n < BERLIN else "America/Vancouver", phone=f"+4915112{n:06}")
    world.launch(store, load_bundle("lunch", tmp_path / "campaigns", tmp_path / "templates"), world.OPENING)
    with store.write() as connection:
        [(item, found)] = due_runs(connection, world.OPENING)
    world.planner(now).plan(store, item, found)
    now.instant = MONDAY
    Post(store, now, tmp_path).send(1000)
    store.close()
    return tmp_path


def _said(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def _told(heading: str) -> list[str]:
    """The lines about the run of a section's output."""
    start = PAGE.index(heading)
    shown = blocks(PAGE[start:], "")[0]
    return [line for line in shown.splitlines() if line.startswith("The run of")]


def _lines(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("The run of")]


def test_the_example_is_what_it_says(project: Path) -> None:
    title = project / "templates/lunch/push.en.j2"
    title.write_text(title.read_text().replace("Hello", "Good morning"))
    file = project / "campaigns/lunch.yaml"
    file.write_text(json.dumps({**world.DEFINITION, "steps": world.DEFINITION["steps"][:1]}))
    assert _lines(_said("launch", "lunch", "--yes")) == _told("## An edit while it runs")
    story = _said("explain", "u0", "lunch")
    shown = blocks(PAGE[PAGE.index("## The day after") :], "")[0].strip().splitlines()
    assert [line for line in shown if line not in story.splitlines() and "launched version" not in line] == []
    assert re.search(r"Meanwhile, on Mon 7 Dec 11:10:00, operator \S+ launched version [0-9a-f]{12}\.", story)


def test_new_runs_only(project: Path) -> None:
    file = project / "campaigns/lunch.yaml"
    file.write_text(json.dumps({**world.DEFINITION, "priority": 60}))
    assert _lines(_said("launch", "lunch", "--yes", "--new-runs-only"))[:1] == _told("## Leaving it alone")


def test_every_reason_to_keep_a_version_is_told() -> None:
    told = " ".join(PAGE.split())
    assert all(words in told for words in _WHY.values())
