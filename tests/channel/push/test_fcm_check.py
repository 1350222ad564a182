"""Checking an FCM account sends to nobody and says what is wrong; the service account may stand in the environment."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from pydantic import SecretStr

from orchestrator.channel.base import ACK_LENGTH, Finding, Health
from orchestrator.channel.push.fcm import FcmChannel, open_channel
from orchestrator.clock import ManualClock, SystemClock
from orchestrator.errors import ConfigError
from orchestrator.sandbox.server import Options, Sandbox
from tests.channel.far_end import Act, answers, html, reset, silence
from tests.channel.push.test_fcm import ENVELOPE, OK, PAYLOAD, SEND, opened, refusal


def checked(key: RSAPrivateKey, clock: ManualClock, act: Act, token: Act | None = None) -> list[Finding]:
    async def main() -> list[Finding]:
        async with opened(key, clock, act, patience=0.4) as (channel, far):
            if token is not None:
                far.plays("/token", token)
            found = list(await channel.check())
            for seen in far.seen(SEND):
                assert seen.json["validate_only"] is True
            assert len(far.seen(SEND)) <= 1
            return found

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("act", "health", "word"),
    [
        (OK, Health.FINE, "takes"),
        (refusal(404, "UNREGISTERED", general="NOT_FOUND"), Health.FINE, "takes"),
        (refusal(403, "SENDER_ID_MISMATCH"), Health.FINE, "takes"),
        (refusal(400, "INVALID_ARGUMENT", message="is not a valid FCM registration token"), Health.FINE, "takes"),
        (refusal(403, general="PERMISSION_DENIED"), Health.BROKEN, "PERMISSION_DENIED"),
        (refusal(404, general="NOT_FOUND"), Health.BROKEN, "NOT_FOUND"),
        (refusal(401, general="UNAUTHENTICATED"), Health.BROKEN, "UNAUTHENTICATED"),
        (html(404), Health.BROKEN, "404"),
        (refusal(503, "UNAVAILABLE"), Health.WARNING, "UNAVAILABLE"),
        (refusal(429, "QUOTA_EXCEEDED"), Health.WARNING, "QUOTA_EXCEEDED"),
        (silence, Health.BROKEN, "no answer"),
        (reset, Health.BROKEN, "no answer"),
    ],
)
def test_what_is_found(key: RSAPrivateKey, clock: ManualClock, act: Act, health: Health, word: str) -> None:
    (finding,) = checked(key, clock, act)
    assert (finding.health, word in finding.what) == (health, True)


@pytest.mark.parametrize(("hours", "side"), [(2, "behind"), (-2, "ahead")])
def test_a_wrong_clock_is_named(key: RSAPrivateKey, clock: ManualClock, hours: int, side: str) -> None:
    date = (clock.machine() + timedelta(hours=hours)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    skew, verdict = checked(key, clock, OK, answers(400, {"error": "invalid_grant"}, date=date))
    assert (skew.health, verdict.health) == (Health.BROKEN, Health.BROKEN)
    assert side in skew.what
    assert "invalid_grant" in verdict.what
    assert len(checked(key, clock, answers(200, {"name": "projects/p/messages/1"}, date=date))) == 2


def test_nobody_there(key: RSAPrivateKey, clock: ManualClock) -> None:
    (finding,) = checked(key, clock, OK, reset)
    assert (finding.health, "token server" in finding.what) == (Health.BROKEN, True)


def test_the_sandbox_is_pleased_and_keeps_nothing(tmp_path: Path) -> None:
    with Sandbox(Options(tmp_path)) as sandbox:
        text = sandbox.credentials.service_account.read_text()
        channel = open_channel("fcm", {"service_account": SecretStr(text), "base_url": sandbox.url}, "")
        assert isinstance(channel, FcmChannel)

        async def main() -> list[Finding]:
            try:
                found = list(await channel.check())
                late = ManualClock(SystemClock().machine() - timedelta(hours=2))
                wrong = FcmChannel(channel._exchange.service, channel._transport, late, base_url=sandbox.url)
                assert [each.health for each in await wrong.check()] == [Health.BROKEN] * 2
                return found
            finally:
                await channel.close()

        (finding,) = asyncio.run(main())
        assert finding.health is Health.FINE
    assert (tmp_path / "accepted.jsonl").read_text() == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "service_account_file: is required"),
        ({"service_account": SecretStr("{}"), "service_account_file": "x"}, "give one of the two"),
        ({"service_account": SecretStr("{}")}, "service_account_env: the variable is no service account's key file"),
        ({"service_account": "in the file"}, "a secret does not stand in this file"),
    ],
)
def test_options(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_channel("fcm", options, "")
    assert said in str(caught.value)


def test_ack_image_and_tag(key: RSAPrivateKey, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(key, clock, OK) as (channel, far):
            image = replace(PAYLOAD, image="https://i.example/n.png")
            await channel.send(replace(ENVELOPE, payload=image, ack="a" * ACK_LENGTH))
            message = json.loads(far.seen(SEND)[0].body)["message"]
            assert message["data"]["ack"] == "a" * ACK_LENGTH
            assert message["apns"]["payload"] == {"aps": {"mutable-content": 1}}
            assert message["apns"]["fcm_options"] == {"image": "https://i.example/n.png"}
            assert message["webpush"]["notification"] == {"tag": "run-7-user-9"}
            assert message["android"]["notification"] == {"tag": "run-7-user-9"}

    asyncio.run(main())
