"""The page about triggers: its campaign is one, and what it shows is what the commands say."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from orchestrator.cli.app import app
from tests.docs.carts_project import HOUR, MINUTE, build, evening, morning
from tests.docs.pages import blocks, page
from tests.plan.carts import NOON

PAGE = page("howto/triggers.md")
SHOWN = re.findall(r"^```\n\$ orchestrator (.*?)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
BEFORE = [shown for shown in SHOWN if not shown[0].startswith("explain")]


def said(command: str) -> list[str]:
    """What a command prints, without what stands around it."""
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 0, (done.output, done.exception)
    return [line.rstrip() for line in done.output.splitlines() if line.strip()]


def check(command: str, shown: str) -> None:
    """Line by line; ``…`` stands for any."""
    there, at = said(command), 0
    anything = False
    for line in shown.splitlines():
        if line == "…":
            anything = True
            continue
        assert line in there[at:], (command, line, there)
        found = there.index(line, at)
        assert anything or found == at, (command, line)
        at, anything = found + 1, False


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's campaign, at an instant."""
    fields: dict[str, Any] = YAML(typ="safe").load(blocks(PAGE, "yaml")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def at(now: datetime) -> Path:
        build(tmp_path, fields, now)
        return tmp_path

    return at


def test_what_it_shows_is_what_is_said(shop: Any) -> None:
    assert len(SHOWN) == 8
    folder = shop(NOON)
    assert said("validate cart")[-1].startswith("ok cart: 1 step")
    for command, shown in BEFORE:
        check(command, shown)
    [cyd, dan, ada, bob] = [shown for shown in SHOWN if shown[0].startswith("explain")]
    evening(folder)
    shop(NOON + 10 * HOUR + 2 * MINUTE)
    check(*cyd)
    check(*dan)
    morning(folder)
    shop(NOON + 23 * HOUR + MINUTE)
    check(*ada)
    check(*bob)
