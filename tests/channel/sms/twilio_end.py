"""A message through Twilio, the question what became of it, and a far end for both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from orchestrator.channel.base import Envelope, Inquiry, Outcome, OutcomeClass, SmsPayload
from orchestrator.channel.sms.twilio import TwilioChannel, TwilioOptions
from orchestrator.channel.sms.twilio_callbacks import Signature
from orchestrator.channel.wire import Wire
from orchestrator.clock import ManualClock
from tests.channel.far_end import Act, FarEnd, answers
from tests.channel.once import sent_once

K = OutcomeClass
AC = "AC" + "0123456789abcdef" * 2
SID = "SM" + "f" * 32
MESSAGES = f"/2010-04-01/Accounts/{AC}/Messages.json"
CALLBACK = "https://push.example/callbacks/sms"
PHONE = "+15558675309"
BODY = "Noodles miss you, Ümit 午餐: 5 off & more = yes"
ENVELOPE = Envelope("4711", 1, PHONE, "phone", SmsPayload(BODY), timedelta(minutes=90), "run-7-user-9")
OK = answers(201, {"sid": SID, "status": "queued", "num_segments": "0", "error_code": None})
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SENT_AT = datetime(2026, 12, 1, 3, 0, tzinfo=UTC)
INQUIRY = Inquiry("4711", PHONE, SmsPayload(BODY), SENT_AT)


@asynccontextmanager
async def opened(
    clock: ManualClock, *acts: Act, patience: float = 0.5, **more: str
) -> AsyncIterator[tuple[TwilioChannel, FarEnd]]:
    """An account whose Twilio is the far end."""
    async with FarEnd().plays(MESSAGES, *acts) as far:
        sender = {"from": "+15005550006"} | more
        options = TwilioOptions.model_validate(
            {"account_sid": AC, "auth_token_file": Path("x"), "base_url": far.url} | sender
        )
        transport = Wire(timedelta(seconds=patience))
        signature = Signature("s3cret-canary", None)
        channel = TwilioChannel(options, "s3cret-canary", transport, clock, signature=signature, callback_url=CALLBACK)
        yield channel, far
        await channel.close()


def sent(clock: ManualClock, act: Act) -> Outcome:
    """The outcome of one message; checks that exactly one request was made."""
    return sent_once(opened(clock, act), ENVELOPE)


def refusal(status: int, code: int, message: str = "", **headers: str) -> Act:
    return answers(status, {"code": code, "message": message, "more_info": "https://x", "status": status}, **headers)
