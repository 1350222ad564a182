"""What holds for Huawei, Xiaomi, OPPO and vivo alike: one request, one token, no guessing, no private words kept."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.channel.base import (
    Ambiguity,
    Envelope,
    Inquiry,
    OutcomeClass,
    PushPayload,
    SmsPayload,
)
from orchestrator.channel.push import huawei_errors, oppo_errors, vivo_errors, xiaomi_errors
from orchestrator.channel.rules import uncharted
from orchestrator.clock import ManualClock
from tests.channel.far_end import Act, answers, cut, drip, garbage, hang_up, html, huge, reset, silence
from tests.channel.push.makers import (
    CALLBACK,
    ENVELOPE,
    MAKERS,
    PAYLOAD,
    SECRET,
    WITH_TOKENS,
    Maker,
    opened,
    sent,
)

K = OutcomeClass
TABLES = {
    "huawei": huawei_errors.TABLE,
    "xiaomi": xiaomi_errors.TABLE,
    "oppo": oppo_errors.TABLE,
    "vivo": vivo_errors.TABLE,
}
each_maker = pytest.mark.parametrize("maker", MAKERS, ids=lambda one: one.name)
each_with_token = pytest.mark.parametrize("maker", WITH_TOKENS, ids=lambda one: one.name)


@each_maker
def test_accepted(maker: Maker, clock: ManualClock) -> None:
    outcome, carried, tokens = sent(maker, clock, maker.ok())
    assert (outcome.kind, outcome.provider_id, carried) == (K.ACCEPTED, maker.provider_id, 1)
    assert tokens == bool(maker.token)


@each_maker
def test_accepted_without_an_id_is_ambiguous(maker: Maker, clock: ManualClock) -> None:
    bare = {name: value for name, value in maker.accepted.items() if name not in {"data", "taskId", "requestId"}}
    assert sent(maker, clock, answers(200, bare))[0].kind is K.AMBIGUOUS


# One attempt, one request; what may have left is ambiguous.
TROUBLE: list[tuple[Act, OutcomeClass]] = [
    (html(500), K.RETRY),
    (html(502), K.RETRY),
    (answers(504), K.RETRY),
    (answers(503, None, retry_after="7"), K.RETRY_AFTER),
    (answers(429, None), K.RETRY_AFTER),
    (answers(429, None, retry_after="90"), K.RETRY_AFTER),
    (answers(408), K.AMBIGUOUS),
    (answers(404), K.STOP_CHANNEL),
    (answers(301, None, location="http://127.0.0.1:1/"), K.STOP_CHANNEL),
    (answers(413), K.DROP_MESSAGE),
    (answers(200), K.AMBIGUOUS),
    (html(200), K.AMBIGUOUS),
    (answers(200, ["nonsense"]), K.AMBIGUOUS),
    (answers(200, {"code": True, "result": None, "data": 7}), K.AMBIGUOUS),
    (huge, K.AMBIGUOUS),
    (cut(200), K.AMBIGUOUS),
    (garbage, K.AMBIGUOUS),
    (reset, K.AMBIGUOUS),
    (hang_up, K.AMBIGUOUS),
    (silence, K.AMBIGUOUS),
    (drip, K.AMBIGUOUS),
]


@each_maker
@pytest.mark.parametrize(("act", "kind"), TROUBLE)
def test_one_request_whatever_happens(maker: Maker, act: Act, kind: OutcomeClass, clock: ManualClock) -> None:
    slow = act in {silence, drip, huge}
    outcome, carried, _ = sent(maker, clock, act, patience=0.4 if slow else 5)
    assert (outcome.kind, carried) == (kind, 1)
    assert outcome.may_have_left


@each_maker
def test_a_hanging_provider_costs_no_more_than_the_timeout(maker: Maker, clock: ManualClock) -> None:
    started = time.monotonic()
    assert sent(maker, clock, silence, patience=0.3)[0].kind is K.AMBIGUOUS
    assert time.monotonic() - started < 3


@each_maker
def test_nobody_there(maker: Maker, clock: ManualClock) -> None:
    async def main() -> None:
        channel = maker.open("http://127.0.0.1:9", clock, 0.5)
        outcome = await channel.send(ENVELOPE)
        assert (outcome.kind, outcome.may_have_left) == (K.RETRY, False)
        await channel.close()

    asyncio.run(main())


@each_maker
def test_a_hundred_unknown_codes_fall_to_the_default_rule(maker: Maker, clock: ManualClock) -> None:
    dice = random.Random(20261101)
    table = TABLES[maker.name]
    codes: set[str] = set()
    while len(codes) < 100:
        code = str(dice.randrange(1, 99_999_999))
        if code not in table and code not in {huawei_errors.ACCEPTED, huawei_errors.PARTLY, xiaomi_errors.NO_TARGETS}:
            codes.add(code)
    cases = [(code, dice.choice([200, 200, 400, 403, 404, 422, 429, 500, 502])) for code in sorted(codes)]

    async def main() -> None:
        async with opened(maker, clock, *(maker.error(*case) for case in cases if case[1] != 403)) as (channel, _):
            for code, status in (case for case in cases if case[1] != 403):
                outcome = await channel.send(ENVELOPE)
                expected = uncharted(status, code)
                assert (outcome.code, outcome.uncharted, outcome.kind) == (code, True, expected.kind)
                assert outcome.kind is not K.DROP_ADDRESS

    asyncio.run(main())
    for code, status in cases:
        if status == 403:
            outcome, carried, _ = sent(maker, clock, maker.error(code, 403))
            assert (outcome.kind, outcome.uncharted) == (K.STOP_CHANNEL, True)
            assert carried == (2 if maker.token else 1)


@each_maker
def test_what_a_provider_quotes_is_not_kept(maker: Maker, clock: ManualClock) -> None:
    for code in ("1", "41", "80100001", "10085", "nonsense"):
        outcome = sent(maker, clock, maker.error(code, 400))[0]
        assert "Canary" not in outcome.detail
        assert "Canary" not in outcome.code


@each_with_token
def test_fifty_at_once_share_one_token(maker: Maker, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(maker, clock, maker.ok()) as (channel, far):
            outcomes = await asyncio.gather(*(channel.send(ENVELOPE) for _ in range(50)))
            assert {outcome.kind for outcome in outcomes} == {K.ACCEPTED}
            assert (len(far.seen(maker.token)), len(far.seen(maker.send))) == (1, 50)

    asyncio.run(main())


@each_with_token
def test_a_refused_token_is_replaced_once(maker: Maker, clock: ManualClock) -> None:
    outcome, carried, tokens = sent(maker, clock, maker.error(maker.token_refused), maker.ok())
    assert (outcome.kind, carried, tokens) == (K.ACCEPTED, 2, 2)
    outcome, carried, tokens = sent(maker, clock, answers(401), maker.ok())
    assert (outcome.kind, carried, tokens) == (K.ACCEPTED, 2, 2)


@each_with_token
def test_tokens_that_never_work_stop_the_account_and_are_not_minted_in_a_loop(maker: Maker, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(maker, clock, maker.error(maker.token_refused)) as (channel, far):
            for _ in range(30):
                outcome = await channel.send(ENVELOPE)
                assert outcome.kind is K.STOP_CHANNEL
                clock.advance(timedelta(seconds=30))  # a quarter of an hour in all
            assert len(far.seen(maker.token)) == 2
            assert len(far.seen(maker.send)) == 31
            clock.advance(timedelta(minutes=20))
            await channel.send(ENVELOPE)
            assert len(far.seen(maker.token)) == 3

    asyncio.run(main())


@each_with_token
def test_a_token_is_replaced_before_it_ends_by_one_task(maker: Maker, clock: ManualClock) -> None:
    life = {"huawei": 60, "oppo": 24 * 60, "vivo": 120}[maker.name]

    async def main() -> None:
        async with opened(maker, clock, maker.ok()) as (channel, far):
            await channel.send(ENVELOPE)
            clock.advance(timedelta(minutes=life - 6))
            await channel.send(ENVELOPE)
            assert len(far.seen(maker.token)) == 1
            clock.advance(timedelta(minutes=2))  # four minutes before its end
            await asyncio.gather(*(channel.send(ENVELOPE) for _ in range(50)))
            await asyncio.sleep(0.05)
            assert len(far.seen(maker.token)) == 2
            await channel.send(ENVELOPE)
            assert "t-2" in str(far.seen(maker.send)[-1])
            assert "t-1" in str(far.seen(maker.send)[0])

    asyncio.run(main())


@each_with_token
@pytest.mark.parametrize(
    ("act", "kind", "asked"),
    [
        (answers(500), K.RETRY, 3),
        (answers(429, None, retry_after="9"), K.RETRY_AFTER, 1),
        (reset, K.RETRY, 3),
        (html(200), K.RETRY, 3),
        (answers(403), K.STOP_CHANNEL, 1),
    ],
)
def test_trouble_with_the_token_server_sends_nothing(
    maker: Maker, act: Act, kind: OutcomeClass, asked: int, clock: ManualClock
) -> None:
    outcome, carried, tokens = sent(maker, clock, maker.ok(), tokens=[act])
    assert (outcome.kind, carried, tokens) == (kind, 0, asked)
    assert outcome.code.startswith("token:")
    assert not outcome.may_have_left


@pytest.mark.parametrize(
    ("maker", "body", "kind"),
    [
        (WITH_TOKENS[0], {"error": 1101, "sub_error": 20013}, K.STOP_CHANNEL),
        (WITH_TOKENS[1], {"code": 16, "message": "Invalid Signature"}, K.STOP_CHANNEL),
        (WITH_TOKENS[1], {"code": 19, "message": "Invalid Timestamp"}, K.STOP_CHANNEL),
        (WITH_TOKENS[1], {"code": -2, "message": "Service in Flow Control"}, K.RETRY_AFTER),
        (WITH_TOKENS[1], {"code": -1}, K.RETRY),
        (WITH_TOKENS[2], {"result": 10204, "desc": "sign"}, K.STOP_CHANNEL),
        (WITH_TOKENS[2], {"result": 10093, "desc": "too often"}, K.RETRY_AFTER),
    ],
)
def test_what_a_token_server_refuses(
    maker: Maker, body: dict[str, object], kind: OutcomeClass, clock: ManualClock
) -> None:
    status = 400 if maker.name == "huawei" else 200
    outcome, carried, _ = sent(maker, clock, maker.ok(), tokens=[answers(status, body)])
    assert (outcome.kind, carried, outcome.may_have_left) == (kind, 0, False)
    assert SECRET not in repr(outcome)


@each_with_token
def test_a_token_server_in_trouble_is_left_alone_a_moment_and_then_works_again(
    maker: Maker, clock: ManualClock
) -> None:
    async def main() -> None:
        good = answers(200, maker.token_answer(1))
        async with opened(maker, clock, maker.ok(), tokens=[answers(403), good]) as (channel, far):
            kinds = {(await channel.send(ENVELOPE)).kind for _ in range(20)}
            assert (kinds, len(far.seen(maker.token))) == ({K.STOP_CHANNEL}, 1)
            clock.advance(timedelta(seconds=6))
            assert (await channel.send(ENVELOPE)).kind is K.ACCEPTED

    asyncio.run(main())


@each_maker
def test_what_is_never_sent(maker: Maker, clock: ManualClock) -> None:
    wrong: list[PushPayload | SmsPayload] = [
        SmsPayload("吃饭"),
        replace(PAYLOAD, title=""),
        replace(PAYLOAD, body=" \n"),
        replace(PAYLOAD, title="半\ud800"),
        replace(PAYLOAD, data={"k": "\udfff"}),
        replace(PAYLOAD, data={"msg_id": "1"}),
        replace(PAYLOAD, data={"link": "1"}),
        replace(PAYLOAD, data={"ack": "1"}),
        replace(PAYLOAD, data={"k": "v" * 5000}),
    ]
    for payload in wrong:
        outcome, carried, tokens = sent(maker, clock, maker.ok(), envelope=replace(ENVELOPE, payload=payload))
        assert (outcome.kind, outcome.code, carried, tokens) == (K.DROP_MESSAGE, "payload", 0, 0)
        assert "Canary" not in outcome.detail


@each_maker
def test_random_texts_are_sent_within_the_limits_or_not_at_all(maker: Maker, clock: ManualClock) -> None:
    """Whatever passes ``problems`` has a body that is within the provider's limits, with the longest id there is."""
    dice = random.Random(7)
    alphabet = 'aZ09 é中文字👨‍👩‍👧‍👦🇨🇳👍🏽"\\\n\t<&\u200d\u0301'

    def text(most: int) -> str:
        return "".join(dice.choice(alphabet) for _ in range(dice.randrange(1, most)))

    async def main() -> None:
        channel = maker.open("http://127.0.0.1:9", clock, 1)
        passed = 0
        for _ in range(300):
            scale = dice.choice([30, 120, 900])
            data = {text(9): text(scale) for _ in range(dice.randrange(0, 8))}
            payload = PushPayload(text(scale // 2), text(scale * 2), link="https://app.example/" + "x" * 40, data=data)
            if not channel.problems(payload):
                passed += 1
                assert within(maker.name, channel, payload)
        assert passed > 10
        await channel.close()

    asyncio.run(main())


def within(name: str, channel: object, payload: PushPayload) -> bool:
    from orchestrator.channel.push import huawei, oppo, vivo_message, xiaomi
    from orchestrator.channel.push.vendor import custom_data, dumped

    envelope = Envelope("9" * 19, 1, "", "", payload, timedelta(days=1), "k", ack="a" * 44)
    data = custom_data(envelope, payload)
    match name:
        case "huawei":
            options = huawei.HuaweiOptions(app_id="104567890")
            return len(huawei.message_json(envelope, payload, options)) <= 4096
        case "xiaomi":
            form = xiaomi.form(envelope, payload, xiaomi.XiaomiOptions(package="com.example.a"), CALLBACK)
            return len(form["title"]) < 50 and len(form["description"]) < 128 and len(form["payload"].encode()) <= 4096
        case "oppo":
            shown = oppo.message_of(envelope, payload, oppo.OppoOptions(app_key="01234567"), CALLBACK)["notification"]
            return len(shown["title"]) <= 50 and len(shown["content"]) <= 200 and len(dumped(data)) <= 4000
        case _:
            sizes = vivo_message.half_widths(payload.title) <= 40, vivo_message.half_widths(payload.body) <= 100
            return all(sizes) and len(data) <= 10 and sum(len(k) + len(v) for k, v in data.items()) <= 1024


@each_maker
@pytest.mark.parametrize("ack", ["", "a" * 44])
def test_the_app_finds_everything_in_the_message(maker: Maker, ack: str, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(maker, clock, maker.ok()) as (channel, far):
            await channel.send(replace(ENVELOPE, ack=ack))
            (seen,) = far.seen(maker.send)
            raw = seen.body.decode() if maker.name in {"huawei", "vivo"} else "".join(seen.form.values())
            flat = raw.replace("\\", "")
            for pair in ('"msg_id":"4711"', '"link":"https://app.example/x"', '"coupon":"Canarycoupon"'):
                assert pair in flat
            assert ('"ack":"' + ack + '"' in flat) == bool(ack)

    asyncio.run(main())


@each_maker
def test_a_resend_replaces(maker: Maker, clock: ManualClock) -> None:
    """The number that a notification is replaced by depends on the collapse key alone."""

    async def main() -> None:
        async with opened(maker, clock, maker.ok()) as (channel, far):
            assert channel.ambiguity is Ambiguity.RESEND
            for envelope in (ENVELOPE, replace(ENVELOPE, attempt=2), replace(ENVELOPE, collapse_key="other")):
                await channel.send(envelope)
            first, again, other = [str(seen.body) for seen in far.seen(maker.send)]
            assert first == again != other

    asyncio.run(main())


@each_maker
def test_reconciling_is_not_needed(maker: Maker, clock: ManualClock) -> None:
    async def main() -> None:
        channel = maker.open("http://127.0.0.1:9", clock, 1)
        assert await channel.reconcile(Inquiry("1", "a", PAYLOAD, clock.machine())) is None
        await channel.close()

    asyncio.run(main())
