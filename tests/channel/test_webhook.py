"""Our own webhooks: what operators are told, and the channel that posts messages to a server of the app's own."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import secrets
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typing_extensions import override

from orchestrator.channel.base import Envelope, Health, Inquiry, Outcome, OutcomeClass, PushPayload, Scope, SmsPayload
from orchestrator.channel.outward import Outward, Target, read_target
from orchestrator.channel.plugins import open_channel
from orchestrator.channel.standard_webhooks import post, signature, signing_key
from orchestrator.channel.webhook import BODY_LIMIT, WebhookChannel
from orchestrator.clock import ManualClock
from orchestrator.errors import ConfigError
from tests.channel.far_end import Act, FarEnd, answers, drip, garbage, hang_up, html, huge, reset, silence
from tests.channel.sink import HOSTILE, lying_resolver, sink

AT = datetime.fromtimestamp(1674087231, UTC)
K = OutcomeClass
KEYS = [b"k" * 32, b"p" * 32]
PAYLOAD = PushPayload("午餐", "Canarybody", link="https://app.example/x", image="", data={"coupon": "A"})
ENVELOPE = Envelope("4711", 1, "user-7", "user", PAYLOAD, timedelta(minutes=90), "r1-7-1", ack="4711.sig")


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1"])
def test_names_are_judged_by_what_they_resolve_to(host: str) -> None:
    said = asyncio.run(post(f"https://{host}/x", None, "n", AT, b"{}"))
    assert said == "the name leads into a private network"


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


@asynccontextmanager
async def opened(clock: ManualClock, *acts: Act, patience: float = 0.5) -> AsyncIterator[tuple[WebhookChannel, FarEnd]]:
    async with FarEnd() as far:
        far.plays("/hook", *acts)
        target = read_target(f"{far.url}/hook")
        assert isinstance(target, Target)
        channel = WebhookChannel(target, KEYS, Outward(timedelta(seconds=patience), clock), clock)
        yield channel, far
        await channel.close()


def sent(clock: ManualClock, *acts: Act, patience: float = 0.5) -> tuple[Outcome, int]:
    async def main() -> tuple[Outcome, int]:
        async with opened(clock, *acts, patience=patience) as (channel, far):
            return await channel.send(ENVELOPE), len(far.requests)

    return asyncio.run(main())


def test_the_request(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, answers(204), patience=5) as (channel, far):
            assert await channel.send(ENVELOPE) == Outcome(K.ACCEPTED, "204", "4711")
            clock.advance(timedelta(seconds=5))
            await channel.send(replace(ENVELOPE, attempt=2, ack=""))
            first, second = far.requests
            assert first.json == {
                "type": "message",
                "id": "4711",
                "user": "user-7",
                "collapse_key": "r1-7-1",
                "expires_at": "2026-12-01T04:30:00+00:00",
                "title": "午餐",
                "body": "Canarybody",
                "link": "https://app.example/x",
                "image": "",
                "data": {"coupon": "A"},
                "ack": "4711.sig",
            }
            assert "ack" not in second.json
            assert first.headers["webhook-id"] == second.headers["webhook-id"] == "4711"  # the receiver's way to tell
            for seen, at in ((first, clock.machine() - timedelta(seconds=5)), (second, clock.machine())):
                assert seen.headers["webhook-timestamp"] == str(int(at.timestamp()))
                assert seen.headers["webhook-signature"].split() == [
                    signature(key, "4711", at, seen.body) for key in KEYS
                ]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "kind", "scope"),
    [
        *((status, K.ACCEPTED, Scope.MESSAGE) for status in (200, 201, 202, 204, 226)),
        *((status, K.STOP_CHANNEL, Scope.ACCOUNT) for status in (301, 302, 307, 308, 401, 403, 404, 405, 410)),
        *((status, K.DROP_MESSAGE, Scope.MESSAGE) for status in (400, 413, 422)),
        *((status, K.AMBIGUOUS, Scope.MESSAGE) for status in (408, 425)),
        (429, K.RETRY_AFTER, Scope.ACCOUNT),
        *((status, K.RETRY, Scope.ACCOUNT) for status in (500, 502, 503, 504)),
    ],
)
def test_every_status(clock: ManualClock, status: int, kind: K, scope: Scope) -> None:
    outcome, requests = sent(clock, answers(status, {"x": 1}, location="http://127.0.0.1:1/"))
    assert (outcome.kind, outcome.scope, requests) == (kind, scope, 1)


def test_unknown_statuses_fall_to_the_default_rule(clock: ManualClock) -> None:
    chance = random.Random(14)
    known = {400, 401, 403, 404, 405, 408, 410, 425, 429}
    statuses = [each for each in range(402, 500) if each not in known]
    statuses += range(505, 600)

    async def main() -> None:
        for status in chance.sample(statuses, 100):
            async with opened(clock, answers(status, b"?")) as (channel, _):
                outcome = await channel.send(ENVELOPE)
                assert outcome.kind is (K.DROP_MESSAGE if status < 500 else K.RETRY)
                assert outcome.uncharted

    asyncio.run(main())


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_named_wait_is_kept(clock: ManualClock, status: int) -> None:
    outcome, _ = sent(clock, answers(status, Retry_After="77"))
    assert (outcome.kind, outcome.retry_after) == (K.RETRY_AFTER, timedelta(seconds=77))


@pytest.mark.parametrize("act", [silence, reset, hang_up, garbage])
def test_a_lost_answer_is_ambiguous_after_one_request(clock: ManualClock, act: Act) -> None:
    outcome, requests = sent(clock, act)
    assert (outcome.kind, outcome.may_have_left, requests) == (K.AMBIGUOUS, True, 1)
    assert WebhookChannel.ambiguity == "resend"


@pytest.mark.parametrize(
    ("act", "kind"), [(html(502), K.RETRY), (html(403), K.STOP_CHANNEL), (huge, K.ACCEPTED), (drip, K.AMBIGUOUS)]
)
def test_strange_answers_are_judged_by_their_status_within_the_timeout(clock: ManualClock, act: Act, kind: K) -> None:
    outcome, requests = sent(clock, act, patience=1)
    assert (outcome.kind, requests) == (kind, 1)


def test_a_receiver_that_is_not_there_certainly_got_nothing(clock: ManualClock) -> None:
    async def main() -> None:
        target = read_target("http://127.0.0.1:1/x")
        assert isinstance(target, Target)
        channel = WebhookChannel(target, KEYS, Outward(timedelta(seconds=1), clock), clock)
        outcome = await channel.send(ENVELOPE)
        assert (outcome.kind, outcome.may_have_left) == (K.RETRY, False)
        assert await channel.reconcile(Inquiry("4711", "user-7", PAYLOAD, AT)) is None
        await channel.close()

    asyncio.run(main())


def test_no_hostile_receiver_is_ever_connected_to(clock: ManualClock) -> None:
    async def main() -> None:
        async with sink() as seen:
            for url in (each.format(port=seen.port) for each in HOSTILE):
                target = read_target(url, frozenset({seen.port, 443}))
                if isinstance(target, str):
                    continue
                servers = Outward(timedelta(seconds=0.5), clock, resolve=lying_resolver)
                channel = WebhookChannel(target, KEYS, servers, clock)
                outcome = await channel.send(ENVELOPE)
                assert not outcome.may_have_left
                assert outcome.kind in {K.STOP_CHANNEL, K.RETRY}  # inward, or a name that does not resolve
                assert (await channel.check())[0].health is Health.BROKEN, url
                await channel.close()
            assert seen.connections == 0

    asyncio.run(main())


def test_a_redirect_is_not_followed_inward(clock: ManualClock) -> None:
    async def main() -> None:
        async with sink() as seen:
            for status in (301, 302, 303, 307, 308):
                act = answers(status, location=f"http://127.0.0.1:{seen.port}/")
                async with opened(clock, act) as (channel, far):
                    assert (await channel.send(ENVELOPE)).kind is K.STOP_CHANNEL
                    assert len(far.requests) == 1
            assert seen.connections == 0

    asyncio.run(main())


def test_payloads_up_to_the_limit_are_posted_and_larger_ones_are_not(clock: ManualClock) -> None:
    chance = random.Random(26)
    alphabet = 'aé午\U0001f35c"\\\n'
    size = chance.randrange

    async def main() -> None:
        async with opened(clock, answers(204), patience=5) as (channel, far):
            posted = 0
            for _ in range(60):
                text = "".join(chance.choices(alphabet, k=size(10_000, 30_000)))
                payload = replace(PAYLOAD, body=text)
                outcome = await channel.send(replace(ENVELOPE, payload=payload))
                fits = not channel.problems(payload)
                assert (outcome.kind is K.ACCEPTED) == fits
                assert fits or (outcome.kind is K.DROP_MESSAGE and not outcome.may_have_left)
                posted += fits
            assert posted == len(far.requests)
            assert 0 < posted < 60
            assert all(len(seen.body) <= BODY_LIMIT for seen in far.requests)

    asyncio.run(main())


@pytest.mark.parametrize(
    "payload", [SmsPayload("x"), PushPayload("", ""), PushPayload("x", "\ud800"), PushPayload("x" * BODY_LIMIT, "")]
)
def test_what_no_receiver_gets(clock: ManualClock, payload: Any) -> None:
    async def main() -> None:
        async with opened(clock, answers(204)) as (channel, far):
            assert channel.problems(payload)
            outcome = await channel.send(replace(ENVELOPE, payload=payload))
            assert (outcome.kind, outcome.may_have_left) == (K.DROP_MESSAGE, False)
            assert far.requests == []

    asyncio.run(main())


def secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def test_the_plugin_reads_both_keys(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "now").write_text(secret())
        options = {"url": "https://hooks.example/x", "secret_file": tmp_path / "now"}
        channel = open_channel("hook", "webhook", options, callback_url="https://p.example/callbacks/hook")
        assert (channel.channel, channel.kinds, channel.timeout) == (
            "webhook",
            frozenset({"user"}),
            timedelta(seconds=15),
        )
        await channel.close()
        previous = {"previous_secret": SecretStr(secret())}
        both = open_channel("hook", "webhook", {**options, **previous}, callback_url="")
        assert isinstance(both, WebhookChannel)
        assert len(both._keys) == 2
        await both.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"url": "http://hooks.example/"}, "url"),
        ({"url": "https://127.0.0.1:22/"}, "url"),
        ({"url": "https://u:p@hooks.example/"}, "url"),
        ({"secret_file": None}, "secret_file"),
        ({"secret": "whsec_in_the_settings"}, "secret"),
        ({"secret_file": None, "secret": SecretStr("short")}, "secret_file"),
        ({"previous_secret": SecretStr("short")}, "previous_secret_file"),
        ({"sekret": "x"}, "sekret"),
        ({"timeout": "PT2M"}, "timeout"),
    ],
)
def test_what_is_wrong_is_named_and_never_shown(tmp_path: Path, wrong: Mapping[str, Any], field: str) -> None:
    (tmp_path / "now").write_text(secret())
    options = {"url": "https://hooks.example/x", "secret_file": tmp_path / "now", **wrong}
    with pytest.raises(ConfigError) as caught:
        open_channel("hook", "webhook", {name: value for name, value in options.items() if value}, callback_url="")
    assert f"accounts.hook.options.{field}" in str(caught.value)
    assert "whsec_in_the_settings" not in str(caught.value)
