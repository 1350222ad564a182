"""The sandbox as a process: started, killed, started again, stopped; and its page."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.sandbox.app import ASSETS
from tests.sandbox.conftest import PHONE, TOKEN, Customer, Open


@contextmanager
def process(state: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "orchestrator.sandbox", "--port", "0", "--state", str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout is not None
        yield running, running.stdout.readline()
        running.kill()


def test_sigterm_ends_it_within_two_seconds_or_so_though_somebody_is_kept_waiting(tmp_path: Path) -> None:
    with process(tmp_path) as (running, first_line):
        port = int(first_line.rstrip("/\n").rpartition(":")[2])
        fault = b'{"provider": "token", "kind": "silence"}'
        assert _raw(port, b"POST /sandbox/faults", fault)[1].startswith(b"HTTP/1.1 201")
        waiting, _ = _raw(port, b"POST /token", b"", wait=False)
        start = time.monotonic()
        running.send_signal(signal.SIGTERM)
        assert running.wait(5) == 0
        assert time.monotonic() - start < 2.5
        waiting.close()


def _raw(port: int, line: bytes, body: bytes, *, wait: bool = True) -> tuple[socket.socket, bytes]:
    client = socket.create_connection(("127.0.0.1", port), timeout=5)
    client.sendall(line + b" HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    answer = client.recv(1000) if wait else b""
    if wait:
        client.close()
    return client, answer


def test_credentials_are_made_once_private_and_follow_the_port(open_sandbox: Open) -> None:
    first = open_sandbox()
    state = first.sandbox.options.state
    account = json.loads((state / "service-account.json").read_text())
    assert account["token_uri"] == f"http://127.0.0.1:{first.sandbox.port}/token"
    assert (state / "service-account.json").stat().st_mode & 0o077 == 0
    assert (state / "twilio-auth-token").stat().st_mode & 0o077 == 0
    first.sandbox.__exit__(None, None, None)
    second = open_sandbox()
    again = json.loads((state / "service-account.json").read_text())
    assert again["private_key"] == account["private_key"]
    assert again["token_uri"] == f"http://127.0.0.1:{second.sandbox.port}/token"
    assert second.sandbox.credentials.auth_token == first.sandbox.credentials.auth_token


def test_everything_is_still_there_after_a_restart(open_sandbox: Open) -> None:
    first = open_sandbox()
    first.push()
    first.text()
    first.reply("STOP")
    bearer = first.bearer
    first.sandbox.__exit__(None, None, None)
    second = open_sandbox()
    second.bearer = bearer
    assert [each["seq"] for each in second.accepted()] == [1, 2]
    assert second.text().json["code"] == 21610
    assert second.push().json["name"].endswith("3")
    assert second.list(To=PHONE)["messages"][0]["status"] == "delivered"


def test_a_second_sandbox_on_the_same_folder_is_refused(open_sandbox: Open) -> None:
    state = open_sandbox().sandbox.options.state
    with process(state) as (running, first_line):
        assert "in use by another sandbox" in first_line
        assert running.wait(5) == 1


def test_the_inbox_shows_phones_and_knows_when_nothing_is_new(customer: Customer) -> None:
    customer.push({"token": TOKEN, "notification": {"title": "<b>", "body": "午餐"}, "data": {"msg_id": "1"}})
    customer.text(Body="午餐")
    customer.reply("STOP")
    page = customer.ask("GET", "/sandbox/inbox").json
    sms, push = page["phones"]
    assert (push["kind"], push["messages"][0]["title"]) == ("push", "<b>")
    assert (sms["address"], sms["stopped"], sms["replies"][0]["text"]) == (PHONE, True, "STOP")
    assert page["accepted"] == {"fcm": 1, "twilio": 1}
    assert customer.ask("GET", f"/sandbox/inbox?known={page['version']}").json["unchanged"]
    assert [p["kind"] for p in customer.ask("GET", "/sandbox/inbox?kind=sms").json["phones"]] == ["sms"]
    assert customer.ask("GET", "/sandbox/inbox?q=APA91b").json["phones"][0]["address"] == TOKEN
    assert customer.ask("GET", "/sandbox/inbox?q=nobody").json["phones"] == []
    assert customer.ask("GET", "/sandbox/inbox?limit=x").status == 400


def test_refusals_are_shown_for_who_wonders(customer: Customer) -> None:
    customer.push({"token": "dead-token"})
    refusal = customer.ask("GET", "/sandbox/inbox").json["refusals"][0]
    assert (refusal["provider"], refusal["status"]) == ("fcm", 404)


def test_the_page_is_served_whole_and_loads_nothing_from_elsewhere(customer: Customer) -> None:
    page = customer.ask("GET", "/")
    assert page.status == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    texts = [page.body.decode()]
    for name in ASSETS:
        answer = customer.ask("GET", f"/sandbox/assets/{name}")
        assert answer.status == 200
        texts.append(answer.body.decode())
    assert customer.ask("GET", "/sandbox/assets/..%2fapp.py").status == 404
    everything = "".join(texts).replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://", everything)
    assert "innerHTML" not in everything
