"""Whatever passes our own checks, FCM's rules take: random text of any script, up to the limit (R26)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.channel.base import ACK_LENGTH, Envelope, PushPayload
from orchestrator.channel.push.fcm_message import PAYLOAD_LIMIT, message_json, payload_size, problems
from orchestrator.sandbox.push.fcm_rules import violations
from orchestrator.sandbox.push.fcm_schema import REQUEST, Violation, parse
from tests.channel.conftest import NOW

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=1500)


def wrong(envelope: Envelope, payload: PushPayload) -> list[Violation]:
    """What the sandbox's FCM finds in the request."""
    found: list[Violation] = []
    parsed: dict[str, Any] = parse(orjson.loads(message_json(envelope, payload, NOW)), REQUEST, "", found)
    return [*found, *violations(parsed.get("message", {}))]


@settings(max_examples=200, deadline=None)
@given(
    title=TEXT,
    body=TEXT,
    link=TEXT,
    image=TEXT,
    data=st.dictionaries(st.text(min_size=1, max_size=30), TEXT, max_size=4),
    kind=st.sampled_from(["token", "fid"]),
    ttl=st.timedeltas(min_value=timedelta(days=-1), max_value=timedelta(days=60)),
    collapse_key=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=100),
)
def test_what_passes_is_never_refused(data: dict[str, str], kind: str, ttl: timedelta, **texts: str) -> None:
    collapse_key = texts.pop("collapse_key")
    payload = PushPayload(texts["title"], texts["body"], texts["link"], texts["image"], data)
    if problems(payload):
        return
    assert payload_size(payload) <= PAYLOAD_LIMIT
    envelope = Envelope("9" * 20, 1, "APA91bE-token", kind, payload, ttl, collapse_key, ack="a" * ACK_LENGTH)
    assert wrong(envelope, payload) == []
