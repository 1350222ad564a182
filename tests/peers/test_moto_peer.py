"""Our SES requests at moto's SES, and notifications that moto's SNS signs by itself: a peer that others wrote."""

from __future__ import annotations

import asyncio
import json
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from typing_extensions import override

from orchestrator.channel.base import EmailPayload, Envelope, OutcomeClass
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Report, ReportState
from orchestrator.channel.email.ses import SesChannel
from orchestrator.channel.email.ses_message import SesSender
from orchestrator.channel.email.sigv4 import Credentials, Signer
from orchestrator.channel.email.smtp_address import Mailbox
from orchestrator.channel.email.sns import SnsDoor
from orchestrator.channel.transport import ANSWER_LIMIT, Answer, NoAnswer, Transport
from orchestrator.clock import SystemClock
from tests.channel.far_end import FarEnd, Seen, answers

moto_server = pytest.importorskip("moto.server", reason="moto is not installed")
boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")

REGION = "us-east-1"
SIGNER = Signer(Credentials("AKIAIOSFODNN7EXAMPLE", "secret"), REGION, "ses")
MAIL = EmailPayload("你好", "Plain", "<p>Rich</p>", "https://push.example/u/abc")
EVENT = {
    "eventType": "Delivery",
    "mail": {"messageId": "m-1", "tags": {"message_id": ["4711"]}, "destination": ["好@example.com"]},
    "delivery": {},
}


@dataclass(frozen=True)
class Moto:
    url: str

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "secret"}
        return boto3.client(service, region_name=REGION, endpoint_url=self.url, **keys)


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Moto(f"http://{host}:{port}")
    server.stop()


class ViaMoto(Transport):
    """Amazon's hosts are moto's."""

    def __init__(self, moto: Moto) -> None:
        super().__init__(timedelta(seconds=5))
        self._moto = moto

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
    ) -> Answer | NoAnswer:
        there = f"{self._moto.url}/{url.removeprefix('https://').partition('/')[2]}"
        # moto finds the service by who signed a request to it; Amazon, by the host.
        signed = replace(SIGNER, service="sns").headers(method, there, body or b"", "", SystemClock().machine())
        headers = {**headers, **signed}
        return await super().request(method, there, headers=headers, body=body, limit=limit, begin_by=begin_by)


def channel(moto: Moto, topic: str, sender: str = "food.example") -> SesChannel:
    clock = SystemClock()
    door = SnsDoor(frozenset({topic}), ViaMoto(moto), clock)
    own = SesSender("Food 午餐", Mailbox("news", sender))
    return SesChannel(own, SIGNER, Transport(timedelta(seconds=5)), clock, base_url=moto.url, door=door)


TOPIC = "arn:aws:sns:us-east-1:123456789012:ses-events"


def test_moto_takes_our_mail(moto: Moto) -> None:
    moto.client("ses").verify_domain_identity(Domain="food.example")

    async def main() -> None:
        own, other = channel(moto, TOPIC), channel(moto, TOPIC, "other.example")
        envelope = Envelope("4711", 1, "li@example.com", "mailbox", MAIL, timedelta(hours=1), "k")
        taken = await own.send(envelope)
        assert taken.kind is OutcomeClass.ACCEPTED, taken
        assert taken.provider_id
        refused = await other.send(envelope)
        assert (refused.kind, refused.code) == (OutcomeClass.STOP_CHANNEL, "MessageRejected"), refused
        await own.close()
        await other.close()

    asyncio.run(main())
    assert moto.client("ses").get_send_quota()["SentLast24Hours"] == 1


def test_notifications_that_moto_signs_are_believed(moto: Moto) -> None:
    sns = moto.client("sns")
    topic = sns.create_topic(Name="ses-events")["TopicArn"]
    assert topic == TOPIC

    async def main() -> tuple[Seen, list[Heard | Refused]]:
        async with FarEnd().plays("/events", answers(200)) as far:
            loop = asyncio.get_running_loop()

            def publish() -> None:
                sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=f"{far.url}/events")
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    sns.publish(TopicArn=topic, Message=json.dumps(EVENT, ensure_ascii=False))

            await loop.run_in_executor(None, publish)
            (seen,) = far.seen("/events")
        own, other = channel(moto, topic), channel(moto, topic + "-other")
        bad = seen.body.replace(b"Delivery", b"Bounced!")
        requests = [CallbackRequest("https://x", "events", {}, seen.headers, body) for body in (seen.body, bad)]
        heard = [await own.hear(requests[0]), await own.hear(requests[1]), await other.hear(requests[0])]
        await own.close()
        await other.close()
        return seen, heard

    seen, heard = asyncio.run(main())
    assert seen.headers["content-type"].startswith("text/plain")
    assert heard == [
        Heard([Report("m-1", "delivery", ReportState.DELIVERED, message_id=4711)]),
        Refused.FORGED,
        Refused.FORGED,
    ]
