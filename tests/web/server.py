"""The real application behind a real uvicorn on a free port, and a plain client for it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import uvicorn
from twilio.request_validator import RequestValidator

from orchestrator.campaign.topics import Topic
from orchestrator.channel.callback import CallbackRequest, Callbacks, Heard, Refused
from orchestrator.channel.sms.twilio_callbacks import Signature, hear
from orchestrator.clock import ManualClock
from orchestrator.content.links import Links
from orchestrator.store import Store
from orchestrator.web.app import create_app
from tests.tracking.mails import Box
from tests.tracking.world import NOW

KEY = "key-of-the-app"
PUBLIC = "https://push.example.com/hooks"
TOKEN = "12345"
LINKS = Links(PUBLIC, b"key of links, of 32 bytes length!")
TOPICS = {"promotions": Topic("promotions", {"en": "Offers & coupons", "zh": "优惠和红包"}), "recap": Topic("recap")}


class Ear:
    """Twilio's callbacks without Twilio's sending."""

    signature = Signature(TOKEN, None)

    async def hear(self, request: CallbackRequest) -> Heard | Refused:
        return hear(self.signature, request)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    port: int
    clock: ManualClock
    health: dict[str, object] = field(default_factory=lambda: {"ok": True})

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(
                method, path, body, dict(headers or {}), encode_chunked=not isinstance(body, bytes | None)
            )
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def post_raw(self, body: bytes, key: str | None = KEY) -> Answer:
        return self.request("POST", "/v1/events", body, {"Authorization": f"Bearer {key}"} if key else {})

    def post(self, *events: Mapping[str, Any]) -> Answer:
        return self.post_raw(json.dumps({"events": events}).encode())

    def call_back(
        self, path: str, form: Mapping[str, str], signature: str | None = None, method: str = "POST"
    ) -> Answer:
        """As Twilio does it: signed for the public URL, arriving at another host."""
        signed = signature if signature is not None else sign(path, form)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signed}
        return self.request(method, path, urlencode(form).encode(), headers)


def sign(path: str, form: Mapping[str, str], token: str = TOKEN) -> str:
    return str(RequestValidator(token).compute_signature(PUBLIC + path, dict(form)))


@contextmanager
def serving(
    store: Store,
    *,
    keys: tuple[str, ...] = (KEY,),
    links: Links = LINKS,
    ears: Mapping[str, Callbacks] | None = None,
) -> Iterator[Client]:
    client = Client(0, ManualClock(NOW))
    app = create_app(
        store,
        client.clock,
        api_keys=keys,
        public_url=PUBLIC,
        callbacks={"sms-main": Ear(), **(ears or {})},
        account_channels={
            "sms-main": ("sms", "twilio"),
            "mail": ("email", "smtp"),
            **{name: ("email", name) for name in ears or {}},
        },
        postboxes={"mail": Box()},
        health=lambda: client.health,
        links=links,
        topics=lambda: TOPICS,
    )
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline, "uvicorn did not start"
        assert thread.is_alive(), "uvicorn died"
        time.sleep(0.005)
    client.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield client
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
