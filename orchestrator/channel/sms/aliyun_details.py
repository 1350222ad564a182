"""Aliyun's records of what was sent to one number on one day (``QuerySendDetails``): kept for 30 days, newest first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from orchestrator.channel.json_text import loaded, mapping, objects, text
from orchestrator.channel.transport import Answer, NoAnswer

PAGE_SIZE = 50
PAGES = 4
KEPT_DAYS = 30
WAITING, FAILED, DELIVERED = "1", "2", "3"
"""Values of ``SendStatus``."""

Call = Callable[[Mapping[str, str]], Awaitable[Answer | NoAnswer]]


@dataclass(frozen=True, slots=True)
class Detail:
    """One text: our id, how far it has got, and the carrier's code."""

    out_id: str
    status: str
    error: str


@dataclass(frozen=True, slots=True)
class Details:
    """What a query found. ``whole``: these are all of that day."""

    found: tuple[Detail, ...]
    whole: bool


async def details(call: Call, number: str, day: date, biz_id: str = "") -> Details | None:
    """The texts to ``number`` (as Aliyun writes it) on that day in Beijing; None when Aliyun did not say."""
    found: list[Detail] = []
    for page in range(1, PAGES + 1):
        answer = await call(_query(number, day, biz_id, page))
        body = mapping(loaded(answer.body)) if isinstance(answer, Answer) and answer.whole else {}
        if body.get("Code") != "OK" or not isinstance(answer, Answer) or answer.status != 200:  # noqa: PLR2004
            return None
        records = objects(mapping(body.get("SmsSendDetailDTOs")).get("SmsSendDetailDTO", []))
        found += [_detail(record) for record in records]
        if len(found) >= _total(body) or not records:
            return Details(tuple(found), whole=len(found) >= _total(body))
    return Details(tuple(found), whole=False)


def _query(number: str, day: date, biz_id: str, page: int) -> dict[str, str]:
    asked = {
        "Action": "QuerySendDetails",
        "PhoneNumber": number,
        "SendDate": day.strftime("%Y%m%d"),
        "PageSize": str(PAGE_SIZE),
        "CurrentPage": str(page),
    }
    return {**asked, "BizId": biz_id} if biz_id else asked


def _detail(record: Mapping[str, Any]) -> Detail:
    return Detail(text(record.get("OutId")), text(record.get("SendStatus")), text(record.get("ErrCode")))


def _total(body: Mapping[str, Any]) -> int:
    total = text(body.get("TotalCount"))
    return int(total) if total.isascii() and total.isdecimal() and len(total) < 10 else 10**9  # noqa: PLR2004
