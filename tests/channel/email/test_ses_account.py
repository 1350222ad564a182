"""SES: the quota of the day, what `doctor` says, and the options of an account."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from orchestrator.channel.base import Health, Inquiry, Scope
from orchestrator.channel.email.ses import ACCOUNT, SEND, SesChannel, open_channel
from orchestrator.clock import ManualClock
from orchestrator.errors import ConfigError
from tests.channel.email.ses_mail import (
    ENVELOPE,
    FINE,
    KEY_ID,
    MAIL,
    MINUTE,
    OK,
    PLENTY,
    SECRET,
    TO,
    K,
    opened,
    refusal,
)
from tests.channel.far_end import Act, answers, html, reset


def test_the_quota_of_the_day(clock: ManualClock) -> None:
    nearly = {"SendQuota": {"Max24HourSend": 100, "MaxSendRate": 1, "SentLast24Hours": 98}}

    async def main() -> None:
        async with opened(clock, OK, account=answers(200, nearly)) as (channel, far):
            assert not channel.most_per_second
            assert (await channel.send(ENVELOPE)).kind is K.ACCEPTED  # does not wait for the quota
            await until(lambda: channel._quota is not None)
            assert channel.most_per_second == 1
            kinds = [(await channel.send(ENVELOPE)).kind for _ in range(4)]
            assert kinds[-1] is K.RETRY_AFTER
            assert len(far.seen(SEND)) < 5
            outcome = await channel.send(ENVELOPE)
            assert (outcome.code, outcome.scope, outcome.may_have_left) == ("quota_used_up", Scope.ACCOUNT, False)
            assert outcome.retry_after == 5 * MINUTE
            assert len(far.seen(ACCOUNT)) == 1
            far.plays(ACCOUNT, FINE)
            clock.advance(5 * MINUTE)
            assert (await channel.send(ENVELOPE)).retry_after == timedelta(seconds=2)
            await until(lambda: channel._quota is not None and channel._quota.most == 50000)
            assert (await channel.send(ENVELOPE)).kind is K.ACCEPTED

    asyncio.run(main())


async def until(true: Any) -> None:
    for _ in range(200):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


@pytest.mark.parametrize("account", [refusal(403, "AccessDeniedException"), html(500), reset, answers(200, [])])
def test_a_key_that_may_not_read_the_quota_sends_all_the_same(clock: ManualClock, account: Act) -> None:
    async def main() -> None:
        async with opened(clock, OK, account=account) as (channel, far):
            for _ in range(3):
                assert (await channel.send(ENVELOPE)).kind is K.ACCEPTED
                await asyncio.sleep(0.02)
            assert len(far.seen(ACCOUNT)) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("account", "health", "words"),
    [
        (FINE, Health.FINE, "12 of 50000 mails in 24 hours, 14 mails a second"),
        (answers(200, {**PLENTY, "SendingEnabled": False}), Health.BROKEN, "switched off"),
        (answers(200, {**PLENTY, "EnforcementStatus": "SHUTDOWN"}), Health.BROKEN, "shut"),
        (answers(200, {**PLENTY, "EnforcementStatus": "PROBATION"}), Health.WARNING, "under review"),
        (answers(200, {**PLENTY, "ProductionAccessEnabled": False}), Health.WARNING, "own sandbox"),
        (
            answers(200, {"SendQuota": {"Max24HourSend": -1, "MaxSendRate": 5, "SentLast24Hours": 3}}),
            Health.FINE,
            "no daily",
        ),
        (
            answers(200, {"SendQuota": {"Max24HourSend": 9, "MaxSendRate": 5, "SentLast24Hours": 9}}),
            Health.BROKEN,
            "used up",
        ),
        (
            answers(200, {"SendQuota": {"Max24HourSend": 10, "MaxSendRate": 5, "SentLast24Hours": 9}}),
            Health.WARNING,
            "9 of",
        ),
        (refusal(403, "AccessDeniedException"), Health.WARNING, "may not read"),
        (refusal(403, "InvalidSignatureException"), Health.BROKEN, "403 InvalidSignatureException"),
        (html(200), Health.BROKEN, "200"),
        (reset, Health.BROKEN, "cannot be reached"),
        (FINE, Health.WARNING, "no receipts are heard"),
        (answers(200, PLENTY, date="Tue, 01 Dec 2026 02:50:00 GMT"), Health.BROKEN, "clock is 600 s ahead"),
    ],
)
def test_what_doctor_says(clock: ManualClock, account: Act, health: Health, words: str) -> None:
    async def main() -> None:
        async with opened(clock, OK, account=account) as (channel, far):
            findings = await channel.check()
            assert any(finding.health is health and words in finding.what for finding in findings)
            assert [request.method for request in far.requests] == ["GET"]

    asyncio.run(main())


def test_nothing_can_be_asked_about_a_lost_answer(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK) as (channel, _):
            assert await channel.reconcile(Inquiry("4711", TO, MAIL, clock.now())) is None

    asyncio.run(main())


GIVEN = {"region": "eu-west-1", "access_key_id": KEY_ID, "from": "Food <news@food.example>"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, ""),
        ({"region": "cn-north-1"}, ""),
        ({"topic_arns": ["arn:aws:sns:eu-west-1:123456789012:ses"]}, ""),
        ({"topic_arns": ["arn:aws:sns:eu-west-1:123456789012:*"]}, "topic_arns"),
        ({"region": "eu-west-1.evil.example/"}, "region"),
        ({"base_url": "http://mail.example"}, "base_url"),
        ({"from": "nobody"}, "from"),
        ({"from": "Food\r\nBcc: x <news@food.example>"}, "from"),
        ({"reply_to": "李@food.example"}, "reply_to"),
        ({"configuration_set": "a b"}, "configuration_set"),
        ({"secret_access_key": None}, "secret_access_key_file"),
        ({"acces_key_id": "x"}, "access_key_id"),
    ],
)
def test_options(changed: dict[str, Any], words: str) -> None:
    options = {**GIVEN, "secret_access_key": SecretStr(SECRET), **changed}
    if not words:
        channel = open_channel("mail", options, "https://push.example/callbacks/mail")
        assert (channel.channel, channel.provider) == ("email", "ses")
        return
    with pytest.raises(ConfigError) as caught:
        open_channel("mail", options, "https://push.example/callbacks/mail")
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


def test_addresses_of_the_regions(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    for region, host in {"eu-west-1": "eu-west-1.amazonaws.com", "cn-north-1": "cn-north-1.amazonaws.com.cn"}.items():
        channel = open_channel("mail", {**GIVEN, "region": region, "secret_access_key_file": str(secret)}, "")
        assert isinstance(channel, SesChannel)
        assert channel._base_url == f"https://email.{host}"
        assert not channel._door._own  # no certificate from this machine is believed
