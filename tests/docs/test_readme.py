"""The README's first campaign works as written; links lead somewhere; no document knows one machine."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, blocks, section

PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
PATIENCE_SECONDS = 60
DAEMON = "orchestrator run\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("campaigns", "templates"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parents[1])
    return tmp_path


def shell(script: str, folder: Path) -> str:
    """What a user who types this would see; a command that fails ends it."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ORCHESTRATOR_")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**environment, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_until(folder: Path, words: str) -> None:
    """The daemon, until its log has these words; it has to end cleanly."""
    log = folder / "daemon.log"
    settings = {"ORCHESTRATOR_PORT": "0", "PATH": os.environ["PATH"]}
    with log.open("wb") as file:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", "run"],
            cwd=folder,
            stderr=file,
            env={**settings, "PYTHONPATH": str(ROOT)},
        )
    until = time.monotonic() + PATIENCE_SECONDS
    try:
        while words not in log.read_text() and time.monotonic() < until and daemon.poll() is None:
            time.sleep(0.1)
    finally:
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(PATIENCE_SECONDS) == 0, log.read_text()
    assert words in log.read_text()


@pytest.mark.slow
def test_the_first_campaign_works_as_written(checkout: Path) -> None:
    steps = blocks(section((ROOT / "README.md").read_text(encoding="utf-8"), "## A first campaign of your own"), "sh")
    daemon = steps.index(DAEMON)
    seen = shell("".join(steps[:daemon]), checkout)
    assert "dormant-lunch-regulars: 2 users" in seen
    assert "ok lunch-winback" in seen
    assert "lunch-winback is running as version" in seen
    run_until(checkout / "my-app", "run_planned")
    enter = f'export PATH="{checkout}/.venv/bin:$PATH"\n'
    told = shell(enter + "".join(steps[daemon + 1 :]), checkout / "my-app")
    assert "User u-1 in Lunch regulars who went quiet" in told
    assert (checkout / "my-app" / "report.html").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not link.startswith("https://"):
            assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_nothing_of_one_machine_is_in_the_documents(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|work|Users|tmp)/|pypi\.|index-url|files\.pythonhosted", text)


@pytest.mark.parametrize("page", sorted((DOCS / "adr").glob("0*.md")), ids=lambda page: page.stem)
def test_a_decision_has_its_parts_and_is_listed(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.name[:4]} ")
    assert f"]({page.name})" in (DOCS / "adr" / "README.md").read_text(encoding="utf-8")
    if "departed" not in page.name:
        assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == [
            "Context",
            "Decision",
            "Alternatives",
            "Consequences",
        ]
