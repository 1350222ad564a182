"""SNS: certificates come from Amazon alone, one for many messages; subscriptions are confirmed, nothing else is."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from orchestrator.channel.callback import Heard, Refused
from orchestrator.channel.email.sns import Notification, Settled, SnsDoor, host_of
from orchestrator.channel.transport import Answer
from orchestrator.clock import ManualClock
from tests.channel.email.sns_door import DELIVERED, PEM, REAL, TOPIC, Recorder, envelope, heard, opened, request
from tests.channel.far_end import Act, answers, html, reset, silence

EVIL = [
    "http://sns.eu-west-1.amazonaws.com" + PEM,
    "https://sns.us-east-1.amazonaws.com" + PEM,  # not the topic's region
    "https://sns.s3.amazonaws.com" + PEM,  # a bucket called sns: fits Amazon's own pattern
    "https://sns.eu-west-1.amazonaws.com.evil.example" + PEM,
    "https://sns.eu-west-1.amazonaws.com.cn" + PEM,
    "https://sns.eu-west-1.amazonaws.com@evil.example" + PEM,
    "https://evil.example/sns.eu-west-1.amazonaws.com" + PEM,
    "https://sns.eu-west-1.amazonaws.com:8443" + PEM,
    "https://sns.eu-west-1.amazonaws.com/x/.." + PEM,
    "https://sns.eu-west-1.amazonaws.com" + PEM + "?x",
    "https://sns.eu-west-1.amazonaws.com" + PEM + "#x",
    "https://sns.eu-west-1.amazonaws.com" + PEM + "\n",
    "https://sns.eu-west-1.amazonaws.com" + PEM.replace("abc", "ABC"),
    "https://sns.eu-west-1.amazonaws.com/other.pem",
    "https://sns.eu-west-1.amazonaws.com\\@evil.example" + PEM,
    " https://sns.eu-west-1.amazonaws.com" + PEM,
    "HTTPS://sns.eu-west-1.amazonaws.com" + PEM,
    "https://sns.eu-west-1.amazonaws。com" + PEM,
    "http://127.0.0.1:80/sns" + PEM,
    "http://localhost/sns" + PEM,
    "file:///etc/passwd",
    "",
]


def admitted(
    clock: ManualClock, certificate: bytes, said: dict[str, Any], topic: str = TOPIC
) -> tuple[Notification | Settled | Refused, list[str]]:
    """At the door of an account at Amazon itself."""

    async def main() -> tuple[Notification | Settled | Refused, list[str]]:
        transport = Recorder(Answer(200, {}, certificate))
        door = SnsDoor(frozenset({topic}), transport, clock)
        try:
            return await door.admit(json.dumps(said).encode()), transport.urls
        finally:
            await door.close()

    return asyncio.run(main())


@pytest.mark.parametrize("url", EVIL)
def test_certificates_come_from_amazon_alone(
    clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes, url: str
) -> None:
    said, fetched = admitted(clock, certificate, envelope(key, REAL, SigningCertURL=url))
    assert said is Refused.FORGED
    assert not fetched


def test_trusting_the_published_pattern_alone_is_caught(
    clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken variant: with Amazon's pattern and nothing more, anybody's bucket vouches for anything."""
    said = envelope(key, REAL, SigningCertURL="https://sns.s3.amazonaws.com" + PEM)
    assert admitted(clock, certificate, said)[0] is Refused.FORGED
    monkeypatch.setattr(SnsDoor, "_of_the_topic", lambda _, url, __: ".amazonaws.com/" in url)
    assert isinstance(admitted(clock, certificate, said)[0], Notification)


@pytest.mark.parametrize(
    ("topic", "host"),
    [
        (TOPIC, "sns.eu-west-1.amazonaws.com"),
        ("arn:aws-cn:sns:cn-north-1:123456789012:x", "sns.cn-north-1.amazonaws.com.cn"),
        ("arn:aws-us-gov:sns:us-gov-west-1:123456789012:x", "sns.us-gov-west-1.amazonaws.com"),
    ],
)
def test_the_real_addresses(
    clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes, topic: str, host: str
) -> None:
    url = f"https://{host}{PEM}"
    said, fetched = admitted(clock, certificate, envelope(key, "", TopicArn=topic, SigningCertURL=url), topic)
    assert isinstance(said, Notification)
    assert host_of(topic) == host
    assert fetched == [f"GET {url}"]


