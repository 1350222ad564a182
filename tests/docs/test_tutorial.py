"""The tutorial works as written, from two CSV files to a report; both languages have the same commands."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import page
from tests.far_end import free_port, wait_for

LANGUAGES = ("tutorial.md", "tutorial.zh.md")
PATIENCE_SECONDS = 90
QUIET_SECONDS = 3
READY = {"orchestrator sandbox": "inbox at", "orchestrator run": '"ready"'}
"""What a program that stays open says when it is up."""


def steps(name: str) -> list[tuple[str, str]]:
    """Every block of commands, with how it is meant: "" to be typed, ``terminal`` stays open, ``fails``."""
    return re.findall(r"^```sh ?(\w*)\n(.*?)^```$", page(name), re.MULTILINE | re.DOTALL)


class Reader:
    """Somebody who types the blocks, in a folder beside a checkout; ports are free ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {"8090": str(free_port()), "8080": str(free_port())}
        self.open: list[subprocess.Popen[bytes]] = []
        self.seen = ""
        (folder / ".venv").symlink_to(Path(sys.executable).parents[1])

    def read(self, name: str) -> None:
        for kind, block in steps(name):
            script = re.sub(r"\b(8090|8080)\b", lambda port: self.ports[port[1]], block)
            if kind == "terminal":
                self.leave_open(script)
            else:
                self.type(script, fails=kind == "fails")
            if "orchestrator run\n" in script:
                wait_for(self.quiet, "the last SMS to leave", seconds=PATIENCE_SECONDS)

    def type(self, script: str, *, fails: bool) -> None:
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(command, cwd=self.cwd, env=self.environment, capture_output=True, text=True, check=False)
        self.seen += done.stdout + done.stderr
        assert (done.returncode == 2) if fails else (done.returncode == 0), script + done.stdout + done.stderr

    def leave_open(self, script: str) -> None:
        log = self.cwd / f"terminal-{len(self.open)}.log"
        with log.open("wb") as file:
            terminal = subprocess.Popen(
                ["bash", "-euc", script],
                cwd=self.cwd,
                env=self.environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.open.append(terminal)
        says = READY[" ".join(script.strip().splitlines()[-1].split()[:2])]
        wait_for(lambda: says in log.read_text(), f"{script} to be up", seconds=30)

    def close(self) -> None:
        """Ctrl-C in each terminal: to the shell and to what runs in it."""
        for terminal in reversed(self.open):
            os.killpg(terminal.pid, signal.SIGINT)
            assert terminal.wait(40) in {0, 130, -signal.SIGINT}

    def quiet(self) -> bool:
        """Everybody but the held out has a push, and nothing new comes."""
        pushes = {line["to"] for line in self.accepted() if line["provider"] == "fcm"} - {"my-push-token"}
        latest: float = self.accepted()[-1]["time"] if pushes else 0
        return len(pushes) >= 6 and time.time() - latest > QUIET_SECONDS

    def accepted(self) -> list[dict[str, Any]]:
        path = self.cwd / ".sandbox" / "accepted.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    @property
    def cwd(self) -> Path:
        shop = self.folder / "shop"
        return shop if shop.is_dir() else self.folder

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ORCHESTRATOR_")}
        return {**kept, "PATH": f"{self.folder}/.venv/bin:{kept['PATH']}", "COLUMNS": "120", "PYTHONUNBUFFERED": "1"}


@contextmanager
def reader(folder: Path) -> Iterator[Reader]:
    made = Reader(folder)
    try:
        yield made
    finally:
        made.close()


def test_both_languages_have_the_same_commands() -> None:
    english, chinese = map(steps, LANGUAGES)
    assert len(english) > 15
    assert english == chinese


def test_the_mistake_is_told_as_the_page_says() -> None:
    (told,) = {re.findall(r"^campaigns/.*$", page(name), re.MULTILINE)[0] for name in LANGUAGES}
    assert "did you mean 'sms'" in told


@pytest.mark.slow
def test_it_leads_to_a_report(tmp_path: Path) -> None:
    """Every block of the page; the commands are the same in both languages, so one walk is both."""
    with reader(tmp_path) as somebody:
        somebody.read(LANGUAGES[0])
        seen, shop = somebody.seen, somebody.cwd
    for words in (
        "quiet-30-days: 7 users",
        "10 rows, 0 new or changed, 10 as before, 0 rejected",
        "campaigns/my-first-lunch.yaml:10: steps.2.channel: unknown channel 'smss' (did you mean 'sms'?)",
        "ok my-first-lunch",
        "my-first-lunch is running as version",
        "29.50",
        "User u-1001 in Our first lunch",
        "my-first-lunch is stopped",
    ):
        assert words in seen, words
    assert "Our first lunch" in (shop / "report.html").read_text(encoding="utf-8")
    assert "第一次午餐召回" in (shop / "report.zh.html").read_text(encoding="utf-8")
