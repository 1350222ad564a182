"""A mail through SES, and a far end to send it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from orchestrator.channel.base import EmailPayload, Envelope, Outcome, OutcomeClass
from orchestrator.channel.email.ses import ACCOUNT, SEND, SesChannel
from orchestrator.channel.email.ses_message import SesSender
from orchestrator.channel.email.sigv4 import Credentials, Signer
from orchestrator.channel.email.smtp_address import Mailbox
from orchestrator.channel.email.sns import SnsDoor
from orchestrator.channel.transport import Transport
from orchestrator.channel.wire import Wire
from orchestrator.clock import ManualClock
from tests.channel.far_end import Act, FarEnd, answers

K = OutcomeClass
SECRET = "s3cret/canary+secret=key"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
TO = "li.wei@example.com"
URL = "https://push.example/u/abc.def"
MAIL = EmailPayload("你好 Noodles miss you", "Plain 午餐", "<p>Rich 午餐</p>", URL)
ENVELOPE = Envelope("4711", 1, TO, "mailbox", MAIL, timedelta(hours=1), "run-7-user-9")
SENDER = SesSender("Food", Mailbox("news", "food.example"), Mailbox("help", "food.example"), "events")
OK = answers(200, {"MessageId": "0100019-abc-000000"})
PLENTY = {"SendQuota": {"Max24HourSend": 50000.0, "MaxSendRate": 14.0, "SentLast24Hours": 12.0}, "SendingEnabled": True}
FINE = answers(200, {**PLENTY, "EnforcementStatus": "HEALTHY", "ProductionAccessEnabled": True})
MINUTE = timedelta(minutes=1)


@asynccontextmanager
async def opened(
    clock: ManualClock,
    *acts: Act,
    account: Act = FINE,
    patience: float = 0.5,
    sender: SesSender = SENDER,
    token: str = "",
) -> AsyncIterator[tuple[SesChannel, FarEnd]]:
    async with FarEnd().plays(SEND, *acts).plays(ACCOUNT, account) as far:
        transport = Wire(timedelta(seconds=patience))
        signer = Signer(Credentials(KEY_ID, SECRET, token), "eu-west-1", "ses")
        door = SnsDoor(frozenset(), Transport(timedelta(seconds=patience)), clock)
        channel = SesChannel(sender, signer, transport, clock, base_url=far.url, door=door)
        yield channel, far
        await channel.close()


def sent(clock: ManualClock, act: Act, envelope: Envelope = ENVELOPE) -> Outcome:
    """The outcome of one message; checks that exactly one request carried it."""

    async def main() -> Outcome:
        async with opened(clock, act) as (channel, far):
            outcome = await channel.send(envelope)
            assert len(far.seen(SEND)) == 1
            return outcome

    return asyncio.run(main())


def refusal(status: int, name: str, message: str = "no", **headers: str) -> Act:
    return answers(status, {"message": message}, x_amzn_errortype=f"{name}:http://internal.amazon.com/", **headers)
