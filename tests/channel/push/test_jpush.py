"""JPush: the request, one per attempt; push identifiers that make it count once; its error table; its receipts."""

from __future__ import annotations

import asyncio
import json
import random
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from typing_extensions import override

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
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Report, ReportState, Seen, SeenDeed
from orchestrator.channel.plugins import open_channel
from orchestrator.channel.push.jpush import JPushChannel, JPushOptions
from orchestrator.channel.push.jpush_errors import TABLE
from orchestrator.channel.push.jpush_message import IOS_LIMIT, problems
from orchestrator.channel.transport import Transport
from orchestrator.clock import ManualClock
from orchestrator.errors import ConfigError
from tests.channel.far_end import Act, FarEnd, answers, cut, drip, garbage, hang_up, html, huge, reset, silence

K = OutcomeClass
KEY, MASTER, HOOK = "5a4db0c05a4db0c05a4db0c0", "s3cret-canary", "h00k-s3cret"
PUSH, CID, VALIDATE = "/v3/push", "/v3/push/cid", "/v3/push/validate"
ADDRESS = "1104a8979canary"
CALLBACK = "https://push.example/callbacks/one"
PAYLOAD = PushPayload("Canarytitle", "Canarybody noodles", link="https://app.example/x", data={"coupon": "Canarycoup"})
ENVELOPE = Envelope("4711", 1, ADDRESS, "jpush", PAYLOAD, timedelta(minutes=90), "run-7-user-9", ack="ack-canary")
OK = answers(200, {"sendno": "0", "msg_id": "18100287008546141"})
MINUTE = timedelta(minutes=1)
BASIC = "Basic " + b64encode(f"{KEY}:{MASTER}".encode()).decode()


def cids(*names: str) -> Act:
    return answers(200, {"cidlist": [f"{KEY}-{name}" for name in names]})


@asynccontextmanager
async def opened(
    clock: ManualClock, *acts: Act, patience: float = 0.5, **more: object
) -> AsyncIterator[tuple[JPushChannel, FarEnd]]:
    async with FarEnd().plays(PUSH, *acts).plays(CID, cids("a", "b"), cids("c", "d")) as far:
        given = {"app_key": KEY, "master_secret_file": Path("x"), "base_url": far.url}
        options = JPushOptions.model_validate(given | more)
        transport = Transport(timedelta(seconds=patience))
        channel = JPushChannel(options, MASTER, transport, clock, callback_url=CALLBACK, callback_secret=HOOK)
        yield channel, far
        await channel.close()


def sent(clock: ManualClock, act: Act) -> Outcome:
    """The outcome of one message; checks that exactly one request carried it."""

    async def main() -> Outcome:
        async with opened(clock, act) as (channel, far):
            outcome = await channel.send(ENVELOPE)
            assert (len(far.seen(PUSH)), len(far.seen(CID))) == (1, 1)
            return outcome

    return asyncio.run(main())


def refusal(status: int, code: int, message: str = "", **headers: str) -> Act:
    return answers(status, {"error": {"code": code, "message": message}, "msg_id": "1"}, **headers)


def test_the_request(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK, harmony=True) as (channel, far):
            assert await channel.send(ENVELOPE) == Outcome(K.ACCEPTED, "200", "18100287008546141")
            first, second = far.requests
            assert (first.method, first.target) == ("GET", f"{CID}?count=10&type=push")
            assert (second.method, second.path) == ("POST", PUSH)
            assert {seen.headers["authorization"] for seen in far.requests} == {BASIC}
            extras = {"coupon": "Canarycoup", "link": "https://app.example/x", "ack": "ack-canary", "msg_id": "4711"}
            shown = {"alert": "Canarybody noodles", "title": "Canarytitle", "extras": extras}
            assert second.json == {
                "cid": f"{KEY}-a",
                "platform": ["android", "ios", "hmos"],
                "audience": {"registration_id": [ADDRESS]},
                "notification": {
                    "alert": "Canarybody noodles",
                    "android": shown,
                    "ios": {
                        "alert": {"title": "Canarytitle", "body": "Canarybody noodles"},
                        "sound": "default",
                        "extras": extras,
                    },
                    "hmos": {**shown, "intent": {"url": "https://app.example/x"}},
                },
                "options": {"time_to_live": 5400, "apns_production": True, "apns_collapse_id": "run-7-user-9"},
                "callback": {"url": f"{CALLBACK}/report/{HOOK}", "params": {"m": "4711"}, "type": 3},
            }

    asyncio.run(main())


