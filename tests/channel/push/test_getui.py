"""Getui: the request under an id that makes it count once, one per attempt; tokens; its words; its receipts."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from hashlib import md5, sha256
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
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Report, ReportState
from orchestrator.channel.plugins import open_channel
from orchestrator.channel.push.getui import GetuiChannel, GetuiOptions, token_sign
from orchestrator.channel.push.getui_errors import TABLE
from orchestrator.channel.push.getui_message import request_id
from orchestrator.channel.transport import Transport
from orchestrator.clock import ManualClock
from tests.channel.far_end import Act, FarEnd, answers, cut, drip, garbage, hang_up, html, huge, reset, silence

K = OutcomeClass
APP, KEY, MASTER, HOOK = "appIdappId", "appKeyappKey", "s3cret-canary", "h00k-s3cret"
AUTH, PUSH = f"/{APP}/auth", f"/{APP}/push/single/cid"
CID = "0ad2canarycid"
PAYLOAD = PushPayload("Canarytitle", "Canarybody noodles", link="https://app.example/x", data={"coupon": "Canary coup"})
ENVELOPE = Envelope("4711", 1, CID, "getui", PAYLOAD, timedelta(minutes=90), "run-7-user-9", ack="ack-canary")
HOUR = timedelta(hours=1)


def said(status: str, task: str = "RASS_1") -> Act:
    return answers(200, {"code": 0, "msg": "success", "data": {task: {CID: status}}})


OK = said("successed_online")


def token(clock: ManualClock, name: str, life: timedelta = 24 * HOUR) -> Act:
    ends = str(int((clock.machine() + life).timestamp() * 1000))
    return answers(200, {"code": 0, "msg": "success", "data": {"expire_time": ends, "token": name}})


@asynccontextmanager
async def opened(
    clock: ManualClock, *acts: Act, patience: float = 0.5, **more: object
) -> AsyncIterator[tuple[GetuiChannel, FarEnd]]:
    async with FarEnd().plays(PUSH, *acts).plays(AUTH, token(clock, "t-1"), token(clock, "t-2")) as far:
        given = {"app_id": APP, "app_key": KEY, "master_secret_file": Path("x"), "base_url": far.url}
        options = GetuiOptions.model_validate(given | more)
        channel = GetuiChannel(options, MASTER, Transport(timedelta(seconds=patience)), clock, callback_secret=HOOK)
        yield channel, far
        await channel.close()


def sent(clock: ManualClock, act: Act) -> Outcome:
    """The outcome of one message; checks that exactly one request carried it."""

    async def main() -> Outcome:
        async with opened(clock, act) as (channel, far):
            outcome = await channel.send(ENVELOPE)
            assert (len(far.seen(PUSH)), len(far.seen(AUTH))) == (1, 1)
            return outcome

    return asyncio.run(main())


def refusal(status: int, code: int | str, message: str = "", **headers: str) -> Act:
    return answers(status, {"code": code, "msg": message, "data": {}}, **headers)


def test_the_signature_of_a_token_request() -> None:
    """SHA-256 over the three, in this order, with nothing between; by the example of the documentation's Java."""
    assert token_sign("k", "1", "m") == sha256(b"k1m").hexdigest()


def test_the_request(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK, component="com.app/com.app.PushActivity") as (channel, far):
            assert await channel.send(ENVELOPE) == Outcome(K.ACCEPTED, "successed_online", "RASS_1")
            first, second = far.requests
            now = str(int(clock.machine().timestamp() * 1000))
            signed = sha256(f"{KEY}{now}{MASTER}".encode()).hexdigest()
            assert first.json == {"sign": signed, "timestamp": now, "appkey": KEY}
            assert second.headers["token"] == "t-1"
            body = second.json
            assert body["request_id"] == request_id(ENVELOPE)
            assert body["audience"] == {"cid": [CID]}
            assert body["settings"] == {"ttl": 5_400_000, "strategy": {"default": 1}}
            shown = body["push_message"]["notification"]
            data = {"coupon": "Canary coup", "link": "https://app.example/x", "ack": "ack-canary", "msg_id": "4711"}
            assert json.loads(shown["payload"]) == data
            assert (shown["title"], shown["body"], shown["click_type"]) == ("Canarytitle", PAYLOAD.body, "payload")
            ups = body["push_channel"]["android"]["ups"]["notification"]
            assert ups["notify_id"] == shown["notify_id"]
            assert "component=com.app/com.app.PushActivity;" in ups["intent"]
            assert "S.coupon=Canary%20coup;S.link=https%3A%2F%2Fapp.example%2Fx;" in ups["intent"]
            ios = body["push_channel"]["ios"]
            assert (ios["apns-collapse-id"], ios["aps"]["alert"]["title"]) == ("run-7-user-9", "Canarytitle")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("seconds", "ttl"), [(-5.0, -1), (0.0, -1), (0.0009, -1), (0.9, 900), (59.9, 59_900), (9e6, 259_200_000)]
)
def test_ttl_ends_with_the_window(clock: ManualClock, seconds: float, ttl: int) -> None:
    async def main() -> None:
        async with opened(clock, OK) as (channel, far):
            await channel.send(replace(ENVELOPE, ttl=timedelta(seconds=seconds)))
            assert far.seen(PUSH)[0].json["settings"]["ttl"] == ttl

    asyncio.run(main())


