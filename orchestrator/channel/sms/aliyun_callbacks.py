"""What Aliyun posts to us: receipts (SmsReport) and what people write back (SmsUp), each a JSON array, none signed.

Source: Aliyun, "SmsReport" and "SmsUp" by HTTP. Whoever knows the path could say that a number is dead. So what ends an
address or silences a person counts only after Aliyun's own records have said the same about the same text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from orchestrator.channel.beijing import BEIJING, beijing_instant
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Reply, Report, ReportState, carried_id
from orchestrator.channel.json_text import loaded, objects, text
from orchestrator.channel.secret_hook import knocks
from orchestrator.channel.sms.aliyun_details import FAILED, Call, details
from orchestrator.channel.sms.aliyun_errors import CARRIER
from orchestrator.channel.sms.aliyun_numbers import from_aliyun, to_aliyun

TAKEN = '{"code":0,"msg":"成功"}'.encode()
MOST_QUERIES = 20
"""Per callback: more would take longer than Aliyun waits. What is not verified is reported without its consequence."""
PATIENCE = timedelta(seconds=10)
"""For all of a callback's queries together: Aliyun waits no longer, and posts again."""
_AT_A_TIME = 5

Item = Mapping[str, Any]


async def hear(request: CallbackRequest, *, secret: str, call: Call, now: datetime) -> Heard | Refused:
    """Whether Aliyun said this, and what. Queries go through ``call``."""
    reports, replies = knocks(request.hook, "report", secret), knocks(request.hook, "reply", secret)
    if not reports and not replies:
        return Refused.FORGED
    body = loaded(request.body)
    if not isinstance(body, list):
        return Refused.MALFORMED
    items = objects(body)
    if replies:
        return Heard([reply for item in items if (reply := _reply(item)) is not None], TAKEN)
    return Heard(await _reports(items, call, now), TAKEN)


async def _reports(items: list[dict[str, Any]], call: Call, now: datetime) -> list[Report]:
    read = [(item, report) for item in items if (report := _report(item)) is not None]
    grave = [(item, report) for item, report in read if report.kind is not None][:MOST_QUERIES]
    gate, until = asyncio.Semaphore(_AT_A_TIME), asyncio.get_running_loop().time() + PATIENCE.total_seconds()

    async def proven(item: Item) -> bool:
        try:
            async with asyncio.timeout_at(until), gate:
                return await _verified(item, call, now)
        except TimeoutError:
            return False

    answers = await asyncio.gather(*(proven(item) for item, _ in grave))
    believed = {id(item) for (item, _), good in zip(grave, answers, strict=True) if good}
    return [report if id(item) in believed else replace(report, kind=None) for item, report in read]


def _report(item: Item) -> Report | None:
    """One receipt, as it claims to be."""
    biz_id, success, code = text(item.get("biz_id")), item.get("success"), text(item.get("err_code"))
    if not biz_id or not isinstance(success, bool):
        return None
    ours = carried_id(text(item.get("out_id")))
    if success:
        return Report(biz_id, "delivered", ReportState.DELIVERED, message_id=ours)
    return Report(biz_id, "undelivered", ReportState.UNDELIVERED, code[:100], CARRIER.get(code), message_id=ours)


async def _verified(item: Item, call: Call, now: datetime) -> bool:
    """Whether Aliyun's records have this very text, to that number, failed for that reason."""
    number, out_id = text(item.get("phone_number")), text(item.get("out_id"))
    sent_at = beijing_instant(text(item.get("send_time"))) or now
    known = await details(call, to_aliyun(number), sent_at.astimezone(BEIJING).date(), text(item.get("biz_id")))
    if known is None or not out_id:
        return False
    claimed = text(item.get("err_code"))
    return any(each.out_id == out_id and each.status == FAILED and each.error == claimed for each in known.found)


def _reply(item: Item) -> Reply | None:
    """One text from a person; Aliyun's sequence number makes it one of its kind, else what it says and when."""
    address, content = from_aliyun(text(item.get("phone_number"))), item.get("content")
    if not address or not isinstance(content, str):
        return None
    said = f"{address} {text(item.get('send_time'))} {text(item.get('dest_code'))} {content}"
    sequence = text(item.get("sequence_id"))
    return Reply(f"up:{sequence[:64] or sha256(said.encode('utf-8', 'replace')).hexdigest()}", address, content)
