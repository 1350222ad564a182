"""SNS: what Amazon signed is believed, and nothing else: mutations, replays, others' topics, and what is no message."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from orchestrator.channel.callback import Heard, Refused, Report
from orchestrator.channel.email import sns
from orchestrator.channel.email.sns import Notification, SnsDoor
from orchestrator.channel.transport import Answer
from orchestrator.clock import ManualClock
from tests.channel.email.sns_door import (
    DELIVERED,
    DELIVERY,
    MAIL,
    PEM,
    REAL,
    TOPIC,
    Recorder,
    envelope,
    heard,
    opened,
    request,
)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", ["Amazon SES", None, "好\n行"])
def test_both_versions_with_and_without_a_subject(
    clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes, version: str, subject: str | None
) -> None:
    said, far = heard(clock, certificate, lambda url: envelope(key, url, version=version, Subject=subject))
    assert said == Heard([DELIVERED])
    assert said.status == 204
    assert [seen.target for seen in far.requests] == [f"/sns{PEM}"]


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_thousand_mutations_change_nothing(
    clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes, version: str
) -> None:
    """One bit anywhere: refused, or (in what is neither signed nor read) exactly the same is admitted."""

    async def main() -> int:
        chance, same = random.Random(14), 0
        transport = Recorder(Answer(200, {}, certificate), only=REAL + PEM)
        door = SnsDoor(frozenset({TOPIC}), transport, clock)
        said = envelope(key, "", version=version, UnsubscribeURL=REAL, SigningCertURL=REAL + PEM)
        good = json.dumps(said).encode()
        first = await door.admit(good)
        assert isinstance(first, Notification)
        for _ in range(1000):
            bad = bytearray(good)
            bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
            admitted = await door.admit(bytes(bad))
            assert isinstance(admitted, Refused) or admitted == first
            same += not isinstance(admitted, Refused)
        await door.close()
        assert len(transport.urls) < 40  # mutated, and still a name that a certificate could have: once each
        return same

    assert asyncio.run(main()) < 100  # those in UnsubscribeURL


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("kind", ["Notification", "SubscriptionConfirmation"])
def test_a_thousand_mutations_of_what_is_signed_are_refused(key: rsa.RSAPrivateKey, version: str, kind: str) -> None:
    chance = random.Random(15)
    good = {name: str(value) for name, value in envelope(key, "https://x", version=version, Type=kind).items()}
    assert sns.genuine(good, key.public_key())
    names = [name for name in (*sns.SIGNED[kind], "Signature") if name in good and name != "Type"]
    for _ in range(1000):
        name = chance.choice(names)
        raw = bytearray(good[name].encode())
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(7)
        assert not sns.genuine({**good, name: raw.decode("latin-1")}, key.public_key())


def test_a_door_that_does_not_check_the_signature_is_caught(
    clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken variant: the same forgery that is refused gets in where nobody checks."""
    forger = rsa.generate_private_key(65537, 2048)
    assert heard(clock, certificate, lambda url: envelope(forger, url))[0] is Refused.FORGED
    monkeypatch.setattr(sns, "genuine", lambda *_: True)
    assert heard(clock, certificate, lambda url: envelope(forger, url))[0] == Heard([DELIVERED])


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        (timedelta(hours=1), None),
        (timedelta(hours=1, seconds=1), Refused.STALE),
        (timedelta(days=400), Refused.STALE),
        (-timedelta(minutes=10), None),
        (-timedelta(minutes=10, seconds=1), Refused.STALE),
    ],
)
def test_how_old_it_may_be(
    clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes, after: timedelta, verdict: Refused | None
) -> None:
    clock.advance(after)
    said, far = heard(clock, certificate, lambda url: envelope(key, url))
    assert said == (verdict or Heard([DELIVERED]))
    assert len(far.requests) == (0 if verdict else 1)  # nothing is fetched for what is stale