@pytest.mark.parametrize(("seconds", "ttl"), [(-5.0, 0), (0.9, 0), (59.9, 59), (9e6, 864_000)])
def test_ttl_ends_with_the_window(clock: ManualClock, seconds: float, ttl: int) -> None:
    async def main() -> None:
        async with opened(clock, OK) as (channel, far):
            development = {"environment": "sandbox"}
            await channel.send(replace(ENVELOPE, ttl=timedelta(seconds=seconds), details=development))
            options = far.seen(PUSH)[0].json["options"]
            assert (options["time_to_live"], options["apns_production"]) == (ttl, False)

    asyncio.run(main())


# Every row of providers §4.2 in its order, then what the table adds.
ROWS = [
    (400, 1011, K.DROP_ADDRESS),
    (400, 1002, K.DROP_MESSAGE),
    (400, 1003, K.DROP_MESSAGE),
    (400, 1005, K.DROP_MESSAGE),
    (401, 1004, K.STOP_CHANNEL),
    (400, 1008, K.STOP_CHANNEL),
    (500, 1000, K.RETRY),
    (404, 1020, K.RETRY),
    (503, 1030, K.RETRY),
    (403, 1011, K.DROP_ADDRESS),  # 403: the code decides
    (403, 1003, K.DROP_MESSAGE),
    (429, 2002, K.RETRY_AFTER),
    (403, 2003, K.STOP_CHANNEL),
    (403, 2004, K.STOP_CHANNEL),
]


@pytest.mark.parametrize(("status", "code", "kind"), ROWS)
def test_every_code(clock: ManualClock, status: int, code: int, kind: OutcomeClass) -> None:
    outcome = sent(clock, refusal(status, code))
    assert (outcome.kind, outcome.code, outcome.uncharted, outcome.may_have_left) == (kind, str(code), False, True)
    assert kind is not K.STOP_CHANNEL or outcome.scope is Scope.ACCOUNT


def test_the_table_has_no_row_without_a_test() -> None:
    assert {str(code) for _, code, _ in ROWS} == set(TABLE)


@pytest.mark.parametrize(
    ("act", "kind", "wait"),
    [
        (answers(429), K.RETRY_AFTER, MINUTE),
        (refusal(429, 2002, retry_after="7"), K.RETRY_AFTER, timedelta(seconds=7)),
        (refusal(429, 2002, x_rate_limit_reset="9"), K.RETRY_AFTER, timedelta(seconds=9)),
        (answers(429, x_rate_limit_reset="soon"), K.RETRY_AFTER, MINUTE),
        (answers(429, retry_after="31536000"), K.RETRY_AFTER, timedelta(hours=24)),
        (answers(429, retry_after="-3"), K.RETRY_AFTER, MINUTE),
        (answers(500), K.RETRY, None),
        (html(502), K.RETRY, None),
        (answers(503, retry_after="7"), K.RETRY_AFTER, timedelta(seconds=7)),
        (answers(504), K.RETRY, None),
        (html(401), K.STOP_CHANNEL, None),
        (html(403), K.STOP_CHANNEL, None),
        (answers(410), K.STOP_CHANNEL, None),
        (html(400), K.DROP_MESSAGE, None),
        (answers(307, location="/elsewhere"), K.STOP_CHANNEL, None),
        (answers(408), K.AMBIGUOUS, None),
        (html(200), K.AMBIGUOUS, None),
        (answers(200, {}), K.AMBIGUOUS, None),
        (answers(200, {"msg_id": None}), K.AMBIGUOUS, None),
        (answers(200, [1]), K.AMBIGUOUS, None),
        (answers(200, {"msg_id": 18100287008546141}), K.ACCEPTED, None),
        (huge, K.AMBIGUOUS, None),
        (answers(500, {"error": "text"}), K.RETRY, None),
    ],
)
def test_by_status(clock: ManualClock, act: Act, kind: OutcomeClass, wait: timedelta | None) -> None:
    outcome = sent(clock, act)
    assert (outcome.kind, outcome.retry_after) == (kind, wait)


