"""Messages as SNS signs them, and accounts that hear them: at an Amazon that is a far end, or that nobody reaches."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from typing_extensions import override

from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Report, ReportState
from orchestrator.channel.email import sns
from orchestrator.channel.email.ses import SesChannel
from orchestrator.channel.email.sigv4 import Credentials, Signer
from orchestrator.channel.email.sns import SnsDoor
from orchestrator.channel.transport import ANSWER_LIMIT, Answer, Transport
from orchestrator.clock import ManualClock
from tests.channel.conftest import NOW
from tests.channel.email.ses_mail import SENDER
from tests.channel.far_end import Act, FarEnd, answers

K, S = OutcomeClass, ReportState
TOPIC = "arn:aws:sns:eu-west-1:123456789012:ses-events"
REAL = "https://sns.eu-west-1.amazonaws.com"
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
    """What SNS posts: JSON that is called plain text."""
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
    """What the account says to one message, which ``make`` writes for the far end's address."""

    async def main() -> tuple[Heard | Refused, FarEnd]:
        async with opened(clock, certificate, *acts) as (channel, far):
            return await channel.hear(request(make(far.url))), far

    return asyncio.run(main())


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