def test_an_id_is_of_one_message_and_of_all_its_attempts() -> None:
    """A repeated id makes Getui drop the message: never two messages under one, always one message under one."""
    ids = {request_id(replace(ENVELOPE, message_id=str(number))) for number in range(5000)}
    assert len(ids) == 5000
    assert all(10 <= len(each) <= 32 and each.isalnum() for each in ids)
    again = replace(ENVELOPE, attempt=5, ttl=HOUR, payload=PushPayload("other", "words"), ack="")
    assert request_id(again) == request_id(ENVELOPE)
    # Another installation that sends through the same app counts its messages from 1 as well.
    assert request_id(replace(ENVELOPE, collapse_key="run-8-user-9")) != request_id(ENVELOPE)
    assert request_id(replace(ENVELOPE, address="another")) != request_id(ENVELOPE)


# Every word of providers §4.3, as a status of the task, as the code, and as words of the older API.
WORDS = {
    "successed_ignore": K.DROP_MESSAGE,
    "TokenMD5NoUsers": K.DROP_ADDRESS,
    "AppidError": K.DROP_ADDRESS,
    "flow_exceeded": K.RETRY_AFTER,
    "PushTotalNumOverLimit": K.RETRY_AFTER,
    "sign_error": K.STOP_CHANNEL,
    "appkey_error": K.STOP_CHANNEL,
}


@pytest.mark.parametrize(("word", "kind"), WORDS.items())
def test_every_word(clock: ManualClock, word: str, kind: OutcomeClass) -> None:
    for act in (said(word), refusal(400, word), refusal(400, 20001, f"push refused: {word}")):
        outcome = sent(clock, act)
        assert (outcome.kind, outcome.code, outcome.uncharted) == (kind, word, False)


def test_the_table_has_no_row_without_a_test() -> None:
    assert {*WORDS, "10001"} == set(TABLE)


def test_what_was_taken_and_what_was_ignored(clock: ManualClock) -> None:
    assert sent(clock, said("successed_offline")) == Outcome(K.ACCEPTED, "successed_offline", "RASS_1")
    ignored = sent(clock, said("successed_ignore"))  # inactive: not sent; the address is kept and counted
    assert (ignored.kind, ignored.scope, ignored.provider_id) == (K.DROP_MESSAGE, Scope.ADDRESS, None)


def test_a_days_flow_comes_back_at_midnight_in_beijing(clock: ManualClock) -> None:
    outcome = sent(clock, refusal(403, "flow_exceeded"))
    assert (outcome.retry_after, outcome.scope) == (13 * HOUR, Scope.ACCOUNT)  # it is 11:00 there
    named = sent(clock, refusal(403, "flow_exceeded", retry_after="60"))
    assert named.retry_after == timedelta(minutes=1)


@pytest.mark.parametrize(
    ("act", "kind", "wait"),
    [
        (answers(429), K.RETRY_AFTER, timedelta(minutes=1)),
        (answers(429, retry_after="7"), K.RETRY_AFTER, timedelta(seconds=7)),
        (answers(500), K.RETRY, None),
        (html(502), K.RETRY, None),
        (answers(503, retry_after="7"), K.RETRY_AFTER, timedelta(seconds=7)),
        (html(401), K.STOP_CHANNEL, None),
        (answers(404), K.STOP_CHANNEL, None),
        (html(400), K.DROP_MESSAGE, None),
        (answers(307, location="/x"), K.STOP_CHANNEL, None),
        (answers(408), K.AMBIGUOUS, None),
        (html(200), K.AMBIGUOUS, None),
        (answers(200, {"code": 0, "data": {}}), K.AMBIGUOUS, None),
        (answers(200, {"code": 0, "data": {"": {CID: "successed_online"}}}), K.AMBIGUOUS, None),
        (answers(200, {"code": 5, "data": {"T": {CID: "successed_online"}}}), K.AMBIGUOUS, None),
        (answers(200, {"code": 0, "data": {"T": 5}}), K.AMBIGUOUS, None),
        (answers(200, [1]), K.AMBIGUOUS, None),
        (huge, K.AMBIGUOUS, None),
    ],
)
def test_by_status(clock: ManualClock, act: Act, kind: OutcomeClass, wait: timedelta | None) -> None:
    outcome = sent(clock, act)
    assert (outcome.kind, outcome.retry_after) == (kind, wait)


