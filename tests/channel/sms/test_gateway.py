"""The gateway described in YAML: both worked examples of the docs, what is refused of a description, one request."""

from __future__ import annotations

import asyncio
import json
import random
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.channel.base import (
    Envelope,
    Health,
    Inquiry,
    Outcome,
    OutcomeClass,
    Payload,
    PushPayload,
    Scope,
    SmsPayload,
)
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Reply, Report, ReportState
from orchestrator.channel.plugins import open_channel
from orchestrator.channel.sms.gateway import GatewayChannel, GatewayOptions
from orchestrator.channel.sms.gateway_patterns import filled, found, places, text_at
from orchestrator.channel.transport import Transport
from orchestrator.clock import ManualClock
from orchestrator.errors import ConfigError
from tests.channel.far_end import Act, FarEnd, answers, cut, drip, garbage, hang_up, html, huge, reset, silence

K = OutcomeClass
TOKEN, HOOK = "s3cret-canary", "h00k-s3cret-0123456789"
PHONE = "+8613800138000"
BODY = "Noodles miss you, Ümit 午餐: {to} & more = 5%"
ENVELOPE = Envelope("4711", 1, PHONE, "phone", SmsPayload(BODY), timedelta(minutes=90), "run-7-user-9")
OK = answers(202, {"data": {"id": "GW1"}})
MINUTE = timedelta(minutes=1)

JSON_GATEWAY: dict[str, Any] = {
    "request": {
        "path": "/v1/messages",
        "headers": {"Authorization": "Bearer {secret}"},
        "json": {"to": "{to}", "text": "{text}", "ref": "{id}", "validity": "{ttl_s}", "from": "{sender}"},
    },
    "sender": "Shop",
    "id": {"path": "data.id"},
    "errors": [
        {"path": "error.code", "equals": 21, "kind": "drop_address"},
        {"path": "error.code", "equals": "10", "kind": "stop_channel"},
        {"path": "error.code", "equals": 20, "kind": "drop_message"},
        {"path": "error.code", "equals": 30, "kind": "retry_after", "wait": "PT30S"},
        {"path": "error.code", "equals": 40, "kind": "suppress"},
        {"path": "error.code", "equals": 50, "kind": "ambiguous"},
        {"status": [500, 503], "path": "error.code", "matches": "^9[0-9]$", "kind": "retry"},
        {"path": "error.code", "equals": 31, "kind": "retry_after", "scope": "address"},
    ],
    "receipts": {
        "id": "id",
        "message": "ref",
        "status": "state",
        "statuses": {"DELIVERED": "delivered", "FAILED": "undelivered", "SENT": "sent"},
        "code": "error",
        "codes": {"21": "drop_address", "40": "suppress"},
        "answer": '{"ok":true}',
    },
    "replies": {"format": "form", "from": "mobile", "text": "content", "country": "86", "answer": "OK"},
    "check": {"path": "/v1/account", "headers": {"Authorization": "Bearer {secret}"}},
}
FORM_GATEWAY: dict[str, Any] = {
    "request": {
        "path": "/sms.php",
        "form": {"key": "{secret}", "mobile": "{to}", "content": "{text}", "uid": "{id}"},
        "charset": "gb18030",
        "number": "double_zero",
    },
    "success": {"status": 200, "matches": "^OK:"},
    "id": {"matches": r"^OK:(\S+)"},
    "errors": [
        {"matches": "^ERR:NUMBER", "kind": "drop_address"},
        {"matches": "^ERR:SPEED", "kind": "retry_after", "wait": "PT10S"},
        {"matches": "^ERR:AUTH", "kind": "stop_channel"},
        {"matches": "^ERR:", "kind": "drop_message"},
    ],
}


@asynccontextmanager
async def opened(
    clock: ManualClock, described: dict[str, Any], *acts: Act, patience: float = 0.5
) -> AsyncIterator[tuple[GatewayChannel, FarEnd]]:
    path = described["request"].get("path", "/")
    async with FarEnd().plays(path, *acts) as far:
        options = GatewayOptions.model_validate({"base_url": far.url, **described})
        channel = GatewayChannel(options, TOKEN, Transport(timedelta(seconds=patience)), clock, callback_secret=HOOK)
        yield channel, far
        await channel.close()


