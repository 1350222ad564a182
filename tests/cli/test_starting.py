"""``init``: a folder in which everything its README says works."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.errors import InputError
from tests.docs.pages import ROOT, blocks


def run(folder: Path, *words: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", *words],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_command_of_the_readme_works_in_a_new_project(tmp_path: Path) -> None:
    assert "shop is ready" in run(tmp_path, "init", "shop")
    shop = tmp_path / "shop"
    [english] = blocks((shop / "README.md").read_text(encoding="utf-8"), "")
    [chinese] = blocks((shop / "README.zh.md").read_text(encoding="utf-8"), "")
    commands = [shlex.split(line, comments=True)[1:] for line in english.splitlines()]
    assert commands == [shlex.split(line, comments=True)[1:] for line in chinese.splitlines()]
    said = {command[0]: run(shop, *command) for command in commands}
    assert "ok come-back" in said["validate"]
    assert "0 rejected" in said["import"]
    assert "7 users" in said["segment"]
    assert "7 people in the audience" in said["plan"]
    assert "The budget has 20,000 parts left" in said["plan"]
    assert "accepted written" in said["send-test"]
    assert "running as version" in said["launch"]
    assert json.loads((shop / "out/push.jsonl").read_text().splitlines()[0])["to"] == "…oken"
    assert (shop / ".gitignore").is_file()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    for folder in (tmp_path, tmp_path / "kept"):
        result = CliRunner().invoke(app, ["init", str(folder)])
        assert isinstance(result.exception, InputError)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert CliRunner().invoke(app, ["init", str(tmp_path / "new")]).exit_code == 0
    with pytest.raises(FileExistsError):
        (tmp_path / "new/orchestrator.yaml").touch(exist_ok=False)
