"""The page about schedules: its examples are ones, and what it shows is what the commands say."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from orchestrator.campaign.schedule_form import WAYS
from orchestrator.cli.app import app
from orchestrator.errors import OrchestratorError
from orchestrator.store import Store, upgrade
from tests import world
from tests.docs.pages import blocks, page

PAGE = page("howto/schedules.md")
SATURDAY = datetime(2026, 12, 5, 8, tzinfo=UTC)
HOMES = [
    *[("Asia/Shanghai", "CN")] * 14,
    *[("Europe/Berlin", "DE")] * 8,
    *[("America/New_York", "US")] * 6,
    *[("Europe/Paris", "FR")] * 4,
    *[("America/Vancouver", "CA")] * 2,
]


def examples() -> dict[str, dict[str, Any]]:
    """Each example's fields by the name in its first line."""
    found = {}
    for block in blocks(PAGE, "yaml"):
        named = re.match(r"# campaigns/([a-z-]+)\.yaml", block)
        assert named, block
        found[named[1]] = YAML(typ="safe").load(block)
    return found


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """102 people in five countries, and four of whom nobody knows where they are."""
    root = tmp_path_factory.mktemp("shop")
    log = {"channel": "push", "provider": "log", "options": {"file": "push.jsonl"}}
    clock = {"start": SATURDAY.isoformat(), "origin": datetime.now(UTC).isoformat(), "speed": 0.001}
    base = {name: value for name, value in world.DEFINITION.items() if name not in {"schedule", "window", "steps"}}
    usual = {"steps": world.DEFINITION["steps"][:1], "window": {"local": "10:30-11:45"}}
    files: dict[str, Any] = {
        "orchestrator.yaml": {"database": "o.db", "accounts": {"fcm": log}, "clock": clock},
        **{f"campaigns/segments/{name}.yaml": text for name, text in world.SEGMENTS.items()},
        **{f"templates/{name}": text for name, text in world.TEMPLATES.items()},
    }
    for name, fields in examples().items():
        own = {} if {"at", "cron"} & set(fields["schedule"]) else usual
        files[f"campaigns/{name}.yaml"] = {**base, "steps": usual["steps"], **own, **fields, "name": name}
    world.write_files(root, files)
    store = Store(str(root / "o.db"))
    upgrade(store)
    for n in range(102):
        zone, country = HOMES[n % len(HOMES)]
        world.person(store, f"u{n}", zone, country=country)
    for n in range(4):
        world.person(store, f"x{n}", None)
    store.close()
    return root


def said(*words: str) -> str:
    try:
        done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    except OrchestratorError as error:
        return str(error)
    return done.output


def shown() -> list[tuple[str, list[str]]]:
    """Every command of the page with the lines below it, but for those that stand for others: ``…`` leaves out."""
    found = []
    for block in PAGE.split("```")[1::2]:
        for part in re.split(r"^\$ orchestrator ", block, flags=re.MULTILINE)[1:]:
            command, *lines = part.splitlines()
            found.append((command, [line for line in lines if line.strip() not in {"", "…"}]))
    return found


def test_every_way_of_scheduling_is_shown() -> None:
    assert all(f"`{way}`" in PAGE for way in WAYS)


@pytest.mark.parametrize(("command", "lines"), shown())
def test_the_commands_say_what_it_shows(
    shop: Path, monkeypatch: pytest.MonkeyPatch, command: str, lines: list[str]
) -> None:
    monkeypatch.chdir(shop)
    monkeypatch.setenv("COLUMNS", "130")
    told = [" ".join(line.split()) for line in said(*command.split()).splitlines()]
    for line in lines:
        pattern = ".*".join(re.escape(part) for part in " ".join(line.split()).split("…"))
        assert any(re.search(pattern, one) for one in told), (line, told)


def test_every_example_is_one(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    assert {f"ok {name}" for name in examples()} <= {line.partition(":")[0] for line in said("validate").splitlines()}