def sent(clock: ManualClock, act: Act, described: dict[str, Any] = JSON_GATEWAY) -> Outcome:
    """The outcome of one message; checks that exactly one request was made."""

    async def main() -> Outcome:
        async with opened(clock, described, act) as (channel, far):
            outcome = await channel.send(ENVELOPE)
            assert (len(far.requests), far.connections) == (1, 1)
            return outcome

    return asyncio.run(main())


def requested(clock: ManualClock, described: dict[str, Any], envelope: Envelope = ENVELOPE) -> Any:
    async def main() -> Any:
        async with opened(clock, described, OK) as (channel, far):
            await channel.send(envelope)
            return far.requests[0]

    return asyncio.run(main())


def test_the_json_request(clock: ManualClock) -> None:
    seen = requested(clock, JSON_GATEWAY)
    assert (seen.method, seen.target) == ("POST", "/v1/messages")
    assert seen.headers["authorization"] == f"Bearer {TOKEN}"
    assert seen.headers["content-type"] == "application/json"
    assert seen.json == {"to": PHONE, "text": BODY, "ref": "4711", "validity": 5400, "from": "Shop"}


def test_the_form_request(clock: ManualClock) -> None:
    seen = requested(clock, FORM_GATEWAY)
    assert seen.headers["content-type"] == "application/x-www-form-urlencoded; charset=gb18030"
    assert b"mobile=008613800138000&" in seen.body
    assert "午餐".encode("gb18030").hex("%").upper().encode() in seen.body.replace(b"%%", b"%").upper()
    assert seen.body.endswith(b"uid=4711")


def test_text_query_and_basic_authentication(clock: ManualClock) -> None:
    described: dict[str, Any] = {
        "user": "me",
        "request": {
            "method": "PUT",
            "path": "/send?v=2",
            "query": {"n": "{to}"},
            "headers": {"Authorization": "Basic {basic}", "Content-Type": "text/xml"},
            "text": "<sms>{text}{{}}</sms>",
            "number": "china",
        },
    }

    async def main() -> None:
        async with opened(clock, described, OK) as (channel, far):
            far.plays("/send", OK)
            assert (await channel.send(ENVELOPE)).kind is K.ACCEPTED
            (seen,) = far.requests
            assert (seen.method, seen.target) == ("PUT", "/send?v=2&n=13800138000")
            assert seen.headers["authorization"] == "Basic " + b64encode(f"me:{TOKEN}".encode()).decode()
            assert seen.headers["content-type"] == "text/xml"
            assert seen.body.decode() == f"<sms>{BODY}{{}}</sms>"  # what is filled in is not looked at again

    asyncio.run(main())


def refusal(status: int, code: object, **headers: str) -> Act:
    return answers(status, {"error": {"code": code, "message": "no"}}, **headers)


