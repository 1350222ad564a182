"""``history``: who did what, from the commands that did it to the list."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.errors import InputError, NotFoundError
from orchestrator.ledger import runs
from orchestrator.store import Store, upgrade
from tests.tracking.world import World

NOW = datetime.now(UTC)  # noqa: DTZ005, RUF100  # commands read the machine's clock
ME = f"operator {getpass.getuser()}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    (tmp_path / "orchestrator.yaml").write_text("database: t.db\n")
    store = Store("t.db")
    upgrade(store)
    World(store).phone(7, "+4917012345678")
    with store.write() as connection:
        runs.launch(connection, "lunch", "a" * 64, NOW - timedelta(days=3), "operator anna")
        day = (NOW - timedelta(days=2)).date()
        then = NOW - timedelta(days=2)
        runs.create_run(connection, "lunch", "a" * 64, day, now=then, closes_at=NOW + timedelta(days=1))
    store.close()
    return tmp_path


def said(*arguments: str) -> str:
    found = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def history(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(said("history", "--json", *arguments))
    return found


@pytest.mark.usefixtures("project")
def test_the_list_says_when_who_what_of_which_and_why() -> None:
    said("pause", "lunch")
    text = said("history")
    lines = [line for line in text.splitlines() if "lunch" in line]
    assert ME in lines[0] and "running → paused" in lines[0]  # noqa: PT018  # one line
    assert "scheduler" in lines[1] and f"lunch {NOW - timedelta(days=2):%Y-%m-%d}" in lines[1]  # noqa: PT018
    assert "operator anna" in lines[2] and f"version {'a' * 12}" in lines[2]  # noqa: PT018


@pytest.mark.usefixtures("project")
def test_the_list_is_narrowed_by_campaign_actor_instant_span_and_number() -> None:
    said("suppression", "add", "--channel", "sms", "--address", "+4917012345678")
    assert [one["new"] for one in history()] == ["suppressed", "planning", "running"]
    assert [one["new"] for one in history("lunch")] == ["planning", "running"]
    assert [one["actor"] for one in history("--actor", "operator")] == [ME, "operator anna"]
    assert [one["new"] for one in history("--actor", "anna")] == ["running"]
    assert [one["new"] for one in history("--since", "36h")] == ["suppressed"]
    assert [one["new"] for one in history("--since", (NOW - timedelta(days=2, hours=1)).isoformat())][1:] == [
        "planning"
    ]
    assert [one["new"] for one in history("--limit", "1")] == ["suppressed"]
    assert "nobody has done anything" in said("history", "--actor", "nobody")


@pytest.mark.usefixtures("project")
def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(InputError, match="--since: 'yesterday' is no instant"):
        said("history", "--since", "yesterday")
    with pytest.raises(NotFoundError, match="'lnch' was never launched"):
        said("history", "lnch")


def test_an_import_is_one_line_without_a_person_and_none_when_it_changes_nothing(project: Path) -> None:
    (project / "s.csv").write_text("channel,address,why\nsms,+4917000000001,stop\nsms,+4917000000002,stop\nsms,,stop\n")
    (project / "s.yaml").write_text("columns: {channel: channel, address: address, reason: why}\n")
    for _ in range(2):
        said("import", "suppressions", "s.csv", "--mapping", "s.yaml")
    [line] = [one for one in history() if one["new"] == "imported"]
    assert (line["actor"], line["reason"]) == (ME, "suppressions: 2 new or changed, 1 rejected")