def test_a_retry_after_that_is_a_date(clock: ManualClock) -> None:
    until = format_datetime(clock.machine() + timedelta(seconds=40), usegmt=True)
    assert sent(
        clock, answers(429, retry_after=until, date=format_datetime(clock.machine(), usegmt=True))
    ).retry_after == (timedelta(seconds=40))


@pytest.mark.parametrize("act", [reset, hang_up, silence, drip, garbage, cut(200), cut(400)])
def test_a_lost_answer_is_ambiguous_and_one_request(clock: ManualClock, act: Act) -> None:
    outcome = sent(clock, act)
    assert (outcome.kind, outcome.may_have_left) == (K.AMBIGUOUS, True)


def test_100_unknown_codes_follow_the_default_rule(clock: ManualClock) -> None:
    chance = random.Random(20261201)
    expected = {400: K.DROP_MESSAGE, 403: K.STOP_CHANNEL, 409: K.DROP_MESSAGE, 429: K.RETRY_AFTER, 500: K.RETRY}

    async def main() -> None:
        async with opened(clock, OK, patience=5) as (channel, far):
            for _ in range(100):
                code = chance.choice([code for code in range(1000, 9000) if str(code) not in TABLE])
                status = chance.choice(list(expected))
                far.plays(PUSH, refusal(status, code))
                outcome = await channel.send(ENVELOPE)
                assert (outcome.kind, outcome.code, outcome.uncharted) == (expected[status], str(code), True)

    asyncio.run(main())


def _sent_cids(far: FarEnd) -> list[str]:
    return [seen.json["cid"].rpartition("-")[2] for seen in far.seen(PUSH)]


def test_a_retry_goes_under_the_identifier_of_its_first_attempt(clock: ManualClock) -> None:
    """Whatever was lost or refused for a while; a definite answer ends it."""

    async def main() -> None:
        async with opened(clock, reset, answers(500), answers(429), OK, OK) as (channel, far):
            for attempt in range(1, 5):
                await channel.send(replace(ENVELOPE, attempt=attempt))
            await channel.send(replace(ENVELOPE, attempt=5))
            assert _sent_cids(far) == ["a", "a", "a", "a", "b"]
            await channel.send(replace(ENVELOPE, message_id="4712"))
            assert _sent_cids(far)[-1] == "c"

    asyncio.run(main())


def test_a_channel_that_takes_a_fresh_identifier_each_time_is_caught(clock: ManualClock) -> None:
    """The deliberately broken variant: what the test above would see of it."""

    class Forgetful(JPushChannel):
        @override
        async def send(self, envelope: Envelope) -> Outcome:
            self._cids.settled(envelope.message_id)
            return await super().send(envelope)

    async def main() -> None:
        async with opened(clock, reset, OK) as (channel, far):
            options = channel._options
            broken = Forgetful(options, MASTER, channel._transport, clock)
            await broken.send(ENVELOPE)
            await broken.send(ENVELOPE)
            assert _sent_cids(far) == ["a", "b"]

    asyncio.run(main())


def test_an_identifier_is_good_for_a_day(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, reset, reset, OK) as (channel, far):
            await channel.send(ENVELOPE)
            clock.advance(timedelta(hours=22))
            await channel.send(ENVELOPE)
            clock.advance(timedelta(hours=2))
            await channel.send(ENVELOPE)
            assert _sent_cids(far) == ["a", "a", "c"]  # b, fetched with a, is as old

    asyncio.run(main())