# Every rule of both descriptions.
ROWS = [
    (JSON_GATEWAY, refusal(400, 21), K.DROP_ADDRESS, "21", None, Scope.MESSAGE),
    (JSON_GATEWAY, refusal(401, 10), K.STOP_CHANNEL, "10", None, Scope.ACCOUNT),
    (JSON_GATEWAY, refusal(400, "20"), K.DROP_MESSAGE, "20", None, Scope.MESSAGE),
    (JSON_GATEWAY, refusal(429, 30), K.RETRY_AFTER, "30", timedelta(seconds=30), Scope.ACCOUNT),
    (JSON_GATEWAY, refusal(429, 30, retry_after="90"), K.RETRY_AFTER, "30", timedelta(seconds=90), Scope.ACCOUNT),
    (JSON_GATEWAY, refusal(429, 30, retry_after="1"), K.RETRY_AFTER, "30", timedelta(seconds=30), Scope.ACCOUNT),
    (JSON_GATEWAY, refusal(400, 40), K.SUPPRESS, "40", None, Scope.MESSAGE),
    (JSON_GATEWAY, refusal(200, 50), K.AMBIGUOUS, "50", None, Scope.MESSAGE),
    (JSON_GATEWAY, refusal(503, 95), K.RETRY, "^9[0-9]$", None, Scope.ACCOUNT),
    (JSON_GATEWAY, refusal(429, 31), K.RETRY_AFTER, "31", MINUTE, Scope.ADDRESS),
    (JSON_GATEWAY, refusal(200, 21), K.DROP_ADDRESS, "21", None, Scope.MESSAGE),  # 200 is no success
    (FORM_GATEWAY, answers(200, b"ERR:NUMBER 1"), K.DROP_ADDRESS, "^ERR:NUMBER", None, Scope.MESSAGE),
    (FORM_GATEWAY, answers(200, b"ERR:SPEED"), K.RETRY_AFTER, "^ERR:SPEED", timedelta(seconds=10), Scope.ACCOUNT),
    (FORM_GATEWAY, answers(200, b"ERR:AUTH"), K.STOP_CHANNEL, "^ERR:AUTH", None, Scope.ACCOUNT),
    (FORM_GATEWAY, answers(200, b"ERR:WHAT"), K.DROP_MESSAGE, "^ERR:", None, Scope.MESSAGE),
]


@pytest.mark.parametrize(("described", "act", "kind", "code", "wait", "scope"), ROWS)
def test_every_rule(
    clock: ManualClock,
    described: dict[str, Any],
    act: Act,
    kind: OutcomeClass,
    code: str,
    wait: timedelta | None,
    scope: Scope,
) -> None:
    outcome = sent(clock, act, described)
    assert (outcome.kind, outcome.code, outcome.uncharted) == (kind, code, False)
    assert (outcome.retry_after, outcome.scope) == (wait, scope)


@pytest.mark.parametrize(
    ("described", "act", "provider_id"),
    [
        (JSON_GATEWAY, OK, "GW1"),
        (JSON_GATEWAY, answers(200, {"data": {"id": 17}}), "17"),
        (JSON_GATEWAY | {"id": {"path": "0.ids.1"}}, answers(200, [{"ids": [1, "b"]}]), "b"),
        (JSON_GATEWAY | {"id": {"header": "X-Message-Id"}}, answers(200, b"", x_message_id="H-1"), "H-1"),
        (JSON_GATEWAY | {"id": None}, answers(200, b"whatever"), None),
        (FORM_GATEWAY, answers(200, b"OK:17 thanks"), "17"),
    ],
)
def test_accepted(clock: ManualClock, described: dict[str, Any], act: Act, provider_id: str | None) -> None:
    outcome = sent(clock, act, described)
    assert (outcome.kind, outcome.provider_id) == (K.ACCEPTED, provider_id)


@pytest.mark.parametrize(
    ("act", "kind", "uncharted"),
    [
        (answers(200, {}), K.AMBIGUOUS, False),  # accepted, it seems, without the id that would prove it
        (answers(200, {"data": {"id": "x" * 200}}), K.AMBIGUOUS, False),
        (answers(204), K.AMBIGUOUS, True),
        (answers(429), K.RETRY_AFTER, False),
        (answers(500), K.RETRY, False),
        (html(502), K.RETRY, False),
        (html(401), K.STOP_CHANNEL, False),
        (answers(404), K.STOP_CHANNEL, False),
        (answers(400), K.DROP_MESSAGE, True),
        (answers(302, location="/x"), K.STOP_CHANNEL, False),
        (answers(408), K.AMBIGUOUS, False),
        (huge, K.AMBIGUOUS, True),
    ],
)
def test_by_status(clock: ManualClock, act: Act, kind: OutcomeClass, uncharted: bool) -> None:
    outcome = sent(clock, act)
    assert (outcome.kind, outcome.uncharted) == (kind, uncharted)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_a_server_error_that_nobody_described_is_tried_once_more_at_most(clock: ManualClock, status: int) -> None:
    """It may hide a text that was taken: README, "An SMS is not sent twice by us"."""
    outcome = sent(clock, html(status))
    assert (outcome.kind, outcome.at_most, outcome.may_have_left) == (K.RETRY, 1, True)


