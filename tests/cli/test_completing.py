"""Tab: names that are cheap to find, and silence where something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli import completing
from tests import world
from tests.docs.pages import ROOT


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORCHESTRATOR_CONFIG", raising=False)
    (tmp_path / "campaigns/segments").mkdir(parents=True)
    for name in ("lunch", "lunch-late", "dinner", "segments/everybody"):
        (tmp_path / f"campaigns/{name}.yaml").write_text("name: x\n")
    (tmp_path / "orchestrator.yaml").write_text("accounts: {fcm: {channel: push, provider: log}}\n")
    return tmp_path


def tab(folder: Path, line: str) -> list[str]:
    """What bash is told when Tab is pressed at the end of a line."""
    words = line.split(" ")
    asked = {"_ORCHESTRATOR_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator"],
        cwd=folder,
        env={**os.environ, **asked, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_a_shell_is_offered_campaigns_and_commands(here: Path) -> None:
    assert tab(here, "orchestrator launch lu") == ["lunch", "lunch-late"]
    assert tab(here, "orchestrator send-test d") == ["dinner"]
    assert tab(here, "orchestrator rest") == ["restore"]


def test_segments_accounts_and_users(here: Path) -> None:
    assert completing.segments("") == ["everybody"]
    assert completing.accounts("f") == ["fcm"]
    assert completing.users("u") == []  # there is no database yet
    store = world.fresh(here / "orchestrator.db")
    for name in ("u1", "u12", "v1"):
        world.person(store, name)
    store.close()
    assert completing.users("u1") == ["u1", "u12"]
    assert completing.users("") == []


def test_broken_settings_offer_nothing(here: Path) -> None:
    (here / "orchestrator.yaml").write_text("accounts: 7\n")
    assert completing.campaigns("l") == []
    assert tab(here, "orchestrator launch lu") == []