def test_many_messages_share_few_requests_for_identifiers(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK, patience=5) as (channel, far):
            far.plays(CID, answers(200, {"cidlist": [f"{KEY}-{number}" for number in range(50)]}))
            messages = [replace(ENVELOPE, message_id=str(number)) for number in range(50)]
            outcomes = await asyncio.gather(*(channel.send(message) for message in messages))
            assert {outcome.kind for outcome in outcomes} == {K.ACCEPTED}
            assert len(far.seen(CID)) == 1
            assert len(set(_sent_cids(far))) == 50

    asyncio.run(main())


@pytest.mark.parametrize(
    ("act", "kind", "code"),
    [
        (refusal(401, 1004), K.STOP_CHANNEL, "cid_1004"),
        (answers(500), K.RETRY, "cid_500"),
        (refusal(429, 2002), K.RETRY_AFTER, "cid_2002"),
        (answers(200, {"cidlist": []}), K.RETRY, "cid_200"),
        (html(200), K.RETRY, "cid_200"),
        (refusal(400, 1003), K.RETRY, "cid_1003"),
        (reset, K.RETRY, "cid_broken"),
    ],
)
def test_without_an_identifier_nothing_leaves(clock: ManualClock, act: Act, kind: OutcomeClass, code: str) -> None:
    async def main() -> None:
        async with opened(clock, OK, patience=5) as (channel, far):
            far.plays(CID, act)
            messages = [replace(ENVELOPE, message_id=str(number)) for number in range(20)]
            outcomes = await asyncio.gather(*(channel.send(message) for message in messages))
            assert {(each.kind, each.code, each.may_have_left) for each in outcomes} == {(kind, code, False)}
            assert not far.seen(PUSH)
            assert len(far.seen(CID)) == 1  # those who waited share the failure

    asyncio.run(main())


