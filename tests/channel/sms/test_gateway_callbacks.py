"""An SMS gateway by description: receipts and replies, and what is not believed."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Reply, Report, ReportState
from orchestrator.clock import ManualClock
from tests.channel.sms.gateway_end import HOOK, JSON_GATEWAY, OK, K, opened


def heard(clock: ManualClock, body: bytes, hook: str, **described: Any) -> object:
    async def main() -> object:
        async with opened(clock, JSON_GATEWAY | described, OK) as (channel, _):
            return await channel.hear(CallbackRequest("https://push.example/x", hook, {}, {}, body))

    return asyncio.run(main())


RECEIPT = {"id": "GW1", "ref": "4711", "state": "DELIVERED", "error": None}
REPORT = Report("GW1", "delivered", ReportState.DELIVERED, message_id=4711)
ANSWER = b'{"ok":true}'


@pytest.mark.parametrize(
    ("changed", "report"),
    [
        ({}, REPORT),
        ({"state": "SENT"}, Report("GW1", "sent", ReportState.SENT, message_id=4711)),
        (
            {"state": "FAILED", "error": 21},
            Report("GW1", "undelivered", ReportState.UNDELIVERED, "21", K.DROP_ADDRESS, message_id=4711),
        ),
        (
            {"state": "FAILED", "error": "77"},
            Report("GW1", "undelivered", ReportState.UNDELIVERED, "77", message_id=4711),
        ),
        ({"ref": "x"}, replace(REPORT, message_id=None)),
        ({"id": ""}, replace(REPORT, provider_id="message:4711")),
        ({"error": 21}, REPORT),  # delivered: the code ends nothing
    ],
)
def test_receipts(clock: ManualClock, changed: dict[str, Any], report: Report) -> None:
    for body in (RECEIPT | changed, [RECEIPT | changed]):
        assert heard(clock, json.dumps(body).encode(), f"report/{HOOK}") == Heard([report], ANSWER)


def test_receipts_as_lists_and_forms(clock: ManualClock) -> None:
    spec = JSON_GATEWAY["receipts"]
    listed = spec | {"format": "list", "items": "data.reports"}
    body = json.dumps({"data": {"reports": [RECEIPT, RECEIPT | {"state": "PAINTED"}]}}).encode()
    assert heard(clock, body, f"report/{HOOK}", receipts=listed) == Heard([REPORT], ANSWER)
    assert heard(clock, json.dumps(RECEIPT).encode(), f"report/{HOOK}", receipts=listed) is Refused.MALFORMED
    form = spec | {"format": "form", "answer": ""}
    got = heard(clock, b"id=GW1&ref=4711&state=DELIVERED", f"report/{HOOK}", receipts=form)
    assert got == Heard([REPORT], media_type="text/plain")


def test_replies(clock: ManualClock) -> None:
    for mobile in ("13800138000", "8613800138000", "%2B8613800138000", "008613800138000"):
        got = heard(clock, f"mobile={mobile}&content=%E9%80%80%E8%AE%A2".encode(), f"reply/{HOOK}")
        assert isinstance(got, Heard)
        (reply,) = got.said
        assert isinstance(reply, Reply)
        assert (reply.address, reply.text) == ("+8613800138000", "退订")
        assert (got.answer, got.media_type) == (b"OK", "text/plain")
    assert heard(clock, b"mobile=x&content=y", f"reply/{HOOK}") == Heard([], b"OK", "text/plain")


def test_what_is_not_believed(clock: ManualClock) -> None:
    body = json.dumps(RECEIPT).encode()
    for hook in ("report", "report/", f"report/{HOOK}x", f"status/{HOOK}"):
        assert heard(clock, body, hook) is Refused.FORGED
    assert heard(clock, body, f"report/{HOOK}", receipts=None) is Refused.FORGED
    assert heard(clock, b"<html>", f"report/{HOOK}") is Refused.MALFORMED
