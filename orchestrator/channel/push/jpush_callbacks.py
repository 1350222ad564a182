"""What JPush posts to us: deliveries and clicks (a feature of paying customers). Source: Jiguang, "Callback API".

It carries the same Basic authentication as our calls; the message itself is not signed. Jiguang gives the names of the
fields to its customers only: they are read in every form that its SDKs and documents show (unconfirmed).
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from orchestrator.channel.callback import (
    CallbackRequest,
    Heard,
    Refused,
    Report,
    ReportState,
    Seen,
    SeenDeed,
    carried_id,
)
from orchestrator.channel.json_text import loaded, mapping, objects, text
from orchestrator.channel.secret_hook import knocks

_DELIVERED, _CLICKED = "1", "2"
_MILLISECONDS = 10**11  # an epoch in seconds stays below this for the next thousand years
_MAX_EPOCH = 2**53


def hear(request: CallbackRequest, *, secret: str, basic: str, now: datetime) -> Heard | Refused:
    """Whether JPush said this, and what. ``basic``: the Authorization header that it must show, if it shows one."""
    shown = request.headers.get("authorization", basic)
    if not knocks(request.hook, "report", secret) or not hmac.compare_digest(shown.encode(), basic.encode()):
        return Refused.FORGED
    body = loaded(request.body)
    if not isinstance(body, dict | list):
        return Refused.MALFORMED
    items = objects(body["data"]) if isinstance(body, dict) and "data" in body else objects(body)
    return Heard([said for item in items for said in _read(item, now)])


def _read(item: dict[str, Any], now: datetime) -> Iterator[Report | Seen]:
    provider_id = text(item.get("msg_id")) or text(item.get("msgid"))
    ours = carried_id(text(mapping(item.get("params")).get("m")))
    person = text(item.get("rid")) or text(item.get("registration_id"))
    kind = text(item.get("type"))
    if not provider_id or kind not in {_DELIVERED, _CLICKED}:
        return
    yield Report(provider_id, "delivered", ReportState.DELIVERED, message_id=ours, address=person)
    if kind == _CLICKED:  # it was delivered, then, whatever became of the other receipt
        yield Seen(f"jpush:click:{provider_id}:{person}", provider_id, SeenDeed.CLICK, _at(item, now), message_id=ours)


def _at(item: dict[str, Any], now: datetime) -> datetime:
    """When it happened: seconds or milliseconds since 1970; now, when that is not said or lies ahead."""
    said = item.get("itime") or item.get("time")
    if not isinstance(said, int | float) or isinstance(said, bool) or not 0 < said < _MAX_EPOCH:
        return now
    instant = datetime.fromtimestamp(said / 1000 if said > _MILLISECONDS else said, UTC)
    return min(instant, now)