@pytest.mark.parametrize("described", [JSON_GATEWAY, FORM_GATEWAY])
@pytest.mark.parametrize("act", [reset, hang_up, silence, drip, garbage, cut(202), cut(400)])
def test_a_lost_answer_is_ambiguous_and_never_sent_again(
    clock: ManualClock, act: Act, described: dict[str, Any]
) -> None:
    outcome = sent(clock, act, described)
    assert (outcome.kind, outcome.may_have_left) == (K.AMBIGUOUS, True)


def test_100_unknown_codes_follow_the_default_rule(clock: ManualClock) -> None:
    chance = random.Random(20261201)
    expected = {400: K.DROP_MESSAGE, 409: K.DROP_MESSAGE, 422: K.DROP_MESSAGE, 207: K.AMBIGUOUS, 418: K.DROP_MESSAGE}

    async def main() -> None:
        async with opened(clock, JSON_GATEWAY, OK, patience=5) as (channel, far):
            for _ in range(100):
                status = chance.choice(list(expected))
                far.plays("/v1/messages", refusal(status, chance.randrange(100, 9999)))
                outcome = await channel.send(ENVELOPE)
                assert (outcome.kind, outcome.code, outcome.uncharted) == (expected[status], str(status), True)

    asyncio.run(main())


def test_nothing_of_ours_in_what_is_kept(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    words = f"refused: {PHONE} Noodles miss {TOKEN}"
    kept = repr(sent(clock, answers(400, words.encode()))) + caplog.text
    assert "refused" in kept
    for canary in ("138001", "Noodles", "canary"):
        assert canary not in kept


def test_payloads_that_cannot_be_sent(clock: ManualClock) -> None:
    bad: dict[str, Payload] = {
        "SMS payloads only": PushPayload("x", "y"),
        "empty body": SmsPayload(" \n"),
        "this gateway takes 1000": SmsPayload("x" * 1001),
        "a character that gb18030 has not": SmsPayload("x\ud83d"),
    }

    async def main() -> None:
        async with opened(clock, FORM_GATEWAY, OK) as (channel, far):
            for words, payload in bad.items():
                assert any(words in problem for problem in channel.problems(payload))
                outcome = await channel.send(replace(ENVELOPE, payload=payload))
                assert (outcome.kind, outcome.may_have_left) == (K.DROP_MESSAGE, False)
            assert not far.requests
            assert await channel.reconcile(Inquiry("1", PHONE, SmsPayload("x"), clock.machine())) is None

    asyncio.run(main())


def _changed(path: str, value: object) -> dict[str, Any]:
    """The JSON gateway with one thing of its description changed; ``...`` takes it away."""
    described: dict[str, Any] = json.loads(json.dumps(JSON_GATEWAY)) | {"base_url": "https://sms.example"}
    *steps, last = path.split(".")
    place: Any = described
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    if value is ...:
        del place[last]
    else:
        place[last] = [value] if last == "errors" else value
    return described


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("base_url", "http://sms.example", "must be https://"),
        ("request", ..., "request: is required"),
        ("request.methd", "POST", "request.methd: unknown option (did you mean 'method'?)"),
        ("request.json.to", "{number}", "unknown {number}: there are basic, id, secret, sender, text, to, ttl_s"),
        ("request.json.text", "hello", "{text} stands nowhere in the request"),
        ("request.form", {"a": "b"}, "give one of json, form and text"),
        ("request.method", "GET", "a GET has no body: use query"),
        ("request.headers", {"X": "{text}"}, "{text} cannot stand in a header"),
        ("request.path", "v1", "request.path: "),
        ("request.path", "/a b", "request.path: "),
        ("id", {"path": "a", "header": "b"}, "give one of path, matches and header"),
        ("id", {"path": "a..b"}, "is no path"),
        ("id", {"matches": "(a)(b)"}, "has more than one group"),
        ("success", {"equals": 5}, "'equals' needs a 'path'"),
        ("success", {"matches": "("}, "is no regular expression"),
        ("success", {"matches": "(a+)+$"}, "it could run for long"),
        ("success", {"matches": "(?:a|a)*b"}, "it could run for long"),
        ("success", {"matches": ".*.*.*x"}, "it could run for long"),
        ("success", {"matches": r"(a*)\1"}, "it could run for long"),
        ("success", {"matches": "x" * 201}, "at most 200 characters"),
        ("errors", {"kind": "retry", "statuss": 1}, "errors.0.statuss: unknown option (did you mean 'status'?)"),
        ("replies.fromm", "x", "replies.fromm: unknown option (did you mean 'from'?)"),
        ("errors", {"kind": "drop_message"}, "says nothing"),
        ("errors", {"status": 400, "kind": "accepted"}, "an error is not accepted"),
        ("errors", {"status": 400, "kind": "dropp"}, "errors.0.kind: "),
        ("errors", {"status": 400, "kind": "retry", "wait": "PT1S"}, "'wait' belongs to kind retry_after"),
        ("receipts.statuses", {"x": "arrived"}, "receipts.statuses.x: "),
        ("receipts.codes", {"x": "retry"}, "receipts.codes.x: "),
        ("check.headers", {"X": "{to}"}, "{to} is not known when nothing is sent"),
        ("timeout", "PT2M", "timeout: "),
    ],
)
def test_a_wrong_description_is_refused_with_its_place(path: str, value: object, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_channel("one", "gateway", _changed(path, value), callback_url="https://push.example/callbacks/one")
    assert "accounts.one.options." in str(caught.value)
    assert words in str(caught.value)


def test_secrets_that_a_description_needs(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(TOKEN)
    (tmp_path / "short").write_text("short")
    (tmp_path / "hook").write_text(HOOK)
    described = _changed("base_url", "https://sms.example")
    url = "https://push.example/callbacks/one"
    with pytest.raises(ConfigError, match="callback_secret_file: receipts and replies need it"):
        open_channel("one", "gateway", described, callback_url=url)
    described["callback_secret_file"] = str(tmp_path / "short")
    with pytest.raises(ConfigError, match="at least 16 characters"):
        open_channel("one", "gateway", described, callback_url=url)
    described["callback_secret_file"] = str(tmp_path / "hook")
    with pytest.raises(ConfigError, match="one of secret_file and secret_env is required"):
        open_channel("one", "gateway", described, callback_url=url)
    described["secret_file"] = str(tmp_path / "secret")
    channel = open_channel("one", "gateway", described, callback_url=url)
    assert (channel.channel, channel.provider) == ("sms", "gateway")
    asyncio.run(channel.close())


def test_the_slowest_pattern_that_is_let_in_is_quick() -> None:
    start = time.perf_counter()
    assert found(".*a.*b", "a" * 100_000) is None
    assert time.perf_counter() - start < 2


def test_paths_and_places() -> None:
    value = {"a": [{"b": 1}, {"b": True}, {"b": 1.5}, {"b": None}], "c": "x"}
    assert [text_at(f"a.{place}.b", value) for place in range(5)] == ["1", "true", "1.5", "", ""]
    assert [text_at(path, value) for path in ("c", "c.d", "a", "z.0", "a.-1.b")] == ["x", "", "", "", ""]
    assert places("{a}{{b}}{c}") == {"a", "c"}
    assert filled("{a}{{b}}{c}", {"a": "{c}", "c": "1"}) == "{c}{b}1"


@pytest.mark.parametrize(
    ("act", "health", "words"),
    [
        (answers(200, {}), Health.FINE, "accepts us"),
        (answers(401), Health.BROKEN, "401"),
        (silence, Health.BROKEN, "timeout"),
    ],
)
def test_the_check(clock: ManualClock, act: Act, health: Health, words: str) -> None:
    async def main() -> None:
        async with opened(clock, JSON_GATEWAY, OK) as (channel, far):
            far.plays("/v1/account", act)
            finding = (await channel.check())[0]
            assert finding.health is health
            assert words in finding.what
            assert [(seen.method, seen.path) for seen in far.requests] == [("GET", "/v1/account")]
            assert far.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
        async with opened(clock, FORM_GATEWAY, OK) as (channel, _):
            assert [finding.health for finding in await channel.check()] == [Health.FINE]

    asyncio.run(main())


def heard(clock: ManualClock, body: bytes, hook: str, **described: Any) -> object:
    async def main() -> object:
        async with opened(clock, JSON_GATEWAY | described, OK) as (channel, _):
            return await channel.hear(CallbackRequest("https://push.example/x", hook, {}, {}, body))

    return asyncio.run(main())


RECEIPT = {"id": "GW1", "ref": "4711", "state": "DELIVERED", "error": None}
REPORT = Report("GW1", "delivered", ReportState.DELIVERED, message_id=4711)
ANSWER = b'{"ok":true}'


@pytest.mark.parametrize(
    ("changed", "report"),
    [
        ({}, REPORT),
        ({"state": "SENT"}, Report("GW1", "sent", ReportState.SENT, message_id=4711)),
        (
            {"state": "FAILED", "error": 21},
            Report("GW1", "undelivered", ReportState.UNDELIVERED, "21", K.DROP_ADDRESS, message_id=4711),
        ),
        (
            {"state": "FAILED", "error": "77"},
            Report("GW1", "undelivered", ReportState.UNDELIVERED, "77", message_id=4711),
        ),
        ({"ref": "x"}, replace(REPORT, message_id=None)),
        ({"id": ""}, replace(REPORT, provider_id="message:4711")),
        ({"error": 21}, REPORT),  # delivered: the code ends nothing
    ],
)
def test_receipts(clock: ManualClock, changed: dict[str, Any], report: Report) -> None:
    for body in (RECEIPT | changed, [RECEIPT | changed]):
        assert heard(clock, json.dumps(body).encode(), f"report/{HOOK}") == Heard([report], ANSWER)


def test_receipts_as_lists_and_forms(clock: ManualClock) -> None:
    spec = JSON_GATEWAY["receipts"]
    listed = spec | {"format": "list", "items": "data.reports"}
    body = json.dumps({"data": {"reports": [RECEIPT, RECEIPT | {"state": "PAINTED"}]}}).encode()
    assert heard(clock, body, f"report/{HOOK}", receipts=listed) == Heard([REPORT], ANSWER)
    assert heard(clock, json.dumps(RECEIPT).encode(), f"report/{HOOK}", receipts=listed) is Refused.MALFORMED
    form = spec | {"format": "form", "answer": ""}
    got = heard(clock, b"id=GW1&ref=4711&state=DELIVERED", f"report/{HOOK}", receipts=form)
    assert got == Heard([REPORT], media_type="text/plain")


def test_replies(clock: ManualClock) -> None:
    for mobile in ("13800138000", "8613800138000", "%2B8613800138000", "008613800138000"):
        got = heard(clock, f"mobile={mobile}&content=%E9%80%80%E8%AE%A2".encode(), f"reply/{HOOK}")
        assert isinstance(got, Heard)
        (reply,) = got.said
        assert isinstance(reply, Reply)
        assert (reply.address, reply.text) == ("+8613800138000", "退订")
        assert (got.answer, got.media_type) == (b"OK", "text/plain")
    assert heard(clock, b"mobile=x&content=y", f"reply/{HOOK}") == Heard([], b"OK", "text/plain")


def test_what_is_not_believed(clock: ManualClock) -> None:
    body = json.dumps(RECEIPT).encode()
    for hook in ("report", "report/", f"report/{HOOK}x", f"status/{HOOK}"):
        assert heard(clock, body, hook) is Refused.FORGED
    assert heard(clock, body, f"report/{HOOK}", receipts=None) is Refused.FORGED
    assert heard(clock, b"<html>", f"report/{HOOK}") is Refused.MALFORMED
