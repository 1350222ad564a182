"""What each stand-in posts about a message, and what the real channel makes of it: the way back of the round trip."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from typing_extensions import override

from orchestrator.channel.base import Channel, Outcome, OutcomeClass
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Report, ReportState
from orchestrator.sandbox.accounts import CALLING
from orchestrator.sandbox.server import Options, Sandbox
from tests.channels.conftest import PROVIDERS, Bench

REPORTING = tuple(provider for provider in PROVIDERS if provider in CALLING)
BY_ID_ALONE = {"getui"}
"""Its receipts carry nothing of ours: only the provider's own id tells which message is meant."""
UNSIGNED = {"aliyun", "gateway"}
"""Their forgeries come to the right path, and lie: they are asked about before anything is destroyed."""
IN_THE_URL = {"twilio"}
"""Our id stands in the address that is called."""


@dataclass
class Deployment:
    """The server that providers call."""

    url: str = ""
    came: list[CallbackRequest] = field(default_factory=list)

    def wait(self, account: str, count: int) -> list[CallbackRequest]:
        deadline = time.monotonic() + 8
        while len(self.of(account)) < count and time.monotonic() < deadline:
            time.sleep(0.01)  # the posts come from another thread; the deadline bounds it
        assert len(self.of(account)) >= count, f"nothing came for {account}"
        return self.of(account)

    def of(self, account: str) -> list[CallbackRequest]:
        return [each for each in self.came if f"/callbacks/{account}/" in each.url]


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    kept = Deployment()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # its name
            body = self.rfile.read(int(self.headers["content-length"]))
            parts = urlsplit(self.path)
            hook = "/".join(parts.path.split("/")[3:])
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = CallbackRequest(kept.url + self.path, hook, dict(parse_qsl(parts.query)), headers, body)
            kept.came.append(request)
            self.send_response(200)
            self.end_headers()

        @override
        def log_message(self, format: str, *args: Any) -> None:  # its name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield kept
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def told(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A sandbox that was told where the deployment is (``--app``)."""
    with Sandbox(Options(tmp_path_factory.mktemp("told"), delay=0.05, app=deployment.url)) as sandbox:
        yield Bench(sandbox, deployment.url)


async def _heard(channel: Channel, deployment: Deployment, provider: str) -> list[Heard | Refused]:
    """What the channel makes of all that came, SNS's question about the subscription answered on the way."""
    done: list[Heard | Refused] = []
    for _ in range(100):
        for request in deployment.of(provider)[len(done) :]:
            done += [await channel.hear(request)]  # type: ignore[attr-defined]  # what of these all implement
        if any(isinstance(each, Heard) and _final(each) for each in done):
            break
        await asyncio.sleep(0.05)
    return done


def _final(heard: Heard) -> list[Report]:
    return [said for said in heard.said if isinstance(said, Report) and said.state is not ReportState.SENT]


@pytest.mark.parametrize("provider", REPORTING)
def test_the_receipt_names_the_message_and_is_believed(told: Bench, deployment: Deployment, provider: str) -> None:
    deployment.came.clear()
    envelope = told.envelope(provider)

    async def there_and_back(channel: Channel) -> tuple[Outcome, list[Heard | Refused]]:
        return await channel.send(envelope), await _heard(channel, deployment, provider)

    outcome, heard = told.run(provider, there_and_back, patience=5)
    assert outcome.kind is OutcomeClass.ACCEPTED
    assert not any(isinstance(each, Refused) for each in heard)
    [report] = [one for each in heard if isinstance(each, Heard) for one in _final(each)]
    assert (report.state, report.kind) == (ReportState.DELIVERED, None)
    number = int(envelope.message_id)
    if provider in IN_THE_URL:
        assert deployment.of(provider)[0].query["m"] == envelope.message_id
    elif provider in BY_ID_ALONE:
        assert report.provider_id == outcome.provider_id
    else:
        assert report.message_id == number


@pytest.mark.parametrize("provider", [each for each in REPORTING if each not in UNSIGNED])
def test_a_forged_receipt_is_not_believed(told: Bench, deployment: Deployment, provider: str) -> None:
    """Signed by a stranger, or posted to a path that a stranger guessed."""
    deployment.came.clear()
    told.customer.fault("callback", "forged")
    try:
        told.send(told.envelope(provider), provider=provider, patience=5)
        came = deployment.wait(provider, 1)
    finally:
        told.customer.ask("DELETE", "/sandbox/faults")

    async def hear(channel: Channel) -> list[Heard | Refused]:
        return [await channel.hear(each) for each in came]  # type: ignore[attr-defined]

    assert set(told.run(provider, hear)) == {Refused.FORGED}
