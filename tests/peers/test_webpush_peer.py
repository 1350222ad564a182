"""Web Push against somebody else's push service: npm ``web-push-testing``, which opens what it is sent.

Installed once into ``.peers/``. Without npm, or without a registry, there is nothing to test against.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator.channel.base import Envelope, Outcome, OutcomeClass, PushPayload
from orchestrator.channel.outward import Outward
from orchestrator.channel.push.webpush import WebPushChannel
from orchestrator.channel.push.webpush_crypto import base64url, public_point
from orchestrator.channel.push.webpush_endpoint import Endpoints
from orchestrator.channel.push.webpush_vapid import Vapid
from orchestrator.clock import SystemClock

PACKAGE = "web-push-testing@1.2.2"
FOLDER = Path(".peers/web-push-testing")
KEY = ec.generate_private_key(ec.SECP256R1())
PAYLOAD = PushPayload("午餐", "回来吧 \U0001f35c", link="https://app.example/x", data={"coupon": "A"})
START = (
    "const [Model, Server] = ['PushApiModel', 'server'].map(n => require(process.argv[1] + '/src/' + n));"
    "new Server(new (Model.PushApiModel || Model)(), Number(process.argv[2])).startServer();"
)


def installed() -> Path:
    """Where the package is; the test is skipped when it cannot be had."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("npm and node are not installed")
    place = (FOLDER / "node_modules" / "web-push-testing").resolve()
    if not place.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(FOLDER), PACKAGE]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=120)
        except (subprocess.SubprocessError, OSError) as error:
            pytest.skip(f"npm install {PACKAGE} failed: {type(error).__name__}")
    return place


def ask(url: str, **form: Any) -> Any:
    request = Request(url, urlencode(form).encode(), {"content-type": "application/x-www-form-urlencoded"})
    with urlopen(request, timeout=5) as answer:
        read = answer.read()
    return json.loads(read) if read.startswith(b"{") else None


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    place = installed()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://localhost:{port}"
    server = subprocess.Popen(["node", "-e", START, str(place), str(port)])
    try:
        until = time.monotonic() + 15
        while True:
            try:
                ask(f"{url}/status")
                break
            except (URLError, ConnectionError):
                assert time.monotonic() < until, "web-push-testing did not start within 15 s"
                assert server.poll() is None, "web-push-testing ended"
                time.sleep(0.05)
        yield url
    finally:
        server.terminate()
        server.wait(10)


def subscribed(service: str, key: ec.EllipticCurvePrivateKey = KEY) -> Any:
    point = base64url(public_point(key))
    return ask(f"{service}/subscribe", userVisibleOnly="true", applicationServerKey=point)["data"]


def sent(service: str, subscription: Any) -> Outcome:
    envelope = Envelope(
        "4711", 1, subscription["endpoint"], "webpush", PAYLOAD, timedelta(minutes=5), "r1-7-1", subscription["keys"]
    )

    async def main() -> Outcome:
        clock = SystemClock()
        vapid = Vapid(KEY, "mailto:push@food.example", clock)
        services = Outward(timedelta(seconds=5), clock)
        channel = WebPushChannel(vapid, Endpoints(origin=service), services, clock)
        try:
            return await channel.send(replace(envelope))
        finally:
            await channel.close()

    return asyncio.run(main())


def test_it_opens_what_we_seal_and_believes_our_token(service: str) -> None:
    subscription = subscribed(service)
    assert sent(service, subscription).kind is OutcomeClass.ACCEPTED
    got = ask(f"{service}/get-notifications", clientHash=subscription["clientHash"])["data"]["messages"]
    assert [json.loads(each) for each in got] == [
        {
            "title": "午餐",
            "body": "回来吧 \U0001f35c",
            "link": "https://app.example/x",
            "data": {"coupon": "A"},
            "msg_id": "4711",
            "tag": "r1-7-1",
        }
    ]


def test_an_expired_subscription_ends_the_address(service: str) -> None:
    subscription = subscribed(service)
    try:
        ask(f"{service}/expire-subscription/{subscription['clientHash']}")
    except HTTPError as error:
        pytest.fail(f"web-push-testing answers {error.code} to expire-subscription")
    assert sent(service, subscription).kind is OutcomeClass.DROP_ADDRESS


def test_a_subscription_of_another_key_is_refused(service: str) -> None:
    subscription = subscribed(service, ec.generate_private_key(ec.SECP256R1()))
    assert sent(service, subscription).kind is OutcomeClass.DROP_MESSAGE  # it says so in words of its own: 400
