"""A deployment in a folder of its own: settings, a campaign that is due, people, and the programs run there."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from orchestrator.store import Store, upgrade
from orchestrator.store.tables import message, run
from tests import world
from tests.far_end import free_port, wait_for

LUNCH = datetime(2026, 12, 7, 9, 35, tzinfo=UTC)
"""10:35 in Berlin: the window is open, and stays so for the length of a test."""
CANARIES = ("canary-token", "+4915100000", "Canaria", "canary-body", "canary-key")
"""What no log may ever hold."""


@dataclass(slots=True)
class Place:
    """The folder."""

    folder: Path
    port: int

    def write(self, name: str, content: object) -> None:
        """A file; anything but text as JSON, which is YAML too."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=2)
        path.write_text(text, encoding="utf-8")

    def fill(self, **changes: Any) -> Place:
        """Settings, campaign, segments and templates."""
        account = {"provider": "log", "rate": 500, "burst": 50, "ramp": 0}
        sms = {**account, "channel": "sms", "options": {"file": "sms.jsonl", "channel": "sms"}}
        push = {**account, "channel": "push", "options": {"file": "push.jsonl"}}
        clock = {"start": LUNCH.isoformat(), "origin": datetime.now(UTC).isoformat(), "speed": 20.0}
        common = {"port": self.port, "api_keys": ["canary-key"], "clock": clock, "database": "o.db"}
        self.write("orchestrator.yaml", {**common, "accounts": {"fcm": push, "twilio": sms}})
        window = {"local": "10:30-11:45", "spread": "0%"}
        self.write("campaigns/lunch.yaml", {**world.DEFINITION, "window": window, **changes})
        for name, segment in world.SEGMENTS.items():
            self.write(f"campaigns/segments/{name}.yaml", segment)
        for name, template in world.TEMPLATES.items():
            self.write(f"templates/{name}", template)
        self.write("templates/lunch/push.en.j2", "title: Hello {{ user.name }}\n\ncanary-body\n")
        return self

    def people(self, count: int) -> None:
        """Who can be reached by push, and by SMS half an hour later."""
        store = Store(str(self.folder / "o.db"))
        upgrade(store)
        for n in range(count):
            phone = f"{CANARIES[1]}{n:04d}"
            world.person(store, f"u{n}", push=f"canary-token-{n}", phone=phone, at=LUNCH - timedelta(days=9))
        store.close()

    def cli(self, *args: str, code: int = 0) -> str:
        """One command; what it said. Fails when its exit code is another."""
        done = subprocess.run(
            self._command(*args), check=False, cwd=self.folder, env=self._env(), capture_output=True, timeout=60
        )
        said = done.stdout.decode() + done.stderr.decode()
        assert done.returncode == code, said
        return said

    @contextmanager
    def daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        """The daemon, ready, for the length of a block."""
        with (self.folder / "daemon.log").open("ab") as log:
            process = subprocess.Popen(
                self._command("run", "--json-logs"), cwd=self.folder, env=self._env(), stderr=log, stdout=log
            )
            try:
                wait_for(lambda: process.poll() is not None or well(self.port), "the daemon to be well", seconds=30)
                assert process.poll() is None, self.log()
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                process.wait(10)

    def get(self, path: str) -> tuple[int, str]:
        return get(self.port, path)

    def log(self) -> str:
        return (self.folder / "daemon.log").read_text(encoding="utf-8")

    def sent(self, name: str = "push.jsonl") -> list[dict[str, Any]]:
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def counts(self) -> tuple[int, int]:
        """Runs and messages."""
        store = Store(str(self.folder / "o.db"), writer=False)
        with store.read() as connection:
            found = [
                connection.execute(select(func.count()).select_from(table)).scalar_one() for table in (run, message)
            ]
        store.close()
        return found[0], found[1]

    @staticmethod
    def _command(*args: str) -> list[str]:
        return [sys.executable, "-m", "orchestrator", *args]

    @staticmethod
    def _env() -> dict[str, str]:
        root = str(Path(__file__).parents[2])
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
        return {**kept, "PYTHONPATH": root, "COLUMNS": "200", "NO_COLOR": "1"}


def get(port: int, path: str) -> tuple[int, str]:
    """The status and the text of what a process of this machine answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def well(port: int) -> bool:
    """Whether a process says that it is."""
    try:
        return get(port, "/healthz")[0] == 200
    except OSError:
        return False


def place(folder: Path) -> Place:
    """A deployment that works."""
    return Place(folder, free_port()).fill()
