"""Push payloads: their size as FCM counts it, and data keys that are not ours."""

from __future__ import annotations

import pytest

from orchestrator.channel.base import PushPayload
from orchestrator.content.push import payload_bytes, problems


def test_bytes_are_keys_plus_values_in_utf_8() -> None:
    payload = PushPayload("你", "ab", link="app://x", data={"k": "é"})
    assert payload_bytes(payload) == len("title") + 3 + len("body") + 2 + len("link") + 7 + 1 + 2


def test_limit_is_4096_bytes() -> None:
    room = 4096 - len("titlexbody")
    assert problems(PushPayload("x", "a" * room)) == []
    [problem] = problems(PushPayload("x", "a" * (room + 1)))
    assert "4097 bytes" in problem


@pytest.mark.parametrize(
    "key", ["from", "message_type", "notification", "google.x", "gcm", "gcm_x", "aps", "msg_id", "link", "ack"]
)
def test_reserved_data_keys(key: str) -> None:
    [problem] = problems(PushPayload("t", "b", data={key: "1"}))
    assert key in problem


def test_other_data_keys_are_fine() -> None:
    assert problems(PushPayload("t", "b", data={"message": "1", "from_page": "x"})) == []