def confirmation(key: rsa.RSAPrivateKey, url: str) -> dict[str, Any]:
    return envelope(
        key, REAL, Type="SubscriptionConfirmation", SubscribeURL=url, SigningCertURL=f"{REAL}{PEM}", Message="You…"
    )


QUERY = f"?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f"


def test_a_subscription_is_confirmed_once_by_a_get(
    clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes
) -> None:
    said, fetched = admitted(clock, certificate, confirmation(key, f"{REAL}/{QUERY}"))
    assert said == Settled()
    assert fetched == [f"GET {REAL}{PEM}", f"GET {REAL}/{QUERY}"]


@pytest.mark.parametrize(
    "url",
    [
        f"http://sns.eu-west-1.amazonaws.com/{QUERY}",
        f"https://sns.us-east-1.amazonaws.com/{QUERY}",
        f"https://sns.eu-west-1.amazonaws.com.evil.example/{QUERY}",
        f"https://sns.eu-west-1.amazonaws.com@evil.example/{QUERY}",
        f"https://sns.eu-west-1.amazonaws.com:99/{QUERY}",
        f"{REAL}/x{QUERY}",
        f"{REAL}/?Action=DeleteTopic&TopicArn={TOPIC}",
        f"{REAL}/{QUERY}&Action=DeleteTopic",
        f"{REAL}/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-west-1:999999999999:x&Token=1",
        f"{REAL}/{QUERY}\r\nHost: evil",
        "http://169.254.169.254/latest/meta-data/",
        "",
    ],
)
def test_and_nothing_else_is_fetched(clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes, url: str) -> None:
    said, fetched = admitted(clock, certificate, confirmation(key, url))
    assert said is Refused.FORGED
    assert fetched == [f"GET {REAL}{PEM}"]


def test_topics_of_others_are_not_joined(clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes) -> None:
    other = confirmation(key, f"{REAL}/{QUERY}") | {"TopicArn": "arn:aws:sns:eu-west-1:999999999999:ses-events"}
    assert admitted(clock, certificate, other) == (Refused.FORGED, [])


def test_a_confirmation_that_fails_comes_again(clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes) -> None:
    async def main() -> None:
        async with opened(clock, certificate) as (channel, far):
            far.plays("/sns/", answers(500), answers(200))
            post = request(envelope(key, far.url, Type="SubscriptionConfirmation"))
            assert await channel.hear(post) is Refused.LATER
            assert await channel.hear(post) == Heard()

    asyncio.run(main())


def test_being_unsubscribed_fetches_nothing(clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes) -> None:
    said, far = heard(clock, certificate, lambda url: envelope(key, url, Type="UnsubscribeConfirmation"))
    assert said == Heard()
    assert [seen.path for seen in far.requests] == [f"/sns{PEM}"]


def test_a_certificate_is_fetched_once_for_many(clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes) -> None:
    async def main() -> None:
        async with opened(clock, certificate) as (channel, far):
            post = request(envelope(key, far.url))
            heards = await asyncio.gather(*(channel.hear(post) for _ in range(50)))
            assert heards == [Heard([DELIVERED])] * 50
            assert len(far.requests) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    "act",
    [
        answers(404),
        answers(302, b"", location="http://127.0.0.1:1/"),
        answers(200, b"-----BEGIN CERTIFICATE-----"),
        html(200),
        answers(200, b"x" * 70_000),
        reset,
        silence,
    ],
)
def test_a_certificate_that_does_not_load(
    clock: ManualClock, key: rsa.RSAPrivateKey, certificate: bytes, act: Act
) -> None:
    async def main() -> None:
        async with opened(clock, certificate, act, answers(200, certificate)) as (channel, far):
            post = request(envelope(key, far.url))
            assert [await channel.hear(post) for _ in range(3)] == [Refused.LATER] * 3
            assert len(far.requests) == 1  # nobody makes us fetch for ever
            clock.advance(timedelta(seconds=31))
            assert await channel.hear(post) == Heard([DELIVERED])

    asyncio.run(main())