def test_nothing_of_ours_in_what_is_kept(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    said = f"registration_id {ADDRESS} invalid: Canarytitle noodles, key {MASTER}"
    kept = repr(sent(clock, refusal(400, 1003, said))) + caplog.text
    assert "invalid" in kept
    for canary in ("canary", "Canary", "noodles"):
        assert canary not in kept


def test_payloads_that_cannot_be_sent(clock: ManualClock) -> None:
    bad: dict[str, Payload] = {
        "push payloads only": SmsPayload("x"),
        "data key 'msg_id' is reserved": replace(PAYLOAD, data={"msg_id": "x"}),
        "no body": PushPayload("x", ""),
        "bytes for ios": replace(PAYLOAD, body="午" * 1200),
        "bytes for android": replace(PAYLOAD, body="午" * 1400),
        "surrogate": PushPayload("\ud83d", "x"),
    }

    async def main() -> None:
        async with opened(clock, OK) as (channel, far):
            for said, payload in bad.items():
                assert any(said in problem for problem in channel.problems(payload))
                outcome = await channel.send(replace(ENVELOPE, payload=payload))
                assert (outcome.kind, outcome.may_have_left) == (K.DROP_MESSAGE, False)
            assert not far.requests
            assert await channel.reconcile(Inquiry("1", ADDRESS, PAYLOAD, clock.machine())) is None

    asyncio.run(main())


def test_what_passes_is_never_too_big(clock: ManualClock) -> None:
    """R26: random unicode up to the limit; the bytes of the JSON count."""
    chance = random.Random(26)
    for _ in range(200):
        text = "".join(chr(chance.choice([65, 233, 0x4E00, 0x1F600]) + chance.randrange(20)) for _ in range(1600))
        while problems(PushPayload("t", text)):
            text = text[: -len(text) // 20 - 1]
        ios = {
            "alert": {"title": "t", "body": text},
            "sound": "default",
            "extras": {"msg_id": "1" * 19, "ack": "a" * 60},
        }
        assert len(json.dumps(ios, ensure_ascii=False, separators=(",", ":")).encode()) <= IOS_LIMIT


@pytest.mark.parametrize(
    ("act", "health", "said"),
    [
        (refusal(400, 1011), Health.FINE, "accepts"),
        (answers(200, {"msg_id": "1"}), Health.FINE, "accepts"),
        (refusal(401, 1004), Health.BROKEN, "1004"),
        (answers(500), Health.WARNING, "500"),
        (silence, Health.BROKEN, "timeout"),
    ],
)
def test_the_check(clock: ManualClock, act: Act, health: Health, said: str) -> None:
    async def main() -> None:
        async with opened(clock, OK) as (channel, far):
            far.plays(VALIDATE, act)
            finding = (await channel.check())[0]
            assert finding.health is health
            assert said in finding.what
            assert [seen.path for seen in far.requests] == [VALIDATE]

    asyncio.run(main())


def test_the_check_sees_a_wrong_clock(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK) as (channel, far):
            theirs = format_datetime(clock.machine() + timedelta(minutes=5), usegmt=True)
            far.plays(VALIDATE, answers(400, {"error": {"code": 1011}}, date=theirs))
            assert [finding.health for finding in await channel.check()] == [Health.FINE, Health.BROKEN]

    asyncio.run(main())


AT = datetime(2026, 12, 1, 2, 0, tzinfo=UTC)


def heard(clock: ManualClock, body: object, hook: str = f"report/{HOOK}", secret: str = HOOK, **headers: str) -> object:
    async def main() -> object:
        options = JPushOptions(app_key=KEY, master_secret_file=Path("x"))
        channel = JPushChannel(options, MASTER, Transport(MINUTE), clock, callback_secret=secret)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await channel.hear(CallbackRequest(f"{CALLBACK}/{hook}", hook, {}, headers, raw))

    return asyncio.run(main())


DELIVERED = {"msg_id": "181", "rid": ADDRESS, "type": 1, "itime": int(AT.timestamp()), "params": {"m": "4711"}}
REPORT = Report("181", "delivered", ReportState.DELIVERED, message_id=4711, address=ADDRESS)


@pytest.mark.parametrize("body", [DELIVERED, [DELIVERED], {"data": [DELIVERED]}, [{**DELIVERED, "type": "1"}]])
def test_a_delivery(clock: ManualClock, body: object) -> None:
    assert heard(clock, body) == Heard([REPORT])
    assert heard(clock, body, authorization=BASIC) == Heard([REPORT])


@pytest.mark.parametrize("unit", [1, 1000])
def test_a_click_was_delivered_first(clock: ManualClock, unit: int) -> None:
    clicked = {**DELIVERED, "type": 2, "itime": int(AT.timestamp()) * unit}
    seen = Seen(f"jpush:click:181:{ADDRESS}", "181", SeenDeed.CLICK, AT, message_id=4711)
    assert heard(clock, [clicked]) == Heard([REPORT, seen])


def test_what_is_not_believed(clock: ManualClock) -> None:
    for hook in ("report", f"report/{HOOK}x", f"report/{HOOK[:-1]}", f"reply/{HOOK}", "report/", ""):
        assert heard(clock, [DELIVERED], hook) is Refused.FORGED
    assert heard(clock, [DELIVERED], "report/", secret="") is Refused.FORGED
    assert heard(clock, [DELIVERED], authorization="Basic eA==") is Refused.FORGED
    for body in (b"<html>", b"", b"5", b'"x"'):
        assert heard(clock, body) is Refused.MALFORMED


def test_what_says_nothing(clock: ManualClock) -> None:
    nothing = [{}, {**DELIVERED, "type": 8}, {**DELIVERED, "msg_id": ""}, {**DELIVERED, "type": True}]
    assert heard(clock, nothing) == Heard([])
    assert heard(clock, [5, None]) == Heard([])


def test_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "master").write_text(MASTER)
    (tmp_path / "hook").write_text(HOOK)
    files = {"master_secret_file": str(tmp_path / "master"), "callback_secret_file": str(tmp_path / "hook")}
    channel = open_channel("one", "jpush", {"app_key": KEY, **files}, callback_url=CALLBACK)
    assert (channel.channel, channel.provider, set(channel.kinds)) == ("push", "jpush", {"jpush"})
    with pytest.raises(ConfigError, match="one of master_secret_file and master_secret_env is required"):
        open_channel("one", "jpush", {"app_key": KEY}, callback_url=CALLBACK)
    asyncio.run(channel.close())
