"""The sandbox as a process, for tests: started on a free port, asked over HTTP, stopped at the end."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.settings import AccountSettings, Settings


@dataclass(frozen=True, slots=True)
class FarEnd:
    """A running sandbox."""

    port: int
    state: Path
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            answer = connection.getresponse().read()
        finally:
            connection.close()
        return json.loads(answer) if answer else None

    def accepted(self) -> list[dict[str, Any]]:
        """Everything the providers took, from the fsynced log."""
        path = self.state / "accepted.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]

    def fault(self, **values: Any) -> None:
        self.ask("POST", "/sandbox/faults", values)

    def calm(self) -> None:
        self.ask("DELETE", "/sandbox/faults")

    def settings(self, database: Path | str, **more: Any) -> Settings:
        """Settings of a deployment that sends here."""
        common = {"rate": 2000.0, "burst": 200, "ramp": 0.0, "connections": 64}
        fcm = {"service_account_file": str(self.state / "service-account.json"), "base_url": self.url}
        auth = {"account_sid": self.sid, "auth_token_file": str(self.state / "twilio-auth-token")}
        twilio = {**auth, "from": "+15005550006", "base_url": self.url}
        accounts = {
            "mail": AccountSettings(channel="email", provider="smtp", options=self.mail_options(), **common),
            "fcm": AccountSettings(channel="push", provider="fcm", options=fcm, **common),
            "twilio": AccountSettings(channel="sms", provider="twilio", options=twilio, **common),
        }
        return Settings(database=str(database), accounts=accounts, **more)

    def mail_options(self) -> dict[str, Any]:
        """Options of an account at the sandbox's mail server."""
        key = self.state / "verp.key"
        if not key.exists():  # several daemons start at once, and read it
            own = self.state / f"verp.key.{os.getpid()}"
            own.write_text("a key for tests alone, of no use elsewhere")
            own.replace(key)
        return {
            "host": "127.0.0.1",
            "port": int((self.state / "smtp-port").read_text()),
            "tls": "none",
            "from": "Food <news@food.example>",
            "bounce": "bounce@b.food.example",
            "unsubscribe_mailto": "unsubscribe@b.food.example",
            "verp_key_file": str(key),
        }

    @property
    def sid(self) -> str:
        from orchestrator.sandbox.credentials import ACCOUNT_SID

        return ACCOUNT_SID


@contextmanager
def far_end(state: Path, *, port: int = 0, inbound: str = "") -> Iterator[FarEnd]:
    """A sandbox for the length of a block."""
    state.mkdir(parents=True, exist_ok=True)
    log = (state / "sandbox.log").open("wb")
    taken = port or free_port()
    command = [sys.executable, "-X", "faulthandler", "-m", "orchestrator.sandbox", "--port", str(taken)]
    command += ["--state", str(state)]
    if inbound:
        command += ["--callback-inbound", inbound]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        made = FarEnd(taken, state, process.pid)
        wait_for(lambda: _up(made), "the sandbox to answer", seconds=20)
        yield made
    finally:
        _stop(process)
        log.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a sandbox. One that does not end in time writes where it stands to its log; that it ends has its own test."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        process.wait()


def _up(made: FarEnd) -> bool:
    try:
        made.ask("GET", "/healthz")
    except OSError:
        return False
    return True


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Any, what: str, *, seconds: float = 15) -> None:
    """Wait until ``condition()``; fail with ``what`` was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.02)
