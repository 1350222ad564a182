"""Huawei Push Kit: the request, every row of its table, what a whole table of dead tokens means, and its receipts."""

from __future__ import annotations

import asyncio
import hmac
import json
from base64 import b64encode
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from orchestrator.channel.base import OutcomeClass, Scope
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Report, ReportState
from orchestrator.channel.push import huawei_errors
from orchestrator.channel.push.huawei import HuaweiChannel, open_channel
from orchestrator.channel.push.quotas import DailyQuota
from orchestrator.channel.push.vendor import DEAD
from orchestrator.clock import ManualClock
from orchestrator.dispatch.storm import StormGuard
from orchestrator.errors import ConfigError
from tests.channel.far_end import answers
from tests.channel.push.makers import ENVELOPE, HOOK_SECRET, HUAWEI, PAYLOAD, SECRET, opened, sent

K = OutcomeClass
REQUEST_ID = "157000006"


def test_the_request(clock: ManualClock) -> None:
    async def main() -> None:
        options: dict[str, Any] = {"receipt_id": "R1", "test_messages": True, "category": "SUBSCRIPTION"}
        async with opened(HUAWEI, clock, HUAWEI.ok(), **options) as (channel, far):
            image = replace(PAYLOAD, image="https://img.example/a.png")
            await channel.send(replace(ENVELOPE, payload=image, ack="signed"))
            (token,), (seen,) = far.seen(HUAWEI.token), far.seen(HUAWEI.send)
            fields = {"grant_type": "client_credentials", "client_id": "104567890", "client_secret": SECRET}
            assert token.form == fields
            assert seen.headers["authorization"] == "Bearer t-1"
            assert seen.headers["content-type"].startswith("application/json")
            message = seen.json["message"]
            assert seen.json["validate_only"] is False
            assert message["token"] == [ENVELOPE.address]
            data = {"coupon": "Canarycoupon", "link": "https://app.example/x", "ack": "signed", "msg_id": "4711"}
            assert json.loads(message["data"]) == data
            shown = message["android"].pop("notification")
            assert message["android"] == {
                "collapse_key": -1,
                "category": "SUBSCRIPTION",
                "ttl": "5400s",
                "bi_tag": "4711",
                "target_user_type": 1,
                "receipt_id": "R1",
            }
            assert 0 < shown.pop("notify_id") < 2**31
            assert shown == {
                "title": PAYLOAD.title,
                "body": PAYLOAD.body,
                "click_action": {"type": 3},
                "foreground_show": True,
                "image": "https://img.example/a.png",
            }

    asyncio.run(main())


