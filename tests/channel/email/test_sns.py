"""SNS: what Amazon signed is believed, and nothing else: mutations, replays, certificates and topics of others."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from typing_extensions import override

from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Report, ReportState, Seen, SeenDeed
from orchestrator.channel.email import sns
from orchestrator.channel.email.ses import SesChannel
from orchestrator.channel.email.ses_events import BOUNCES, read_event
from orchestrator.channel.email.sigv4 import Credentials, Signer
from orchestrator.channel.email.sns import Notification, Settled, SnsDoor, host_of
from orchestrator.channel.transport import ANSWER_LIMIT, Answer, Transport
from orchestrator.clock import ManualClock
from tests.channel.conftest import NOW
from tests.channel.email.ses_mail import SENDER
from tests.channel.far_end import Act, FarEnd, answers, html, reset, silence

K, S = OutcomeClass, ReportState
TOPIC = "arn:aws:sns:eu-west-1:123456789012:ses-events"
PEM = "/SimpleNotificationService-0123abc.pem"
MAIL = {"messageId": "0100019-abc", "destination": ["li@example.com"], "tags": {"message_id": ["4711"]}}
DELIVERY = {"eventType": "Delivery", "mail": MAIL, "delivery": {"timestamp": "2026-12-01T02:59:59.000Z"}}
DELIVERED = Report("0100019-abc", "delivery", S.DELIVERED, message_id=4711)


def envelope(key: rsa.RSAPrivateKey, far: str, *, version: str = "2", **changed: Any) -> dict[str, Any]:
    """A message of SNS, signed by ``key``; ``changed`` before it is signed, None takes a field away."""
    kind = changed.get("Type", "Notification")
    fields: dict[str, Any] = {
        "Type": kind,
        "MessageId": "da41e39f-ea4d-435a-b922-c6aae3915ebe",
        "TopicArn": TOPIC,
        "Subject": "Amazon SES Email Event Notification",
        "Message": json.dumps(DELIVERY),
        "Timestamp": NOW.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "SignatureVersion": version,
        "SigningCertURL": f"{far}/sns{PEM}",
    }
    if kind != "Notification":
        query = f"Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f"
        fields |= {"Subject": None, "Token": "2336412f", "SubscribeURL": f"{far}/sns/?{query}"}
    fields = {name: value for name, value in (fields | changed).items() if value is not None}
    signed = "".join(f"{name}\n{fields[name]}\n" for name in sns.SIGNED[kind] if name in fields)
    algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()
    signature = key.sign(signed.encode(), padding.PKCS1v15(), algorithm)
    return {**fields, "Signature": base64.b64encode(signature).decode()}


def request(said: dict[str, Any] | bytes, hook: str = "events") -> CallbackRequest:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    headers = {"content-type": "text/plain; charset=UTF-8"}
    return CallbackRequest("https://push.example/callbacks/mail/events", hook, {}, headers, body)


@asynccontextmanager
async def opened(
    clock: ManualClock, certificate: bytes, *acts: Act, topics: tuple[str, ...] = (TOPIC,)
) -> AsyncIterator[tuple[SesChannel, FarEnd]]:
    """An account whose Amazon is the far end."""
    async with FarEnd() as far:
        far.plays(f"/sns{PEM}", *(acts or (answers(200, certificate),))).plays("/sns/", answers(200, b"<ok/>"))
        transport = Transport(timedelta(seconds=0.5))
        door = SnsDoor(frozenset(topics), transport, clock, far.url)
        signer = Signer(Credentials("AKIAIOSFODNN7EXAMPLE", "x"), "eu-west-1", "ses")
        channel = SesChannel(SENDER, signer, Transport(timedelta(seconds=0.5)), clock, base_url=far.url, door=door)
        yield channel, far
        await channel.close()


def heard(
    clock: ManualClock, certificate: bytes, make: Callable[[str], dict[str, Any] | bytes], *acts: Act
) -> tuple[Heard | Refused, FarEnd]:
    async def main() -> tuple[Heard | Refused, FarEnd]:
        async with opened(clock, certificate, *acts) as (channel, far):
            return await channel.hear(request(make(far.url))), far

    return asyncio.run(main())


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


REAL = "https://sns.eu-west-1.amazonaws.com"
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


class Recorder(Transport):
    """What would be fetched, without the world."""

    def __init__(self, answer: Answer, only: str = "") -> None:
        super().__init__(timedelta(seconds=1))
        self.answer = answer
        self.only = only
        self.urls: list[str] = []

    @override
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        limit: int = ANSWER_LIMIT,
        begin_by: float = math.inf,
    ) -> Answer:
        self.urls.append(f"{method} {url}")
        return self.answer if self.only in {"", url} else Answer(404, {}, b"")


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


# ---- events -----------------------------------------------------------------------------------------------


def said(kind: str, word: str, **what: Any) -> list[Report | Seen]:
    return read_event({"eventType": kind, "mail": MAIL, word: what}, "N1", NOW)


REPORT = Report("0100019-abc", "", S.UNDELIVERED, message_id=4711)
ROWS = {
    ("Permanent", "General"): (K.DROP_ADDRESS, "provider"),
    ("Permanent", "NoEmail"): (K.DROP_ADDRESS, "provider"),
    ("Permanent", "Suppressed"): (K.SUPPRESS, "provider"),
    ("Permanent", "OnAccountSuppressionList"): (K.SUPPRESS, "provider"),
    ("Permanent", "UnsubscribedRecipient"): (K.SUPPRESS, "unsubscribe"),
    ("Transient", "General"): (K.DROP_MESSAGE, "provider"),
    ("Transient", "MailboxFull"): (K.DROP_MESSAGE, "provider"),
    ("Transient", "MessageTooLarge"): (K.DROP_MESSAGE, "provider"),
    ("Transient", "ContentRejected"): (K.DROP_MESSAGE, "provider"),
    ("Transient", "AttachmentRejected"): (K.DROP_MESSAGE, "provider"),
    ("Undetermined", "Undetermined"): (K.DROP_MESSAGE, "provider"),
}


@pytest.mark.parametrize(("types", "verdict"), ROWS.items())
def test_every_bounce(types: tuple[str, str], verdict: tuple[OutcomeClass, str]) -> None:
    recipients = [{"emailAddress": "li@example.com", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 nobody"}]
    (report,) = said(
        "Bounce", "bounce", bounceType=types[0], bounceSubType=types[1], bouncedRecipients=recipients, feedbackId="F"
    )
    status = "5.2.2" if types[1] == "MailboxFull" else "5.1.1"
    assert report == replace(
        REPORT,
        status="bounce:N1",
        code=f"{types[0]}.{types[1]} {status}",
        kind=verdict[0],
        refusal=verdict[1],
        address="li@example.com",
    )


def test_the_table_of_bounces_has_no_row_without_a_test() -> None:
    assert set(ROWS) == set(BOUNCES)


def test_a_hundred_bounces_nobody_knows() -> None:
    chance = random.Random(3)
    for _ in range(100):
        kind = chance.choice(["Permanent", "Transient", "Odd", ""])
        (report,) = said("Bounce", "bounce", bounceType=kind, bounceSubType=f"New{chance.randrange(999)}")
        assert isinstance(report, Report)
        assert report.kind is (K.DROP_ADDRESS if kind == "Permanent" else K.DROP_MESSAGE)


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        ("5.7.1", "", K.DROP_MESSAGE),
        ("5.0.0", "smtp; 550 5.7.26 unauthenticated", K.DROP_MESSAGE),
        ("5.1.1", "smtp; 550-5.7.1", K.DROP_ADDRESS),
        ("", "", K.DROP_ADDRESS),
    ],
)
def test_no_policy_refusal_costs_an_address(status: str, words: str, kind: OutcomeClass) -> None:
    recipients = [{"emailAddress": "Li <li@example.com>", "status": status, "diagnosticCode": words}]
    (report,) = said("Bounce", "bounce", bounceType="Permanent", bounceSubType="General", bouncedRecipients=recipients)
    assert isinstance(report, Report)
    assert (report.kind, report.address) == (kind, "li@example.com")


@pytest.mark.parametrize(
    ("feedback", "sub", "expected"),
    [
        ("abuse", None, (S.DELIVERED, "abuse")),
        ("fraud", None, (S.DELIVERED, "fraud")),
        ("virus", None, (S.DELIVERED, "virus")),
        ("auth-failure", None, (S.DELIVERED, "auth-failure")),
        ("other", None, (S.DELIVERED, "other")),
        (None, None, (S.DELIVERED, "")),
        (None, "OnAccountSuppressionList", (S.UNDELIVERED, "OnAccountSuppressionList")),
        ("not-spam", None, None),
    ],
)
def test_complaints(feedback: str | None, sub: str | None, expected: tuple[ReportState, str] | None) -> None:
    people = [{"emailAddress": "li@example.com"}, {"emailAddress": "wei@example.com"}]
    reports = said(
        "Complaint",
        "complaint",
        complainedRecipients=people,
        complaintFeedbackType=feedback,
        complaintSubType=sub,
    )
    if expected is None:
        assert reports == []
        return
    base = replace(REPORT, state=expected[0], code=expected[1], kind=K.SUPPRESS, refusal="complaint")
    assert reports == [
        replace(base, status="complaint:N1", address="li@example.com"),
        replace(base, status="complaint:N1:1", address="wei@example.com"),
    ]


@pytest.mark.parametrize(
    ("kind", "word", "what", "report"),
    [
        ("Send", "send", {}, replace(REPORT, status="send", state=S.SENT)),
        ("Delivery", "delivery", {}, DELIVERED),
        ("Reject", "reject", {"reason": "Bad content"}, replace(REPORT, status="reject", code="Reject")),
        (
            "Rendering Failure",
            "failure",
            {"templateName": "x"},
            replace(REPORT, status="rendering_failure", code="RenderingFailure"),
        ),
        (
            "DeliveryDelay",
            "deliveryDelay",
            {"delayType": "MailboxFull"},
            replace(REPORT, status="delay:N1", state=S.SENT, code="DeliveryDelay.MailboxFull"),
        ),
        (
            "Subscription",
            "subscription",
            {"newTopicPreferences": {"unsubscribeAll": True}},
            replace(
                REPORT,
                status="subscription:N1",
                state=S.DELIVERED,
                code="Subscription",
                kind=K.SUPPRESS,
                refusal="unsubscribe",
            ),
        ),
    ],
)
def test_every_other_event(kind: str, word: str, what: dict[str, Any], report: Report) -> None:
    assert said(kind, word, **what) == [report]


@pytest.mark.parametrize(
    ("topics", "left"), [(["OptOut"], True), (["OptOut", "OptIn"], False), (["OptIn"], False), ([], False)]
)
def test_who_still_wants_something_has_not_left(topics: list[str], left: bool) -> None:
    wishes = {"topicSubscriptionStatus": [{"topicName": "t", "subscriptionStatus": status} for status in topics]}
    assert bool(said("Subscription", "subscription", newTopicPreferences={"unsubscribeAll": False, **wishes})) is left


def test_opens_and_clicks() -> None:
    at = datetime.fromisoformat("2026-12-01T02:30:00.500Z")
    what = {"timestamp": "2026-12-01T02:30:00.500Z", "userAgent": "Mozilla/5.0", "ipAddress": "192.0.2.7"}
    opened = Seen("N1", "0100019-abc", SeenDeed.OPEN, at, 4711, "", "Mozilla/5.0", "192.0.2.7")
    assert said("Open", "open", **what) == [opened]
    clicked = replace(opened, deed=SeenDeed.CLICK, url="https://x.example/?a=b")
    assert said("Click", "click", **what, link="https://x.example/?a=b") == [clicked]
    assert said("Open", "open", timestamp="odd") == [Seen("N1", "0100019-abc", SeenDeed.OPEN, NOW, 4711)]


@pytest.mark.parametrize(
    ("mail", "found"),
    [
        ({"tags": {"message_id": ["4711"]}}, 4711),
        ({"headers": [{"name": "X-Orchestrator-Message", "value": "4711"}]}, 4711),
        ({"tags": {"message_id": ["x"]}}, None),
        ({"tags": {"message_id": []}, "headers": [7]}, None),
        ({"tags": [], "headers": {}}, None),
        ({}, None),
    ],
)
def test_which_message_it_is_about(mail: dict[str, Any], found: int | None) -> None:
    (report,) = read_event({"notificationType": "Delivery", "mail": {"messageId": "m", **mail}}, "N1", NOW)
    assert report.message_id == found


@pytest.mark.parametrize("junk", [None, 7, [], "x", {"a": None}, [None], {"bouncedRecipients": [None, 7]}])
def test_nothing_in_an_event_upsets_us(junk: Any) -> None:
    for kind in ("Send", "Bounce", "Complaint", "Open", "Click", "DeliveryDelay", "Subscription", "Odd"):
        word = kind[:1].lower() + kind[1:]
        read_event({"eventType": kind, "mail": MAIL, word: junk}, "N1", NOW)
        read_event({"eventType": kind, "mail": junk, word: {}}, "N1", NOW)
        read_event({"eventType": junk, "mail": MAIL}, "N1", NOW)
