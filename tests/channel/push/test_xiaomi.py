"""Xiaomi: the request, every row of its table, the day's limit, and its receipts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from orchestrator.channel.base import OutcomeClass, PushPayload, Scope
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Report, ReportState, Seen, SeenDeed
from orchestrator.channel.push import xiaomi_errors
from orchestrator.channel.push.quotas import DailyQuota
from orchestrator.channel.push.vendor import notify_id
from orchestrator.channel.push.xiaomi import XiaomiChannel, open_channel
from orchestrator.clock import ManualClock
from orchestrator.errors import ConfigError
from tests.channel.far_end import answers
from tests.channel.push.makers import CALLBACK, ENVELOPE, HOOK_SECRET, PAYLOAD, SECRET, XIAOMI, opened, sent

K = OutcomeClass


def test_the_request(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(XIAOMI, clock, XIAOMI.ok(), channel_id="c-1") as (channel, far):
            await channel.send(replace(ENVELOPE, ack="signed"))
            (seen,) = far.seen(XIAOMI.send)
            assert seen.headers["authorization"] == f"key={SECRET}"
            form = seen.form
            data = {"coupon": "Canarycoupon", "link": "https://app.example/x", "ack": "signed", "msg_id": "4711"}
            assert json.loads(form.pop("payload")) == data
            jobkey = form.pop("extra.jobkey")
            assert (len(jobkey), jobkey.isalnum()) == (8, True)
            assert form == {
                "registration_id": ENVELOPE.address,
                "restricted_package_name": "com.example.sandbox",
                "pass_through": "0",
                "title": PAYLOAD.title,
                "description": PAYLOAD.body,
                "notify_type": "-1",
                "notify_id": str(notify_id("run-7-user-9")),
                "time_to_live": "5400000",
                "extra.notify_effect": "1",
                "extra.notify_foreground": "1",
                "extra.channel_id": "c-1",
                "extra.callback": CALLBACK,
                "extra.callback.param": "4711",
                "extra.callback.type": "19",
            }

    asyncio.run(main())


@pytest.mark.parametrize(
    ("ttl", "text"),
    [(timedelta(seconds=-5), "1000"), (timedelta(seconds=59.9), "59000"), (timedelta(days=40), "1209600000")],
)
def test_ttl_is_in_milliseconds(ttl: timedelta, text: str, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(XIAOMI, clock, XIAOMI.ok()) as (channel, far):
            await channel.send(replace(ENVELOPE, ttl=ttl))
            assert far.seen(XIAOMI.send)[0].form["time_to_live"] == text

    asyncio.run(main())


# Every code of providers §4.4.
ROWS = [
    *[(code, K.RETRY) for code in ("1", "10001", "10002", "10003", "20607", "26003", "65029")],
    *[(code, K.RETRY_AFTER) for code in ("10027", "10034", "26004")],
    *[(code, K.STOP_CHANNEL) for code in ("10031", "10036", "21301", "21302", "22000", "22006", "22007", "22022")],
    *[(code, K.STOP_CHANNEL) for code in ("10012", "26006")],
    *[(code, K.DROP_ADDRESS) for code in ("10029", "65003")],
    *[(code, K.DROP_MESSAGE) for code in ("10008", "10016", "10017", "65009", "65014", "65015", "27001")],
    *[(code, K.DROP_MESSAGE) for code in ("65036", "65037", "65038")],
]


def test_the_table_is_the_contract() -> None:
    own = {code: rule.kind for code, rule in xiaomi_errors.TABLE.items() if code != xiaomi_errors.NO_TARGETS}
    assert own == dict(ROWS)


@pytest.mark.parametrize("status", [200, 400, 401, 500])
@pytest.mark.parametrize(("code", "kind"), ROWS)
def test_rows(code: str, kind: OutcomeClass, status: int, clock: ManualClock) -> None:
    outcome, carried, _ = sent(XIAOMI, clock, XIAOMI.error(code, status))
    assert (outcome.kind, outcome.code, outcome.uncharted, carried) == (kind, code, False, 1)


def test_no_valid_targets(clock: ManualClock) -> None:
    body = {"result": "error", "reason": "No valid targets!", "code": 20301, "description": "发送消息失败"}
    assert sent(XIAOMI, clock, answers(200, body))[0].kind is K.DROP_ADDRESS
    assert sent(XIAOMI, clock, answers(200, {**body, "reason": "other"}))[0].kind is K.RETRY


@pytest.mark.parametrize("name", ["badRegIds", "bad_regids"])
def test_an_answer_may_list_what_is_dead(name: str, clock: ManualClock) -> None:
    ours = {"result": "ok", "code": 0, "data": {"id": "scm1", name: f"other,{ENVELOPE.address}"}}
    assert sent(XIAOMI, clock, answers(200, ours))[0].kind is K.DROP_ADDRESS
    others = {"result": "ok", "code": 0, "data": {"id": "scm1", name: "other"}}
    assert sent(XIAOMI, clock, answers(200, others))[0].kind is K.ACCEPTED


@pytest.mark.parametrize(
    ("now", "wait"),
    [
        (datetime(2026, 12, 1, 3, 0, tzinfo=UTC), timedelta(hours=13)),  # 11:00 in Shanghai
        (datetime(2026, 12, 1, 15, 59, 59, tzinfo=UTC), timedelta(seconds=1)),
        (datetime(2026, 12, 1, 16, 0, tzinfo=UTC), timedelta(hours=24)),  # midnight there: a day has just begun
    ],
)
def test_the_days_number_comes_back_at_midnight_in_china(now: datetime, wait: timedelta) -> None:
    outcome = sent(XIAOMI, ManualClock(now), XIAOMI.error("10034"))[0]
    assert (outcome.retry_after, outcome.scope) == (wait, Scope.ACCOUNT)
    named = sent(XIAOMI, ManualClock(now), XIAOMI.error("10034", 200, retry_after="120"))[0]
    assert named.retry_after == timedelta(minutes=2)
    assert sent(XIAOMI, ManualClock(now), XIAOMI.error("10027"))[0].retry_after == timedelta(minutes=1)


@pytest.mark.parametrize(
    ("payload", "fine"),
    [
        (PushPayload("题" * 49, "文" * 127), True),
        (PushPayload("题" * 50, "文"), False),
        (PushPayload("题", "文" * 128), False),
        (PushPayload("题", "文", data={"k": "文" * 1300}), True),
        (PushPayload("题", "文", data={"k": "文" * 1400}), False),
    ],
)
def test_limits(payload: PushPayload, fine: bool, clock: ManualClock) -> None:
    async def main() -> list[str]:
        async with opened(XIAOMI, clock, XIAOMI.ok()) as (channel, _):
            return list(channel.problems(payload))

    assert (not asyncio.run(main())) == fine


def hear(clock: ManualClock, body: bytes) -> Heard | Refused:
    async def main() -> Heard | Refused:
        channel: XiaomiChannel = XIAOMI.open("http://127.0.0.1:9", clock, 1)
        told = await channel.hear(CallbackRequest("", f"report/{HOOK_SECRET}", {}, {}, body))
        await channel.close()
        return told

    return asyncio.run(main())


def receipt(kind: int, **more: Any) -> dict[str, Any]:
    one = {"param": "4711", "type": kind, "targets": "reg-1", "jobkey": "abc", "timestamp": 1796100000000}
    return {"scm1": {**one, **more}}


@pytest.mark.parametrize("form", [True, False])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (1, Report("scm1", "delivered", ReportState.DELIVERED, "1", message_id=4711, address="reg-1")),
        (
            16,
            Report(
                "scm1",
                "invalid_device",
                ReportState.UNDELIVERED,
                "16",
                K.DROP_ADDRESS,
                message_id=4711,
                address="reg-1",
            ),
        ),
        (32, Report("scm1", "push_disabled", ReportState.UNDELIVERED, "32", message_id=4711, address="reg-1")),
        (64, Report("scm1", "filtered", ReportState.UNDELIVERED, "64", message_id=4711, address="reg-1")),
        (128, Report("scm1", "daily_limit", ReportState.UNDELIVERED, "128", message_id=4711, address="reg-1")),
        (
            2,
            Seen(
                "xiaomi:scm1:click",
                "scm1",
                SeenDeed.CLICK,
                datetime.fromtimestamp(1796100000, UTC),
                message_id=4711,
            ),
        ),
    ],
)
def test_receipts(kind: int, expected: Report | Seen, form: bool, clock: ManualClock) -> None:
    raw = json.dumps(receipt(kind))
    told = hear(clock, urlencode({"data": raw}).encode() if form else raw.encode())
    assert isinstance(told, Heard)
    assert (list(told.said), told.status) == ([expected], 200)


def test_several_receipts_at_once(clock: ManualClock) -> None:
    several = {
        **receipt(1),
        "scm2": {"param": "", "type": "1", "targets": "a,b"},
        "scm3": {"type": 2, "timestamp": "x"},
    }
    told = hear(clock, json.dumps(several).encode())
    assert isinstance(told, Heard)
    first, second, third = told.said
    assert isinstance(first, Report)
    assert second == Report("scm2", "delivered", ReportState.DELIVERED, "1")
    assert isinstance(third, Seen)
    assert third.at == clock.machine()


def test_options(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    options: dict[str, Any] = {"package": "com.example.app", "app_secret_file": tmp_path / "secret"}
    channel = open_channel("mi", options, "https://push.example/callbacks/mi")
    assert isinstance(channel, XiaomiChannel)
    assert channel.quota == DailyQuota(1, "Asia/Shanghai")
    public = open_channel("mi", {**options, "quota": "public"}, "")
    assert isinstance(public, XiaomiChannel)
    assert public.quota == DailyQuota(5, "Asia/Shanghai")
    secret = {"callback_secret_file": tmp_path / "secret"}
    for wrong, url in (
        ({"quota": "news"}, ""),
        ({"package": "1"}, ""),
        ({"base_url": "http://push.example"}, ""),
        (secret, "https://push.example/" + "x" * 250),
    ):
        with pytest.raises(ConfigError) as caught:
            open_channel("mi", {**options, **wrong}, url)
        assert "s3cret" not in str(caught.value)