@pytest.mark.parametrize(
    ("ttl", "text"),
    [
        (timedelta(seconds=-5), "1s"),
        (timedelta(seconds=59.9), "59s"),  # never past the window
        (timedelta(days=40), "1296000s"),
    ],
)
def test_ttl(ttl: timedelta, text: str, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(HUAWEI, clock, HUAWEI.ok()) as (channel, far):
            await channel.send(replace(ENVELOPE, ttl=ttl))
            assert far.seen(HUAWEI.send)[0].json["message"]["android"]["ttl"] == text

    asyncio.run(main())


# Every row of providers §4.1.
ROWS = [
    ("80300007", K.DROP_ADDRESS),
    *[(f"801000{n}", K.DROP_MESSAGE) for n in ("01", "03", "04", "13", "16", "18")],
    ("80300008", K.DROP_MESSAGE),
    ("80300010", K.DROP_MESSAGE),
    ("80300011", K.STOP_CHANNEL),
    ("80300013", K.STOP_CHANNEL),
    ("80100017", K.RETRY),
    ("80200001", K.STOP_CHANNEL),
    ("80200003", K.STOP_CHANNEL),
    ("80200005", K.STOP_CHANNEL),
    ("80300002", K.STOP_CHANNEL),
    ("80600003", K.STOP_CHANNEL),
    ("81000001", K.RETRY),
]


def test_the_table_is_the_contract() -> None:
    assert {code: rule.kind for code, rule in huawei_errors.TABLE.items()} == dict(ROWS)


@pytest.mark.parametrize("status", [200, 400, 401, 500])
@pytest.mark.parametrize(("code", "kind"), ROWS)
def test_rows(code: str, kind: OutcomeClass, status: int, clock: ManualClock) -> None:
    """The code counts, whatever the HTTP status; the three of the access token after one refresh."""
    outcome, carried, tokens = sent(HUAWEI, clock, HUAWEI.error(code, status))
    assert (outcome.kind, outcome.code, outcome.uncharted) == (kind, code, False)
    refreshed = code in huawei_errors.REFRESHING
    assert (carried, tokens) == ((2, 2) if refreshed else (1, 1))
    if kind is K.STOP_CHANNEL:
        assert outcome.scope is Scope.ACCOUNT


def partly(address: str, success: int = 2) -> dict[str, Any]:
    told = {"success": success, "failure": 1, "illegal_tokens": [address]}
    return {"code": "80100000", "msg": json.dumps(told), "requestId": REQUEST_ID}


def test_partly_accepted(clock: ManualClock) -> None:
    ours = sent(HUAWEI, clock, answers(200, partly(ENVELOPE.address)))[0]
    assert (ours.kind, ours.code) == (K.DROP_ADDRESS, "80100000")
    others = sent(HUAWEI, clock, answers(200, partly("another")))[0]
    assert (others.kind, others.provider_id) == (K.ACCEPTED, REQUEST_ID)


@pytest.mark.parametrize(
    "words", ["", "Success", "[]", '{"success":"2"}', '{"success":0,"illegal_tokens":7}', None, {}]
)
def test_partly_accepted_without_saying_who_is_ambiguous(words: object, clock: ManualClock) -> None:
    body = {"code": "80100000", "msg": words, "requestId": REQUEST_ID}
    assert sent(HUAWEI, clock, answers(200, body))[0].kind is K.AMBIGUOUS


def test_flow_control(clock: ManualClock) -> None:
    outcome = sent(HUAWEI, clock, answers(503))[0]
    assert (outcome.kind, outcome.retry_after, outcome.scope) == (K.RETRY_AFTER, timedelta(minutes=1), Scope.ACCOUNT)
    assert sent(HUAWEI, clock, answers(503, None, retry_after="7"))[0].retry_after == timedelta(seconds=7)
    unknown = sent(HUAWEI, clock, HUAWEI.error("80999999", 503))[0]
    assert unknown.kind is K.RETRY_AFTER


def ended_by_blinking_authentication(clock: ManualClock) -> int:
    """How many of the refusals of a bad moment end the address."""
    acts = [HUAWEI.error(code, 401) for code in ("80200001", "80300002", "80600003")]
    acts += [answers(401), answers(403), answers(400), answers(404), HUAWEI.error("81000001")]
    return sum(sent(HUAWEI, clock, act)[0].kind is K.DROP_ADDRESS for act in acts)


def test_only_two_codes_end_an_address(clock: ManualClock) -> None:
    ending = {code for code, rule in huawei_errors.TABLE.items() if rule.kind is K.DROP_ADDRESS}
    assert ending == {"80300007"}
    assert ended_by_blinking_authentication(clock) == 0


def test_a_table_that_takes_every_refusal_for_a_dead_token_is_caught(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The documented accident, put back in."""
    monkeypatch.setattr(huawei_errors, "TABLE", dict.fromkeys(huawei_errors.TABLE, DEAD))
    assert ended_by_blinking_authentication(clock) == 4


@pytest.mark.parametrize("guarded", [True, False])
def test_a_wrong_app_calls_every_token_dead_and_the_storm_guard_sees_it(clock: ManualClock, guarded: bool) -> None:
    """Without the guard, as a broken variant would, all three hundred would be ended."""
    guard, ended = StormGuard(clock.monotonic), 0

    async def main() -> None:
        nonlocal ended
        async with opened(HUAWEI, clock, HUAWEI.error("80300007")) as (channel, _):
            for n in range(300):
                outcome = await channel.send(replace(ENVELOPE, address=f"token-{n}"))
                dead = outcome.kind is K.DROP_ADDRESS
                guard.record(n, dead=dead, accepted=False)
                ended += dead and not (guarded and guard.storming())

    asyncio.run(main())
    assert ended == (9 if guarded else 300)  # those nine come back: see the guard's ``suspects``
    if guarded:
        assert len(guard.suspects()) == 300


def hear(clock: ManualClock, body: object, user: str = "", header: str = "", hook: str = "") -> Heard | Refused:
    async def main() -> Heard | Refused:
        channel: HuaweiChannel = HUAWEI.open("http://127.0.0.1:9", clock, 1, callback_user=user)
        headers = {"x-huawei-callback-id": header} if header else {}
        raw = json.dumps(body).encode()
        told = await channel.hear(CallbackRequest("", hook or f"report/{HOOK_SECRET}", {}, headers, raw))
        await channel.close()
        return told

    return asyncio.run(main())


def status(code: int, **more: Any) -> dict[str, Any]:
    one = {"biTag": "4711", "appid": "104567890", "token": "tok", "status": code, "timestamp": 1, "requestId": "r-1"}
    return {"statuses": [{**one, **more}]}


@pytest.mark.parametrize(
    ("code", "state", "kind"),
    [
        (0, ReportState.DELIVERED, None),
        (2, ReportState.UNDELIVERED, K.DROP_MESSAGE),  # not installed: counted against the address, which stays
        (5, ReportState.UNDELIVERED, K.DROP_MESSAGE),
        (6, ReportState.UNDELIVERED, None),  # notifications are switched off
        (10, ReportState.UNDELIVERED, K.DROP_MESSAGE),
        (15, ReportState.UNDELIVERED, None),
        (27, ReportState.SENT, None),
        (102, ReportState.UNDELIVERED, None),  # the day's number
        (144, ReportState.UNDELIVERED, None),
        (201, ReportState.SENT, None),
        (987, ReportState.UNDELIVERED, None),
    ],
)
def test_receipts(code: int, state: ReportState, kind: OutcomeClass | None, clock: ManualClock) -> None:
    told = hear(clock, status(code))
    assert isinstance(told, Heard)
    assert (told.status, json.loads(told.answer)["code"]) == (200, "0")
    expected = Report("r-1", f"status:{code}", state, str(code), kind, message_id=4711, address="tok")
    assert list(told.said) == [expected]


def test_other_shapes_of_receipts(clock: ManualClock) -> None:
    honor = hear(clock, status(40000002))
    assert isinstance(honor, Heard)
    assert [each.state for each in honor.said if isinstance(each, Report)] == [ReportState.DELIVERED]
    second = {"biTag": "4711", "token": "tok", "requestId": "r-1", "deliveryStatus": {"result": 0, "timestamp": 1}}
    newer = hear(clock, {"statuses": [second]})
    assert newer == hear(clock, status(0))
    both = hear(clock, {"statuses": [*status(0)["statuses"], *status(6, biTag="12", requestId="r-2")["statuses"]]})
    assert isinstance(both, Heard)
    assert [each.message_id for each in both.said if isinstance(each, Report)] == [4711, 12]
    strange = hear(clock, status(0, biTag="campaign-7"))
    assert isinstance(strange, Heard)
    assert [each.message_id for each in strange.said if isinstance(each, Report)] == [None]


def test_every_event_has_its_own_key_and_a_repeated_one_the_same(clock: ManualClock) -> None:
    keys = set()
    for code in (201, 27, 0, 0, 201):
        told = hear(clock, status(code))
        assert isinstance(told, Heard)
        keys |= {(one.provider_id, one.status) for one in told.said if isinstance(one, Report)}
    assert keys == {("r-1", "status:201"), ("r-1", "status:27"), ("r-1", "status:0")}


def signed(clock: ManualClock, user: str = "ops", key: str = HOOK_SECRET, ahead: timedelta = timedelta()) -> str:
    stamp = int((clock.machine() + ahead).timestamp() * 1000)
    value = b64encode(hmac.digest(key.encode(), f"{stamp}n-1{user}".encode(), sha256)).decode()
    return f"timestamp={stamp}; nonce=n-1; value={value}"


def test_signed_receipts(clock: ManualClock) -> None:
    assert isinstance(hear(clock, status(0), "ops", signed(clock)), Heard)
    assert isinstance(hear(clock, status(0), "ops", signed(clock).replace("; ", ";")), Heard)
    for header in ("", signed(clock, "another"), signed(clock, key="wrong"), "timestamp=1; nonce=n; value="):
        assert hear(clock, status(0), "ops", header) is Refused.FORGED
    for ahead in (timedelta(hours=-1), timedelta(hours=1)):
        assert hear(clock, status(0), "ops", signed(clock, ahead=ahead)) is Refused.STALE
    assert hear(clock, status(0), "ops", signed(clock), hook="report/wrong") is Refused.FORGED


def test_no_bit_of_a_signature_can_change(clock: ManualClock) -> None:
    header = signed(clock)
    start, end = header.index("value=") + len("value="), len(header) - 2  # the last two say nothing but the length
    flips = [(index, bit) for index in range(start, end) for bit in range(7)]
    for index, bit in flips:
        flipped = header[:index] + chr(ord(header[index]) ^ (1 << bit)) + header[index + 1 :]
        assert hear(clock, status(0), "ops", flipped) is Refused.FORGED


def test_options(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    options: dict[str, Any] = {"app_id": "104567890", "client_secret_file": tmp_path / "secret"}
    channel = open_channel("hw", options, "https://push.example/callbacks/hw")
    assert isinstance(channel, HuaweiChannel)
    assert channel.quota == DailyQuota(2, "Asia/Shanghai")
    assert channel.kinds == {"huawei"}
    news = open_channel("hw", {**options, "quota": "news"}, "")
    assert isinstance(news, HuaweiChannel)
    assert news.quota == DailyQuota(5, "Asia/Shanghai")
    free = open_channel("hw", {**options, "quota": "none"}, "")
    assert isinstance(free, HuaweiChannel)
    assert free.quota is None
    for wrong in (
        {"quota": "nws"},
        {"app_id": "x"},
        {"client_secret": "in the file"},
        {"base_url": "http://push.example"},
        {"token_url": "http://push.example"},
        {"unknown": 1},
        {"client_secret_file": tmp_path / "absent"},
    ):
        with pytest.raises(ConfigError) as caught:
            open_channel("hw", {**options, **wrong}, "")
        assert "accounts.hw.options" in str(caught.value)
