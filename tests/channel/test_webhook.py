"""Our own webhooks: the signature of Standard Webhooks, and where nothing is ever posted."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from typing_extensions import override

from orchestrator.channel.webhook import outward, post, signature, signing_key, wrong_webhook
from orchestrator.errors import InputError

AT = datetime.fromtimestamp(1674087231, UTC)
SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"


def test_the_signature_of_the_standards_own_example() -> None:
    body = b'{"event_type":"ping","data":{"success":true}}'
    made = signature(signing_key("whsec_plJ3nmyCDGBKInavdOK15jsl" + "AAAAAAAAAAAA"), "msg_1", AT, body)
    assert made.startswith("v1,")
    assert len(made) == 3 + 44
    assert made != signature(signing_key("whsec_" + "B" * 40), "msg_1", AT, body)


@pytest.mark.parametrize("secret", ["", "whsec_", "plJ3nmyCDGBKInavdOK15jsl" * 2, "whsec_c2hvcnQ=", "whsec_?"])
def test_what_is_no_secret_is_refused(secret: str) -> None:
    with pytest.raises(InputError):
        signing_key(secret)


@pytest.mark.parametrize(
    "inward",
    [
        *("127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.0.1", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
        *("::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"),
        *("192.88.99.1", "ff02::1"),
    ],
)
def test_addresses_that_lead_inward(inward: str) -> None:
    assert not outward(ipaddress.ip_address(inward))


@pytest.mark.parametrize("open_", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_addresses_of_the_open_internet(open_: str) -> None:
    assert outward(ipaddress.ip_address(open_))


@pytest.mark.parametrize(
    "url",
    [
        *("http://hooks.example/x", "ftp://hooks.example", "https://user:pw@hooks.example", "https://", "x"),
        *("https://hooks.example:22/x", "https://hooks.example:99999/", "https://hooks.example/#f", "https://u@h/"),
    ],
)
def test_urls_that_nothing_is_posted_to(url: str) -> None:
    assert wrong_webhook(url)


def test_urls_that_may_be() -> None:
    for url in (
        "https://hooks.example/T0/B0",
        "https://hooks.example:8443/",
        "http://127.0.0.1:9/x",
        "http://localhost/",
    ):
        assert wrong_webhook(url) == ""


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1"])
def test_names_are_judged_by_what_they_resolve_to(host: str) -> None:
    said = asyncio.run(post(f"https://{host}/x", None, "n", AT, b"{}"))
    assert said == "the name cannot be resolved, or leads into a private network"


@contextmanager
def listener(status: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    heard: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            heard.append({**{name.lower(): value for name, value in self.headers.items()}, "body": body})
            self.send_response(status)
            self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        @override
        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_signed_body_is_posted_once() -> None:
    key = signing_key("whsec_" + "B" * 40)
    with listener(204) as (url, heard):
        assert asyncio.run(post(url, key, "budget:lunch", AT, b'{"a":1}')) == ""
    [request] = heard
    assert json.loads(request["body"]) == {"a": 1}
    assert request["webhook-id"] == "budget:lunch"
    assert request["webhook-timestamp"] == "1674087231"
    assert request["webhook-signature"] == signature(key, "budget:lunch", AT, b'{"a":1}')


@pytest.mark.parametrize("status", [302, 307, 404, 500])
def test_what_is_not_a_yes_is_said_and_no_redirect_is_followed(status: int) -> None:
    with listener(status) as (url, heard):
        assert asyncio.run(post(url, None, "n", AT, b"{}")) == f"status {status}"
    assert len(heard) == 1


def test_nobody_there() -> None:
    assert asyncio.run(post("http://127.0.0.1:1/x", None, "n", AT, b"{}")) == "connect"
