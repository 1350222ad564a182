"""Two described SMS gateways, one of JSON and one of forms, and a far end that plays them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from orchestrator.channel.base import (
    Envelope,
    Outcome,
    OutcomeClass,
    SmsPayload,
)
from orchestrator.channel.sms.gateway import GatewayChannel, GatewayOptions
from orchestrator.channel.wire import Wire
from orchestrator.clock import ManualClock
from tests.channel.far_end import Act, FarEnd, answers
from tests.channel.once import sent_once

K = OutcomeClass
TOKEN, HOOK = "s3cret-canary", "h00k-s3cret-0123456789"
PHONE = "+8613800138000"
BODY = "Noodles miss you, Ümit 午餐: {to} & more = 5%"
ENVELOPE = Envelope("4711", 1, PHONE, "phone", SmsPayload(BODY), timedelta(minutes=90), "run-7-user-9")
OK = answers(202, {"data": {"id": "GW1"}})
MINUTE = timedelta(minutes=1)

JSON_GATEWAY: dict[str, Any] = {
    "request": {
        "path": "/v1/messages",
        "headers": {"Authorization": "Bearer {secret}"},
        "json": {"to": "{to}", "text": "{text}", "ref": "{id}", "validity": "{ttl_s}", "from": "{sender}"},
    },
    "sender": "Shop",
    "id": {"path": "data.id"},
    "errors": [
        {"path": "error.code", "equals": 21, "kind": "drop_address"},
        {"path": "error.code", "equals": "10", "kind": "stop_channel"},
        {"path": "error.code", "equals": 20, "kind": "drop_message"},
        {"path": "error.code", "equals": 30, "kind": "retry_after", "wait": "PT30S"},
        {"path": "error.code", "equals": 40, "kind": "suppress"},
        {"path": "error.code", "equals": 50, "kind": "ambiguous"},
        {"status": [500, 503], "path": "error.code", "matches": "^9[0-9]$", "kind": "retry"},
        {"path": "error.code", "equals": 31, "kind": "retry_after", "scope": "address"},
    ],
    "receipts": {
        "id": "id",
        "message": "ref",
        "status": "state",
        "statuses": {"DELIVERED": "delivered", "FAILED": "undelivered", "SENT": "sent"},
        "code": "error",
        "codes": {"21": "drop_address", "40": "suppress"},
        "answer": '{"ok":true}',
    },
    "replies": {"format": "form", "from": "mobile", "text": "content", "country": "86", "answer": "OK"},
    "check": {"path": "/v1/account", "headers": {"Authorization": "Bearer {secret}"}},
}
FORM_GATEWAY: dict[str, Any] = {
    "request": {
        "path": "/sms.php",
        "form": {"key": "{secret}", "mobile": "{to}", "content": "{text}", "uid": "{id}"},
        "charset": "gb18030",
        "number": "double_zero",
    },
    "success": {"status": 200, "matches": "^OK:"},
    "id": {"matches": r"^OK:(\S+)"},
    "errors": [
        {"matches": "^ERR:NUMBER", "kind": "drop_address"},
        {"matches": "^ERR:SPEED", "kind": "retry_after", "wait": "PT10S"},
        {"matches": "^ERR:AUTH", "kind": "stop_channel"},
        {"matches": "^ERR:", "kind": "drop_message"},
    ],
}


@asynccontextmanager
async def opened(
    clock: ManualClock, described: dict[str, Any], *acts: Act, patience: float = 0.5
) -> AsyncIterator[tuple[GatewayChannel, FarEnd]]:
    path = described["request"].get("path", "/")
    async with FarEnd().plays(path, *acts) as far:
        options = GatewayOptions.model_validate({"base_url": far.url, **described})
        channel = GatewayChannel(options, TOKEN, Wire(timedelta(seconds=patience)), clock, callback_secret=HOOK)
        yield channel, far
        await channel.close()


def sent(clock: ManualClock, act: Act, described: dict[str, Any] = JSON_GATEWAY) -> Outcome:
    """The outcome of one message; checks that exactly one request was made."""
    return sent_once(opened(clock, described, act), ENVELOPE)


def requested(clock: ManualClock, described: dict[str, Any], envelope: Envelope = ENVELOPE) -> Any:
    async def main() -> Any:
        async with opened(clock, described, OK) as (channel, far):
            await channel.send(envelope)
            return far.requests[0]

    return asyncio.run(main())


def _changed(path: str, value: object) -> dict[str, Any]:
    """The JSON gateway with one thing of its description changed; ``...`` takes it away."""
    described: dict[str, Any] = json.loads(json.dumps(JSON_GATEWAY)) | {"base_url": "https://sms.example"}
    *steps, last = path.split(".")
    place: Any = described
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    if value is ...:
        del place[last]
    else:
        place[last] = [value] if last == "errors" else value
    return described