@pytest.mark.parametrize("act", [reset, hang_up, silence, drip, garbage, cut(200), cut(400)])
def test_a_lost_answer_is_ambiguous_and_one_request(clock: ManualClock, act: Act) -> None:
    outcome = sent(clock, act)
    assert (outcome.kind, outcome.may_have_left) == (K.AMBIGUOUS, True)


def test_100_unknown_codes_follow_the_default_rule(clock: ManualClock) -> None:
    chance = random.Random(20261201)
    expected = {200: K.AMBIGUOUS, 400: K.DROP_MESSAGE, 403: K.STOP_CHANNEL, 429: K.RETRY_AFTER, 500: K.RETRY}

    async def main() -> None:
        async with opened(clock, OK, patience=5) as (channel, far):
            for _ in range(100):
                code = chance.choice(range(10_002, 60_000))
                status = chance.choice(list(expected))
                far.plays(PUSH, refusal(status, code))
                outcome = await channel.send(ENVELOPE)
                assert (outcome.kind, outcome.code, outcome.uncharted) == (expected[status], str(code), True)

    asyncio.run(main())


def test_one_token_for_many_messages(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK, patience=5) as (channel, far):
            outcomes = await asyncio.gather(*(channel.send(ENVELOPE) for _ in range(50)))
            assert {outcome.kind for outcome in outcomes} == {K.ACCEPTED}
            assert (len(far.seen(AUTH)), len(far.seen(PUSH))) == (1, 50)

    asyncio.run(main())


def test_an_expired_token_is_replaced_once(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, refusal(401, 10001, "token expired"), OK) as (channel, far):
            assert (await channel.send(ENVELOPE)).kind is K.ACCEPTED
            assert [seen.headers["token"] for seen in far.seen(PUSH)] == ["t-1", "t-2"]
            assert len({seen.json["request_id"] for seen in far.seen(PUSH)}) == 1

    asyncio.run(main())


def test_a_token_that_is_refused_again_stops_the_account(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, refusal(401, 10001)) as (channel, far):
            outcome = await channel.send(ENVELOPE)
            assert (outcome.kind, outcome.code, outcome.scope) == (K.STOP_CHANNEL, "10001", Scope.ACCOUNT)
            assert len(far.seen(PUSH)) == 2
            await channel.send(ENVELOPE)
            assert (len(far.seen(AUTH)), len(far.seen(PUSH))) == (2, 3)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (refusal(400, "sign_error"), K.STOP_CHANNEL),
        (refusal(400, 20001), K.STOP_CHANNEL),
        (answers(200, {"code": 0, "data": {"token": "x", "expire_time": "soon"}}), K.RETRY),
        (answers(500), K.RETRY),
        (answers(429), K.RETRY_AFTER),
    ],
)
def test_without_a_token_nothing_leaves(clock: ManualClock, act: Act, kind: OutcomeClass) -> None:
    async def main() -> None:
        async with opened(clock, OK) as (channel, far):
            far.plays(AUTH, act)
            outcome = await channel.send(ENVELOPE)
            assert (outcome.kind, outcome.may_have_left) == (kind, False)
            assert not far.seen(PUSH)

    asyncio.run(main())


def test_nothing_of_ours_in_what_is_kept(clock: ManualClock) -> None:
    words = f"cid {CID} is wrong: Canarytitle noodles t-1"
    kept = repr(sent(clock, refusal(400, 20001, words)))
    assert "wrong" in kept
    for canary in ("canary", "Canary", "noodles"):
        assert canary not in kept


def test_payloads_that_cannot_be_sent(clock: ManualClock) -> None:
    bad: dict[str, Payload] = {
        "push payloads only": SmsPayload("x"),
        "data key 'ack' is reserved": replace(PAYLOAD, data={"ack": "x"}),
        "a title of 51 characters": PushPayload("x" * 51, "y"),
        "a body of 257 characters": PushPayload("x", "午" * 257),
        "data of": replace(PAYLOAD, data={"long": "x" * 3000}),
        "surrogate": PushPayload("\ud83d", "x"),
    }

    async def main() -> None:
        async with opened(clock, OK) as (channel, far):
            for words, payload in bad.items():
                assert any(words in problem for problem in channel.problems(payload))
                outcome = await channel.send(replace(ENVELOPE, payload=payload))
                assert (outcome.kind, outcome.may_have_left) == (K.DROP_MESSAGE, False)
            assert not far.requests
            assert channel.problems(PushPayload("x" * 50, "y" * 256)) == []
            assert await channel.reconcile(Inquiry("1", CID, PAYLOAD, clock.machine())) is None

    asyncio.run(main())


