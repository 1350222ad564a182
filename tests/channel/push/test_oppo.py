"""OPPO: the request, two regions, every row of its table, messages that were there already, and its receipts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from orchestrator.channel.base import Health, OutcomeClass, PushPayload
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Report, ReportState
from orchestrator.channel.push import oppo_errors
from orchestrator.channel.push.oppo import OppoChannel, is_abroad, open_channel
from orchestrator.channel.push.quotas import DailyQuota
from orchestrator.channel.push.vendor import notify_id
from orchestrator.clock import ManualClock
from orchestrator.errors import ConfigError
from tests.channel.far_end import answers
from tests.channel.push.makers import CALLBACK, ENVELOPE, HOOK_SECRET, OPPO, PAYLOAD, SECRET, opened, sent, to

K = OutcomeClass
ABROAD = f"/intl{OPPO.send}"


def test_the_request(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(OPPO, clock, OPPO.ok(), channel_id="c-1", category="MARKETING") as (channel, far):
            await channel.send(replace(ENVELOPE, ack="signed"))
            (auth,), (seen,) = far.seen(OPPO.token), far.seen(OPPO.send)
            stamp = str(int(clock.machine().timestamp() * 1000))
            sign = sha256(f"0123456789abcdef{stamp}{SECRET}".encode()).hexdigest()
            assert auth.form == {"app_key": "0123456789abcdef", "timestamp": stamp, "sign": sign}
            assert seen.form["auth_token"] == "t-1"
            message = json.loads(seen.form["message"])
            data = {"coupon": "Canarycoupon", "link": "https://app.example/x", "ack": "signed", "msg_id": "4711"}
            assert json.loads(message["notification"].pop("action_parameters")) == data
            assert message == {
                "target_type": 2,
                "target_value": ENVELOPE.address,
                "notification": {
                    "app_message_id": "4711",
                    "style": 1,
                    "title": PAYLOAD.title,
                    "content": PAYLOAD.body,
                    "click_action_type": 0,
                    "off_line": True,
                    "off_line_ttl": 5400,
                    "notify_id": notify_id("run-7-user-9"),
                    "channel_id": "c-1",
                    "category": "MARKETING",
                    "call_back_url": CALLBACK,
                    "call_back_parameter": "4711",
                },
            }

    asyncio.run(main())


@pytest.mark.parametrize(
    ("registration_id", "abroad"),
    [
        ("b6bbd94b59cdb5df8391642c1509b7fe", False),
        ("CN_b6bbd94b59cdb5df8391642c1509b7fe", False),
        ("OPPO_CN_b6bbd94b59cdb5df8391642c1509b7fe", False),
        ("US_b6bbd94b59cdb5df8391642c1509b7fe", True),
        ("OPPO_US_b6bbd94b59cdb5df8391642c1509b7fe", True),
        ("realme_CN_b6bb", False),
        ("", False),
    ],
)
def test_regions(registration_id: str, abroad: bool) -> None:
    assert is_abroad(registration_id) is abroad


def test_each_region_has_its_own_server_and_token(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(OPPO, clock, OPPO.ok()) as (channel, far):
            far.plays(ABROAD, OPPO.ok()).plays("/intl/server/v1/auth", answers(200, OPPO.token_answer(9)))
            for address in ("CN_a", "US_b", "OPPO_US_c", "d"):
                assert (await channel.send(to(address))).kind is K.ACCEPTED
            home, abroad = far.seen(OPPO.send), far.seen(ABROAD)
            assert [json.loads(seen.form["message"])["target_value"] for seen in home] == ["CN_a", "d"]
            assert [json.loads(seen.form["message"])["target_value"] for seen in abroad] == ["US_b", "OPPO_US_c"]
            assert {seen.form["auth_token"] for seen in home} == {"t-1"}
            assert {seen.form["auth_token"] for seen in abroad} == {"t-9"}

    asyncio.run(main())


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [(timedelta(seconds=-5), 1), (timedelta(seconds=59.9), 59), (timedelta(days=40), 864_000)],
)
def test_ttl(ttl: timedelta, seconds: int, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(OPPO, clock, OPPO.ok()) as (channel, far):
            await channel.send(replace(ENVELOPE, ttl=ttl))
            message = json.loads(far.seen(OPPO.send)[0].form["message"])
            assert message["notification"]["off_line_ttl"] == seconds

    asyncio.run(main())


# Every row of providers §4.4, and the rest of the vendor's own table.
ROWS = [
    ("-1", K.RETRY),
    ("-2", K.RETRY_AFTER),
    ("11", K.STOP_CHANNEL),
    ("12", K.STOP_CHANNEL),
    ("13", K.RETRY_AFTER),
    *[(str(code), K.STOP_CHANNEL) for code in range(14, 31)],
    ("31", K.DROP_MESSAGE),
    ("32", K.DROP_MESSAGE),
    ("33", K.RETRY_AFTER),
    ("40", K.DROP_MESSAGE),
    ("41", K.DROP_MESSAGE),
    ("51", K.DROP_MESSAGE),
    ("55", K.RETRY_AFTER),
    ("59", K.DROP_MESSAGE),
    ("67", K.STOP_CHANNEL),
    ("10000", K.DROP_ADDRESS),
]


def test_the_table_is_the_contract() -> None:
    assert {code: rule.kind for code, rule in oppo_errors.TABLE.items()} == dict(ROWS)


@pytest.mark.parametrize(("code", "kind"), ROWS)
def test_rows(code: str, kind: OutcomeClass, clock: ManualClock) -> None:
    outcome, carried, tokens = sent(OPPO, clock, OPPO.error(code))
    assert (outcome.kind, outcome.code, outcome.uncharted) == (kind, code, False)
    assert (carried, tokens) == ((2, 2) if code == "11" else (1, 1))


def test_the_days_number_comes_back_at_midnight_in_china(clock: ManualClock) -> None:
    assert sent(OPPO, clock, OPPO.error("33"))[0].retry_after == timedelta(hours=13)


def test_a_resend_that_was_there_already_has_been_accepted(clock: ManualClock) -> None:
    again = sent(OPPO, clock, OPPO.error("32"), envelope=replace(ENVELOPE, attempt=2))[0]
    assert (again.kind, again.provider_id) == (K.ACCEPTED, None)
    assert sent(OPPO, clock, OPPO.error("32"))[0].kind is K.DROP_MESSAGE


@pytest.mark.parametrize(
    ("payload", "fine"),
    [
        (PushPayload("题" * 50, "文" * 200), True),
        (PushPayload("题" * 51, "文"), False),
        (PushPayload("题", "文" * 201), False),
        (PushPayload("题", "文", data={"k": "文" * 3850}), True),
        (PushPayload("题", "文", data={"k": "文" * 4000}), False),
    ],
)
def test_limits(payload: PushPayload, fine: bool, clock: ManualClock) -> None:
    async def main() -> list[str]:
        async with opened(OPPO, clock, OPPO.ok()) as (channel, _):
            return list(channel.problems(payload))

    assert (not asyncio.run(main())) == fine


@pytest.mark.parametrize(
    ("kind", "state", "meaning"),
    [
        ("push_arrive", ReportState.DELIVERED, None),
        ("regid_invalid", ReportState.UNDELIVERED, K.DROP_ADDRESS),
        ("user_daily_limit", ReportState.UNDELIVERED, None),
    ],
)
def test_receipts(kind: str, state: ReportState, meaning: OutcomeClass | None, clock: ManualClock) -> None:
    one = {"messageId": "m-1", "appId": "a", "taskId": "m-1", "registrationIds": "CN_x", "eventTime": "1"}
    body = json.dumps([{**one, "param": "4711", "eventType": kind}]).encode()

    async def main() -> Heard | Refused:
        channel: OppoChannel = OPPO.open("http://127.0.0.1:9", clock, 1)
        told = await channel.hear(CallbackRequest("", f"report/{HOOK_SECRET}", {}, {}, body))
        await channel.close()
        return told

    told = asyncio.run(main())
    assert isinstance(told, Heard)
    assert list(told.said) == [Report("m-1", kind, state, kind, meaning, message_id=4711, address="CN_x")]


def test_options(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    options: dict[str, Any] = {"app_key": "0123456789abcdef", "master_secret_file": tmp_path / "secret"}
    channel = open_channel("op", options, "https://push.example/callbacks/op")
    assert isinstance(channel, OppoChannel)
    assert channel.quota == DailyQuota(2, "Asia/Shanghai")
    secret = {"callback_secret_file": tmp_path / "secret"}
    for wrong, url in (
        ({"quota": "public"}, ""),
        ({"app_key": "?"}, ""),
        ({"base_url_abroad": "http://push.example"}, ""),
        (secret, "https://push.example/" + "x" * 190),
    ):
        with pytest.raises(ConfigError):
            open_channel("op", {**options, **wrong}, url)


def test_a_check_says_which_region_it_speaks_of(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(OPPO, clock, OPPO.ok()) as (channel, far):
            far.plays(f"/intl{OPPO.token}", OPPO.error("14"))
            home, abroad = await channel.check()
            assert (home.health, home.what.split(":")[0]) == (Health.FINE, "in China")
            assert (abroad.health, abroad.what.split(":")[0]) == (Health.BROKEN, "abroad")

    asyncio.run(main())
