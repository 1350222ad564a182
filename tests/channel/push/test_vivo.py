"""vivo: the request, every row of its table, its hours and its rules for texts, and its receipts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from orchestrator.channel.base import OutcomeClass, PushPayload, Scope
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Report, ReportState, Seen, SeenDeed
from orchestrator.channel.push import vivo_errors
from orchestrator.channel.push.quotas import DailyQuota
from orchestrator.channel.push.vendor import notify_id
from orchestrator.channel.push.vivo import VivoChannel, open_channel
from orchestrator.channel.push.vivo_message import half_widths, is_refused_text
from orchestrator.clock import ManualClock
from orchestrator.errors import ConfigError
from tests.channel.far_end import answers
from tests.channel.push.makers import CALLBACK, ENVELOPE, HOOK_SECRET, PAYLOAD, SECRET, VIVO, opened, sent

K = OutcomeClass


def test_the_request(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(VIVO, clock, VIVO.ok(), classification="system", category="TODO") as (channel, far):
            await channel.send(replace(ENVELOPE, ack="signed"))
            (auth,), (seen,) = far.seen(VIVO.token), far.seen(VIVO.send)
            stamp = int(clock.machine().timestamp() * 1000)
            sign = md5(f"1045670123456789abcdef{stamp}{SECRET}".encode()).hexdigest()
            assert auth.json == {"appId": 104567, "appKey": "0123456789abcdef", "timestamp": stamp, "sign": sign}
            assert seen.headers["authtoken"] == "t-1"
            data = {"coupon": "Canarycoupon", "link": "https://app.example/x", "ack": "signed", "msg_id": "4711"}
            assert seen.json == {
                "appId": 104567,
                "regId": ENVELOPE.address,
                "notifyType": 4,
                "title": PAYLOAD.title,
                "content": PAYLOAD.body,
                "timeToLive": 5400,
                "skipType": 1,
                "clientCustomMap": data,
                "requestId": "4711",
                "notifyId": notify_id("run-7-user-9"),
                "classification": 1,
                "category": "TODO",
                "pushMode": 0,
                "extra": {"callback": CALLBACK, "callback.param": "4711"},
            }

    asyncio.run(main())


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [(timedelta(seconds=-5), 60), (timedelta(seconds=99.9), 99), (timedelta(days=40), 604_800)],
)
def test_ttl(ttl: timedelta, seconds: int, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(VIVO, clock, VIVO.ok()) as (channel, far):
            await channel.send(replace(ENVELOPE, ttl=ttl))
            assert far.seen(VIVO.send)[0].json["timeToLive"] == seconds

    asyncio.run(main())


# Every row of providers §4.4, and what the vendor says of tokens.
ROWS = [
    ("10302", K.DROP_ADDRESS),
    ("10070", K.RETRY_AFTER),
    ("10073", K.RETRY_AFTER),
    ("10071", K.RETRY_AFTER),
    ("10085", K.DROP_MESSAGE),
    ("10104", K.DROP_MESSAGE),
    ("10000", K.STOP_CHANNEL),
    ("10093", K.RETRY_AFTER),
    ("10094", K.STOP_CHANNEL),
]


def test_the_table_is_the_contract() -> None:
    assert {code: rule.kind for code, rule in vivo_errors.TABLE.items()} == dict(ROWS)


@pytest.mark.parametrize(("code", "kind"), ROWS)
def test_rows(code: str, kind: OutcomeClass, clock: ManualClock) -> None:
    outcome, carried, tokens = sent(VIVO, clock, VIVO.error(code))
    assert (outcome.kind, outcome.code, outcome.uncharted) == (kind, code, False)
    assert (carried, tokens) == ((2, 2) if code == "10000" else (1, 1))


@pytest.mark.parametrize("code", ["10070", "10073"])
def test_the_days_number_comes_back_at_midnight_in_china(code: str, clock: ManualClock) -> None:
    outcome = sent(VIVO, clock, VIVO.error(code))[0]
    assert (outcome.retry_after, outcome.scope) == (timedelta(hours=13), Scope.ACCOUNT)


@pytest.mark.parametrize(
    ("now", "wait"),
    [
        (datetime(2026, 12, 1, 15, 0, tzinfo=UTC), timedelta(hours=8)),  # 23:00 in China
        (datetime(2026, 12, 1, 18, 30, tzinfo=UTC), timedelta(hours=4, minutes=30)),  # 02:30
        (datetime(2026, 12, 1, 22, 59, 59, tzinfo=UTC), timedelta(seconds=1)),
        (datetime(2026, 12, 1, 23, 0, tzinfo=UTC), timedelta(hours=1)),  # it should be open
        (datetime(2026, 12, 1, 14, 59, tzinfo=UTC), timedelta(hours=1)),
    ],
)
def test_outside_its_hours_vivo_opens_again_at_seven(now: datetime, wait: timedelta) -> None:
    assert sent(VIVO, ManualClock(now), VIVO.error("10071"))[0].retry_after == wait


def test_a_phone_that_is_no_test_phone_is_not_dead(clock: ManualClock) -> None:
    assert sent(VIVO, clock, VIVO.error("10302"))[0].kind is K.DROP_ADDRESS
    testing = sent(VIVO, clock, VIVO.error("10302"), test_messages=True)[0]
    assert (testing.kind, testing.scope) == (K.DROP_MESSAGE, Scope.ADDRESS)


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize(("status", "kind"), [(1, K.DROP_ADDRESS), (2, K.DROP_MESSAGE), (3, K.DROP_MESSAGE)])
def test_accepted_but_the_user_is_listed_as_invalid(
    status: int, kind: OutcomeClass, listed: bool, clock: ManualClock
) -> None:
    def act(userid: str) -> Any:
        user = {"status": status, "userid": userid}
        return answers(200, {**VIVO.accepted, **({"invalidUsers": [user]} if listed else {"invalidUser": user})})

    assert sent(VIVO, clock, act(ENVELOPE.address))[0].kind is kind
    assert sent(VIVO, clock, act("another"))[0].kind is K.ACCEPTED


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("123", True),
        ("Come back", True),
        ("!!!", True),
        ("12.5 %", True),
        ("😀", True),
        ("吃饭了", False),
        ("Hi,午餐好了", False),
        ("88折", False),
        ("Привет", False),
    ],
)
def test_texts_of_digits_symbols_or_english_alone(text: str, refused: bool) -> None:
    assert is_refused_text(text) is refused


@pytest.mark.parametrize(("text", "length"), [("abc", 3), ("中文", 4), ("中a😀", 4), ("", 0), ("，。", 2)])
def test_lengths(text: str, length: int) -> None:
    assert half_widths(text) == length


@pytest.mark.parametrize(
    ("payload", "fine"),
    [
        (PushPayload("题" * 20, "文" * 50), True),
        (PushPayload("题" * 20 + "a", "文"), False),
        (PushPayload("题", "文" * 50 + "a"), False),
        (PushPayload("题", "这是测试"), False),
        (PushPayload("Come back", "文"), False),
        (PushPayload("题", "12345"), False),
        (PushPayload("题", "文", data={f"k{n}": "v" for n in range(8)}), True),
        (PushPayload("题", "文", data={f"k{n}": "v" for n in range(9)}), False),
        (PushPayload("题", "文", data={"k": "v" * 1000}), False),
    ],
)
def test_limits(payload: PushPayload, fine: bool, clock: ManualClock) -> None:
    async def main(**options: Any) -> list[str]:
        async with opened(VIVO, clock, VIVO.ok(), **options) as (channel, _):
            return list(channel.problems(payload))

    assert (not asyncio.run(main())) == fine
    if "测试" in payload.body or "Come" in payload.title:
        assert not asyncio.run(main(test_messages=True))


def test_receipts(clock: ManualClock) -> None:
    several = {
        "101": {"param": "4711", "targets": "reg-1"},
        "102": {"param": "4712", "targets": "reg-2", "ackType": 1, "ackTime": 1796100000000},
        "103": {"targets": "a,b", "ackType": "0"},
    }

    async def main() -> Heard | Refused:
        channel: VivoChannel = VIVO.open("http://127.0.0.1:9", clock, 1)
        raw = json.dumps(several).encode()
        told = await channel.hear(CallbackRequest("", f"report/{HOOK_SECRET}", {}, {}, raw))
        await channel.close()
        return told

    told = asyncio.run(main())
    assert isinstance(told, Heard)
    clicked = datetime.fromtimestamp(1796100000, UTC)
    assert list(told.said) == [
        Report("101", "delivered", ReportState.DELIVERED, message_id=4711, address="reg-1"),
        Seen("vivo:102:click", "102", SeenDeed.CLICK, clicked, message_id=4712),
        Report("103", "delivered", ReportState.DELIVERED),
    ]


def test_options(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    options: dict[str, Any] = {"app_id": 104567, "app_key": "0123456789", "app_secret_file": tmp_path / "secret"}
    channel = open_channel("vi", options, "https://push.example/callbacks/vi")
    assert isinstance(channel, VivoChannel)
    assert channel.quota == DailyQuota(2, "Asia/Shanghai")
    secret = {"callback_secret_file": tmp_path / "secret"}
    for wrong, url in (
        ({"quota": "public"}, ""),
        ({"classification": "news"}, ""),
        ({"base_url": "http://push.example"}, ""),
        (secret, "https://push.example/" + "x" * 110),
    ):
        with pytest.raises(ConfigError):
            open_channel("vi", {**options, **wrong}, url)
