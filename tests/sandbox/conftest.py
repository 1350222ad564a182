"""A sandbox per test, and customers that speak to it as a plain HTTP client would."""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from orchestrator.sandbox.credentials import ACCOUNT_SID, CLIENT_EMAIL, FROM_NUMBER
from orchestrator.sandbox.push.oauth import GRANT_TYPE
from orchestrator.sandbox.server import Options, Sandbox

MESSAGES = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages"
TOKEN = "APA91bE-a-token-of-some-length"
PHONE = "+4915112345678"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json["error"]

    @property
    def fcm_code(self) -> str | None:
        codes = [each.get("errorCode") for each in self.error.get("details", [])]
        return next((code for code in codes if code), None)


class Customer:
    """One who holds the credentials of a sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.bearer = ""

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, timeout: float = 10
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.sandbox.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, fields, answer.read())
        finally:
            connection.close()

    def assertion(self, **changed: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": CLIENT_EMAIL,
            "scope": "https://www.googleapis.com/auth/firebase.messaging",
            "aud": self.sandbox.credentials.token_uri,
            "iat": now,
            "exp": now + 3600,
            **changed,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.sandbox.credentials.private_key_pem, algorithm="RS256")

    def grant(self, assertion: str) -> Answer:
        form = urlencode({"grant_type": GRANT_TYPE, "assertion": assertion}).encode()
        return self.ask("POST", "/token", form, {"content-type": "application/x-www-form-urlencoded"})

    def push(self, message: Any = None, *, project: str = "sandbox-project", timeout: float = 10, **top: Any) -> Answer:
        self.bearer = self.bearer or self.grant(self.assertion()).json["access_token"]
        body = json.dumps({"message": {"token": TOKEN} if message is None else message, **top}).encode()
        headers = {"authorization": f"Bearer {self.bearer}", "content-type": "application/json"}
        return self.ask("POST", f"/v1/projects/{project}/messages:send", body, headers, timeout)

    def text(self, *, timeout: float = 10, **fields: str) -> Answer:
        form = {"To": PHONE, "From": FROM_NUMBER, "Body": "hello", **fields}
        body = urlencode({name: value for name, value in form.items() if value != "-"}).encode()
        headers = {**self.basic(), "content-type": "application/x-www-form-urlencoded"}
        return self.ask("POST", f"{MESSAGES}.json", body, headers, timeout)

    def basic(self) -> dict[str, str]:
        pair = f"{ACCOUNT_SID}:{self.sandbox.credentials.auth_token}".encode()
        return {"authorization": "Basic " + base64.b64encode(pair).decode()}

    def list(self, **query: Any) -> Any:
        return self.ask("GET", f"{MESSAGES}.json?{urlencode(query)}", headers=self.basic()).json

    def fault(self, provider: str, kind: str, **options: Any) -> Answer:
        body = json.dumps({"provider": provider, "kind": kind, **options}).encode()
        return self.ask("POST", "/sandbox/faults", body)

    def reply(self, text: str, to: str = PHONE) -> Answer:
        return self.ask("POST", "/sandbox/reply", json.dumps({"to": to, "text": text}).encode())

    def accepted(self) -> Any:
        return self.ask("GET", "/sandbox/messages").json["messages"]


Open = Callable[..., Customer]


@pytest.fixture
def open_sandbox(tmp_path: Path) -> Iterator[Open]:
    """Start a sandbox with options of the test's own."""
    running: list[Sandbox] = []

    def start(**options: Any) -> Customer:
        sandbox = Sandbox(Options(**{"state": tmp_path / "sandbox", "delay": 0.02, **options}))
        running.append(sandbox.__enter__())
        return Customer(sandbox)

    yield start
    for sandbox in running:
        sandbox.__exit__(None, None, None)


@pytest.fixture(scope="module")
def refuser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Customer]:
    """A sandbox shared by tests that get nothing accepted; starting one takes a third of a second."""
    with Sandbox(Options(tmp_path_factory.mktemp("sandbox"))) as sandbox:
        yield Customer(sandbox)


@pytest.fixture
def customer(open_sandbox: Open) -> Customer:
    return open_sandbox()
