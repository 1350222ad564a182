"""Aliyun: the request, one per attempt; every row of its table; numbers; the check."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.channel.base import Health, Outcome, OutcomeClass, Payload, PushPayload, Scope, SmsPayload
from orchestrator.channel.beijing import beijing_instant, until_midnight, until_next_month
from orchestrator.channel.plugins import open_channel
from orchestrator.channel.sms.aliyun_errors import TABLE
from orchestrator.channel.sms.aliyun_numbers import from_aliyun, to_aliyun
from orchestrator.channel.sms.aliyun_signature import signature
from orchestrator.clock import ManualClock
from tests.channel.far_end import Act, answers, cut, drip, garbage, hang_up, html, huge, reset, silence
from tests.channel.late import begins_nothing_late
from tests.channel.sms.aliyun_end import (
    DAY,
    ENVELOPE,
    HOUR,
    KEY,
    MINUTE,
    OK,
    PAYLOAD,
    SECRET,
    K,
    opened,
    page,
    refusal,
    sent,
)


def test_nothing_begins_after_its_time(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK) as opening:
            await begins_nothing_late(*opening, ENVELOPE, "/")

    asyncio.run(main())


def test_the_request(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK, extend_code="12") as (channel, far):
            assert await channel.send(ENVELOPE) == Outcome(K.ACCEPTED, "OK", "9006197469364984400")
            (seen,) = far.requests
            assert (seen.method, seen.target) == ("POST", "/")  # nobody's number in a URL
            form = seen.form
            nonce, signs = form.pop("SignatureNonce"), form.pop("Signature")
            assert form == {
                "Action": "SendSms",
                "PhoneNumbers": "13800138000",
                "SignName": "面馆",
                "TemplateCode": "SMS_71390007",
                "TemplateParam": '{"name":"小明canary","points":"41"}',
                "OutId": "4711",
                "SmsUpExtendCode": "12",
                "AccessKeyId": KEY,
                "Format": "JSON",
                "RegionId": "cn-hangzhou",
                "SignatureMethod": "HMAC-SHA1",
                "SignatureVersion": "1.0",
                "Timestamp": "2026-12-01T03:00:00Z",
                "Version": "2017-05-25",
            }
            assert signs == signature("POST", {**form, "SignatureNonce": nonce}, SECRET)
            await channel.send(replace(ENVELOPE, attempt=2))
            assert far.requests[1].form["SignatureNonce"] != nonce

    asyncio.run(main())


# Every row of providers §6 in its order, then what the table adds.
CODES: dict[OutcomeClass, list[str]] = {
    K.RETRY_AFTER: [
        "isv.BUSINESS_LIMIT_CONTROL",
        "isv.DAY_LIMIT_CONTROL",
        "isv.MONTH_LIMIT_CONTROL",
        "SYSTEM_LIMIT_CONTROL",
        "Throttling",
        "Throttling.User",
        "ThrottlingException",
    ],
    K.RETRY: ["isp.SYSTEM_ERROR", "isv.SYSTEM_ERROR"],
    K.DROP_ADDRESS: ["isv.MOBILE_NUMBER_ILLEGAL"],
    K.DROP_MESSAGE: [
        "isv.DOMESTIC_NUMBER_NOT_SUPPORTED",  # "DROP_ADDRESS / routing": of the two, this one is the routing
        "isv.BLACK_KEY_CONTROL_LIMIT",
        "isv.PARAM_NOT_SUPPORT_URL",
        "isv.PARAM_LENGTH_LIMIT",
        "isv.INVALID_JSON_PARAM",
        "isv.TEMPLATE_MISSING_PARAMETERS",
        "isv.TEMPLATE_PARAMS_ILLEGAL",
        "isv.MOBILE_COUNT_OVER_LIMIT",
        "isv.INVALID_PARAMETERS",
    ],
    K.STOP_CHANNEL: [
        "isv.SMS_TEMPLATE_ILLEGAL",
        "isv.SMS_SIGNATURE_ILLEGAL",
        "isv.AMOUNT_NOT_ENOUGH",
        "isv.OUT_OF_SERVICE",
        "isv.PRODUCT_UN_SUBSCRIPT",
        "isv.ACCOUNT_NOT_EXISTS",
        "isv.ACCOUNT_ABNORMAL",
        "isv.DENY_IP_RANGE",
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
        "InvalidAccessKeyId.NotFound",
        "isp.RAM_PERMISSION_DENY",
        "InvalidTimeStamp.Expired",
        "Forbidden.RAM",
    ],
    K.AMBIGUOUS: ["SignatureNonceUsed"],
}
ROWS = [(code, kind) for kind, codes in CODES.items() for code in codes]


@pytest.mark.parametrize(("code", "kind"), ROWS)
def test_every_code(clock: ManualClock, code: str, kind: OutcomeClass) -> None:
    for status in (200, 400):  # HTTP 200 is no success
        outcome = sent(clock, refusal(code, status=status))
        assert (outcome.kind, outcome.code, outcome.uncharted, outcome.may_have_left) == (kind, code, False, True)
        assert kind is not K.STOP_CHANNEL or outcome.scope is Scope.ACCOUNT
        assert outcome.at_most == (1 if kind is K.RETRY else None)


def test_the_table_has_no_row_without_a_test() -> None:
    assert set(TABLE) <= {code for code, _ in ROWS} | {code.partition(".")[0] for code, _ in ROWS}


@pytest.mark.parametrize(
    ("code", "words", "wait", "scope"),
    [
        ("isv.BUSINESS_LIMIT_CONTROL", "触发分钟级流控Permits:1", MINUTE, Scope.ADDRESS),
        ("isv.BUSINESS_LIMIT_CONTROL", "触发小时级流控Permits:5", HOUR, Scope.ADDRESS),
        ("isv.BUSINESS_LIMIT_CONTROL", "触发天级流控Permits:10", 13 * HOUR, Scope.ADDRESS),  # 11:00 in Beijing
        ("isv.BUSINESS_LIMIT_CONTROL", "Trigger minute level control", MINUTE, Scope.ADDRESS),
        ("isv.BUSINESS_LIMIT_CONTROL", "Trigger hour level control", HOUR, Scope.ADDRESS),
        ("isv.BUSINESS_LIMIT_CONTROL", "Trigger day level control", 13 * HOUR, Scope.ADDRESS),
        ("isv.BUSINESS_LIMIT_CONTROL", "", HOUR, Scope.ADDRESS),
        ("isv.DAY_LIMIT_CONTROL", "触发日发送限额", 13 * HOUR, Scope.ACCOUNT),
        ("isv.MONTH_LIMIT_CONTROL", "触发月发送限额", 30 * DAY + 13 * HOUR, Scope.ACCOUNT),
        ("SYSTEM_LIMIT_CONTROL", "", MINUTE, Scope.ACCOUNT),
        ("Throttling.User", "Request was denied due to user flow control.", MINUTE, Scope.ACCOUNT),
    ],
)
def test_waits(clock: ManualClock, code: str, words: str, wait: timedelta, scope: Scope) -> None:
    outcome = sent(clock, refusal(code, words))
    assert (outcome.kind, outcome.retry_after, outcome.scope) == (K.RETRY_AFTER, wait, scope)


def test_beijing_time() -> None:
    evening = datetime(2026, 12, 31, 15, 59, tzinfo=UTC)
    assert until_midnight(evening) == until_next_month(evening) == MINUTE
    assert until_midnight(evening + MINUTE) == DAY
    assert until_next_month(datetime(2027, 1, 31, 16, 0, tzinfo=UTC)) == 28 * DAY
    assert beijing_instant("2026-12-01 11:00:00") == datetime(2026, 12, 1, 3, 0, tzinfo=UTC)
    assert beijing_instant("yesterday") is None


@pytest.mark.parametrize(
    ("act", "kind", "wait", "at_most"),
    [
        (answers(429), K.RETRY_AFTER, MINUTE, None),
        (answers(429, retry_after="7"), K.RETRY_AFTER, timedelta(seconds=7), None),
        (answers(429, retry_after="31536000"), K.RETRY_AFTER, DAY, None),
        (answers(500), K.RETRY, None, 1),
        (html(502), K.RETRY, None, 1),
        (refusal("ServiceUnavailable", status=503), K.RETRY, None, 1),
        (answers(503, retry_after="7"), K.RETRY_AFTER, timedelta(seconds=7), 1),
        (html(401), K.STOP_CHANNEL, None, None),
        (html(403), K.STOP_CHANNEL, None, None),
        (answers(404), K.STOP_CHANNEL, None, None),
        (html(400), K.DROP_MESSAGE, None, None),
        (answers(307, location="/x"), K.STOP_CHANNEL, None, None),
        (html(200), K.AMBIGUOUS, None, None),
        (answers(200, {}), K.AMBIGUOUS, None, None),
        (answers(200, {"Code": "OK"}), K.AMBIGUOUS, None, None),  # without the id that would prove it
        (answers(200, {"Code": "OK", "BizId": ""}), K.AMBIGUOUS, None, None),
        (answers(201, {"Code": "OK", "BizId": "1"}), K.AMBIGUOUS, None, None),
        (answers(200, [1]), K.AMBIGUOUS, None, None),
        (huge, K.AMBIGUOUS, None, None),
    ],
)
def test_by_status(
    clock: ManualClock, act: Act, kind: OutcomeClass, wait: timedelta | None, at_most: int | None
) -> None:
    outcome = sent(clock, act)
    assert (outcome.kind, outcome.retry_after, outcome.at_most) == (kind, wait, at_most)


@pytest.mark.parametrize("act", [reset, hang_up, silence, drip, garbage, cut(200), cut(400)])
def test_a_lost_answer_is_ambiguous_and_never_sent_again(clock: ManualClock, act: Act) -> None:
    outcome = sent(clock, act)
    assert (outcome.kind, outcome.may_have_left) == (K.AMBIGUOUS, True)


def test_100_unknown_codes_follow_the_default_rule(clock: ManualClock) -> None:
    chance = random.Random(20261201)
    expected = {200: K.AMBIGUOUS, 400: K.DROP_MESSAGE, 404: K.STOP_CHANNEL, 429: K.RETRY_AFTER, 500: K.RETRY}

    async def main() -> None:
        async with opened(clock, OK, patience=5) as (channel, far):
            for _ in range(100):
                word = "".join(chance.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", k=14)).strip("_")
                code = chance.choice(["isv.", "isp.", ""]) + (word or "X_Y")
                status = chance.choice(list(expected))
                far.plays("/", refusal(code, status=status))
                outcome = await channel.send(ENVELOPE)
                assert (outcome.kind, outcome.code, outcome.uncharted) == (expected[status], code, True)

    asyncio.run(main())


def test_nothing_of_ours_in_what_is_kept_or_logged(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    words = f"mobile 13800138000 of {KEY} refused: 小明canary Noodles"
    kept = repr(sent(clock, refusal("isv.INVALID_PARAMETERS", words))) + caplog.text
    assert "refused" in kept
    for canary in ("138001", "小明", "canary", "Noodles"):
        assert canary not in kept


def test_payloads_that_cannot_be_sent(clock: ManualClock) -> None:
    bad: dict[str, Payload] = {
        "SMS payloads only": PushPayload("x", "y"),
        "give the template file an `approved:` line": SmsPayload("free text"),
        "no code of a template": replace(PAYLOAD, approved="SMS_x"),
        "parameter 'name' has 36 characters; Aliyun takes 35": replace(PAYLOAD, parameters={"name": "午" * 36}),
        "parameter '1st'": replace(PAYLOAD, parameters={"1st": "x"}),
        "surrogate": replace(PAYLOAD, parameters={"name": "\ud83d"}),
    }

    async def main() -> None:
        async with opened(clock, OK) as (channel, far):
            for words, payload in bad.items():
                assert any(words in problem for problem in channel.problems(payload))
                outcome = await channel.send(replace(ENVELOPE, payload=payload))
                assert (outcome.kind, outcome.may_have_left) == (K.DROP_MESSAGE, False)
            assert not far.requests
            assert channel.problems(replace(PAYLOAD, parameters={"name": "午" * 35})) == []
            assert channel.problems(replace(PAYLOAD, parameters={})) == []

    asyncio.run(main())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("+8613800138000", "13800138000"),
        ("+85251234567", "85251234567"),
        ("+4915112345678", "4915112345678"),
        ("+862112345678", "862112345678"),
    ],
)
def test_numbers(ours: str, theirs: str) -> None:
    assert to_aliyun(ours) == theirs
    assert from_aliyun(theirs) == ours


def test_numbers_that_are_none() -> None:
    assert [from_aliyun(text) for text in ("", "x", "1" * 20, "123", "٣" * 11)] == [""] * 5
    assert from_aliyun("008613800138000") == from_aliyun("+8613800138000") == "+8613800138000"


@pytest.mark.parametrize(
    ("act", "health", "words"),
    [
        (page(), Health.FINE, "accepts"),
        (refusal("isv.MOBILE_NUMBER_ILLEGAL"), Health.FINE, "accepts"),
        (refusal("InvalidAccessKeyId.NotFound", status=404), Health.BROKEN, "InvalidAccessKeyId.NotFound"),
        (refusal("SignatureDoesNotMatch", status=400), Health.BROKEN, "SignatureDoesNotMatch"),
        (answers(500), Health.WARNING, "500"),
        (silence, Health.BROKEN, "timeout"),
    ],
)
def test_the_check(clock: ManualClock, act: Act, health: Health, words: str) -> None:
    async def main() -> None:
        async with opened(clock, act) as (channel, far):
            finding = (await channel.check())[0]
            assert finding.health is health
            assert words in finding.what
            assert far.requests[0].form["Action"] == "QuerySendDetails"

    asyncio.run(main())


def test_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    options = {"access_key_id": KEY, "access_key_secret_file": str(tmp_path / "secret"), "signature": "面馆"}
    channel = open_channel("one", "aliyun", options, callback_url="https://push.example/callbacks/one")
    assert (channel.channel, channel.provider, set(channel.kinds)) == ("sms", "aliyun", {"phone"})
    assert json.dumps(options).count(SECRET) == 0
    asyncio.run(channel.close())
