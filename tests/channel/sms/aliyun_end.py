"""An Aliyun far end: an account that sends to it, what it refuses with, and a page of its records."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestrator.channel.base import Envelope, Outcome, OutcomeClass, SmsPayload
from orchestrator.channel.sms.aliyun import AliyunChannel, AliyunOptions
from orchestrator.channel.wire import Wire
from orchestrator.clock import ManualClock
from tests.channel.far_end import Act, FarEnd, answers
from tests.channel.once import sent_once

K = OutcomeClass
KEY, SECRET = "LTAIcanary0", "s3cret-canary"
PHONE = "+8613800138000"
PAYLOAD = SmsPayload("【面馆】Noodles miss you, 小明", "SMS_71390007", {"name": "小明canary", "points": "41"})
ENVELOPE = Envelope("4711", 1, PHONE, "phone", PAYLOAD, timedelta(minutes=90), "run-7-user-9")
OK = answers(200, {"Message": "OK", "RequestId": "R-1", "BizId": "9006197469364984400", "Code": "OK"})
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@asynccontextmanager
async def opened(
    clock: ManualClock, *acts: Act, patience: float = 0.5, **more: object
) -> AsyncIterator[tuple[AliyunChannel, FarEnd]]:
    """An account whose Aliyun is the far end."""
    async with FarEnd().plays("/", *acts) as far:
        given = {"access_key_id": KEY, "access_key_secret_file": Path("x"), "signature": "面馆", "base_url": far.url}
        options = AliyunOptions.model_validate(given | more)
        channel = AliyunChannel(options, SECRET, Wire(timedelta(seconds=patience)), clock)
        yield channel, far
        await channel.close()


def sent(clock: ManualClock, act: Act) -> Outcome:
    """The outcome of one message; checks that exactly one request was made."""
    return sent_once(opened(clock, act), ENVELOPE)


def refusal(code: str, message: str = "", status: int = 200, **headers: str) -> Act:
    return answers(status, {"RequestId": "R-1", "Message": message, "Code": code}, **headers)


def page(*out_ids: str, total: int | None = None) -> Act:
    """A page of Aliyun's records of one number and day, of ``total`` in all."""
    records: list[dict[str, Any]] = [{"OutId": each, "SendStatus": 3, "ErrCode": "DELIVERED"} for each in out_ids]
    found = {"TotalCount": len(records) if total is None else total, "SmsSendDetailDTOs": {"SmsSendDetailDTO": records}}
    return answers(200, {"Code": "OK", "Message": "OK", **found})