def test_a_replay_under_a_new_timestamp_is_forged(
    clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes
) -> None:
    clock.advance(timedelta(hours=2))
    fresh = clock.now().isoformat().replace("+00:00", "Z")
    said, _ = heard(clock, certificate, lambda url: {**envelope(key, url), "Timestamp": fresh})
    assert said is Refused.FORGED


def test_a_replay_says_the_same_again_under_the_same_ids(
    clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes
) -> None:
    bounce = {"eventType": "Bounce", "mail": MAIL, "bounce": {"bounceType": "Permanent", "bounceSubType": "NoEmail"}}

    async def main() -> None:
        async with opened(clock, certificate) as (channel, far):
            post = request(envelope(key, far.url, Message=json.dumps(bounce)))
            first, second = await channel.hear(post), await channel.hear(post)
            assert first == second
            assert isinstance(first, Heard)
            (report,) = first.said
            assert isinstance(report, Report)
            assert report.status == "bounce:da41e39f-ea4d-435a-b922-c6aae3915ebe"

    asyncio.run(main())


@pytest.mark.parametrize(
    "changed",
    [
        {"TopicArn": "arn:aws:sns:eu-west-1:999999999999:ses-events"},
        {"TopicArn": TOPIC + "2"},
        {"TopicArn": TOPIC.upper()},
        {"SignatureVersion": "3"},
        {"SignatureVersion": ""},
        {"SignatureVersion": "１"},
    ],
)
def test_well_signed_for_somebody_else(
    clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes, changed: dict[str, str]
) -> None:
    said, far = heard(clock, certificate, lambda url: envelope(key, url, **changed))
    assert said is Refused.FORGED
    assert not far.requests


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"Type": "Notification"}',
        b"\xff\xfe",
        b'{"Type": ["Notification"]}',
        b"[" * 5000,
    ],
)
def test_what_is_no_message(clock: ManualClock, certificate: bytes, body: bytes) -> None:
    assert heard(clock, certificate, lambda _: body)[0] is Refused.MALFORMED


@pytest.mark.parametrize("missing", ["Message", "MessageId", "Timestamp", "TopicArn", "Type", "Signature"])
def test_what_lacks_a_field(clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes, missing: str) -> None:
    def make(url: str) -> dict[str, Any]:
        return {name: value for name, value in envelope(key, url).items() if name != missing}

    assert heard(clock, certificate, make)[0] is Refused.MALFORMED
    assert heard(clock, certificate, lambda url: {**make(url), missing: 7})[0] is Refused.MALFORMED


@pytest.mark.parametrize("timestamp", ["", "yesterday", "2026-12-01T03:00:00", "9999-99-99T00:00:00Z"])
def test_times_that_are_none(clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes, timestamp: str) -> None:
    assert heard(clock, certificate, lambda url: envelope(key, url, Timestamp=timestamp))[0] is Refused.MALFORMED


@pytest.mark.parametrize("signature", ["", "é", "AAAA", "not base64!", "QUJD\n", "A" * 344, "A" * 10**5])
def test_signatures_that_are_none(
    clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes, signature: str
) -> None:
    assert heard(clock, certificate, lambda url: {**envelope(key, url), "Signature": signature})[0] is Refused.FORGED


def test_other_hooks_and_raw_delivery_are_not_heard(
    clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes
) -> None:
    async def main() -> None:
        async with opened(clock, certificate) as (channel, far):
            assert await channel.hear(request(envelope(key, far.url), "status")) is Refused.FORGED
            assert await channel.hear(request(DELIVERY)) is Refused.MALFORMED

    asyncio.run(main())


@pytest.mark.parametrize("message", ["Successfully validated SNS topic", "[]", "{}", '{"eventType": "Send"}', "null"])
def test_genuine_and_saying_nothing(
    clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes, message: str
) -> None:
    assert heard(clock, certificate, lambda url: envelope(key, url, Message=message))[0] == Heard([])
