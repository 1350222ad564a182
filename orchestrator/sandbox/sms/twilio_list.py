"""Twilio's list of messages: newest first, filtered by To, From and DateSent, in pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from orchestrator.sandbox.accepted import AcceptedLog, Record
from orchestrator.sandbox.credentials import ACCOUNT_SID, FROM_NUMBER
from orchestrator.sandbox.sms.twilio_resource import VERSION, resource
from orchestrator.sandbox.sms.twilio_rules import Refusal

LARGEST_PAGE = 1000
DAY = 86_400.0
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was asked for; instants are seconds since 1970, ``since`` inclusive and ``until`` exclusive."""

    to: str
    sender: str
    since: float
    until: float
    size: int
    page: int


def list_page(log: AcceptedLog, query: Mapping[str, str], delay: float) -> dict[str, Any] | Refusal:
    """One page. ``DateSent>`` and ``DateSent<`` take a day or an instant; the ``=`` that follows belongs to them."""
    try:
        asked = _read(query)
    except (ValueError, OverflowError):
        return Refusal(20001, "Invalid parameter: DateSent, Page or PageSize cannot be read")
    start = asked.page * asked.size
    found = list(islice(_matching(log, asked), start, start + asked.size + 1))
    more = len(found) > asked.size
    shown = [resource(record, delay) for record in found[: asked.size]]
    return {
        "messages": shown,
        "page": asked.page,
        "page_size": asked.size,
        "start": start,
        "end": start + max(len(shown) - 1, 0),
        "uri": _uri(query, asked, asked.page),
        "first_page_uri": _uri(query, asked, 0),
        "next_page_uri": _uri(query, asked, asked.page + 1) if more else None,
        "previous_page_uri": _uri(query, asked, asked.page - 1) if asked.page else None,
    }


def _read(query: Mapping[str, str]) -> _Asked:
    dates = {name.rstrip("="): value for name, value in query.items() if name.startswith("DateSent")}
    since, until = 0.0, float("inf")
    if "DateSent" in dates:
        since, until = _instant(dates["DateSent"]), _instant(dates["DateSent"]) + DAY
    if "DateSent>" in dates:
        since = max(since, _instant(dates["DateSent>"]))
    if "DateSent<" in dates:
        end = _instant(dates["DateSent<"])
        until = min(until, end + (DAY if _DATE.fullmatch(dates["DateSent<"]) else 1.0))
    size = min(max(int(query.get("PageSize", "50")), 1), LARGEST_PAGE)
    page = max(int(query.get("Page", "0")), 0)
    return _Asked(query.get("To", ""), query.get("From", ""), since, until, size, page)


def _instant(text: str) -> float:
    instant = datetime.fromisoformat(text)
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


def _matching(log: AcceptedLog, asked: _Asked) -> Iterator[Record]:
    if asked.sender not in {"", FROM_NUMBER}:
        return
    numbers: Iterable[int] = reversed(log.of(asked.to)) if asked.to else range(len(log), 0, -1)
    for number in numbers:
        record = log.get(number)
        if record is None or record["time"] < asked.since:
            return  # newest first: all the others are older still
        if record["provider"] == "twilio" and record["time"] < asked.until:
            yield record


def _uri(query: Mapping[str, str], asked: _Asked, page: int) -> str:
    kept = {name: value for name, value in query.items() if name not in {"Page", "PageSize", "PageToken"}}
    return f"/{VERSION}/Accounts/{ACCOUNT_SID}/Messages.json?" + urlencode(
        {
            **kept,
            "PageSize": asked.size,
            "Page": page,
        }
    )