@pytest.mark.parametrize(
    ("act", "health", "words"),
    [
        (None, Health.FINE, "gives a token"),
        (refusal(400, "sign_error"), Health.BROKEN, "sign_error"),
        (answers(500), Health.WARNING, "500"),
        (silence, Health.BROKEN, "timeout"),
    ],
)
def test_the_check(clock: ManualClock, act: Act | None, health: Health, words: str) -> None:
    async def main() -> None:
        async with opened(clock, OK) as (channel, far):
            if act is not None:
                far.plays(AUTH, act)
            finding = (await channel.check())[0]
            assert finding.health is health
            assert words in finding.what
            assert not far.seen(PUSH)

    asyncio.run(main())


def receipt(**changed: Any) -> dict[str, Any]:
    line = {"appid": APP, "cid": CID, "taskid": "RASS_1", "msgid": "m-1", "code": "200", "desc": "ok"} | changed
    secret = line.pop("secret", MASTER)
    signed = "".join([line["appid"], line["cid"], line["taskid"], line["msgid"], secret])
    after: dict[str, Any] = changed.get("after", {})
    return {**line, "sign": md5(signed.encode(), usedforsecurity=False).hexdigest(), **after}


def heard(clock: ManualClock, *lines: object, hook: str = f"report/{HOOK}") -> object:
    async def main() -> object:
        options = GetuiOptions(app_id=APP, app_key=KEY, master_secret_file=Path("x"))
        channel = GetuiChannel(options, MASTER, Transport(HOUR), clock, callback_secret=HOOK)
        body = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
        return await channel.hear(CallbackRequest("https://push.example/x", hook, {}, {}, body))

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("code", "state", "kind"),
    [
        ("200", ReportState.DELIVERED, None),
        ("400", ReportState.UNDELIVERED, None),
        ("401", ReportState.UNDELIVERED, K.DROP_ADDRESS),
        ("402", ReportState.UNDELIVERED, None),
        ("500", ReportState.UNDELIVERED, None),
    ],
)
def test_receipts(clock: ManualClock, code: str, state: ReportState, kind: OutcomeClass | None) -> None:
    shown = "" if code == "200" else code
    assert heard(clock, receipt(code=code)) == Heard([Report("RASS_1", state.value, state, shown, kind, address=CID)])


def test_several_lines_and_codes_that_say_nothing(clock: ManualClock) -> None:
    got = heard(clock, receipt(), receipt(taskid="RASS_2"), receipt(code="777"), b"")
    assert isinstance(got, Heard)
    assert [each.provider_id for each in got.said if isinstance(each, Report)] == ["RASS_1", "RASS_2"]


def test_what_is_not_believed(clock: ManualClock) -> None:
    for hook in ("report", "report/", f"report/{HOOK}x", f"reply/{HOOK}"):
        assert heard(clock, receipt(), hook=hook) is Refused.FORGED
    assert heard(clock, receipt(secret="guessed")) is Refused.FORGED
    assert heard(clock, receipt(), receipt(after={"cid": "another"})) is Refused.FORGED
    assert heard(clock, receipt(appid="another")) is Refused.FORGED
    assert heard(clock, {**receipt(), "sign": None}) is Refused.FORGED
    assert heard(clock, b"<html>") is Refused.MALFORMED
    assert heard(clock, b"\xff") is Refused.MALFORMED
    assert heard(clock, b"") is Refused.MALFORMED


def test_no_one_bit_change_of_what_is_signed_passes(clock: ManualClock) -> None:
    """R14, over every bit of every signed field and of the signature."""
    good = receipt()
    changed = []
    for name in ("appid", "cid", "taskid", "msgid", "sign"):
        for place in range(len(good[name]) * 7):
            raw = bytearray(good[name].encode())
            raw[place // 7] ^= 1 << place % 7
            flipped = raw.decode()
            if name != "sign" or flipped.lower() != good["sign"]:  # hexadecimal digits are one in either case
                changed.append({**good, name: flipped})
    assert len(changed) > 350
    assert all(heard(clock, each) is Refused.FORGED for each in changed)


def test_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "master").write_text(MASTER)
    options = {"app_id": APP, "app_key": KEY, "master_secret_file": str(tmp_path / "master")}
    channel = open_channel("one", "getui", options, callback_url="https://push.example/callbacks/one")
    assert (channel.channel, channel.provider, set(channel.kinds)) == ("push", "getui", {"getui"})
    asyncio.run(channel.close())
