"""A push payload as vivo's JSON, and what would be refused of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

from orchestrator.channel.base import Envelope, PushPayload
from orchestrator.channel.push.vendor import custom_data, dumped, notify_id, seconds_left, widest

TITLE_LIMIT, BODY_LIMIT = 40, 100
"""In half widths: a Chinese character counts two, everything else one."""
PAIRS_LIMIT, DATA_LIMIT = 10, 1024
SHORTEST_TTL, LONGEST_TTL = 60, 7 * 86_400
TEST = "测试"


def message_of(envelope: Envelope, payload: PushPayload, callback_url: str) -> dict[str, Any]:
    """The part of ``/message/send`` that is the message's own."""
    receipts = {"callback": callback_url, "callback.param": envelope.message_id} if callback_url else {}
    return {
        "regId": envelope.address,
        "notifyType": 4,  # sound and vibration, as far as the phone's owner lets it
        "title": payload.title,
        "content": payload.body,
        "timeToLive": seconds_left(envelope, SHORTEST_TTL, LONGEST_TTL),
        "skipType": 1,  # opens the app, which finds the rest in the custom map
        "clientCustomMap": custom_data(envelope, payload),
        "requestId": envelope.message_id,
        "notifyId": notify_id(envelope.collapse_key),
        **({"extra": receipts} if receipts else {}),
    }


def half_widths(text: str) -> int:
    """The length as vivo counts it."""
    return sum(
        2 if unicodedata.east_asian_width(character) in "WF" and _is_letter(character) else 1 for character in text
    )


def is_refused_text(text: str) -> bool:
    """Digits, symbols, or both; or English alone."""
    letters = {character.isascii() for character in text if _is_letter(character)}
    if False in letters:
        return False
    return not letters or all(character.isalpha() or character.isspace() for character in text)


def _is_letter(character: str) -> bool:
    return unicodedata.category(character).startswith("L")


def problems(payload: PushPayload, *, testing: bool) -> Iterator[str]:
    """Why vivo would refuse this payload; test messages may say anything."""
    for name, text, most in (("title", payload.title, TITLE_LIMIT), ("body", payload.body, BODY_LIMIT)):
        if half_widths(text) > most:
            yield f"{name}: {half_widths(text)} half widths; vivo takes {most}, a Chinese character counting two"
        if not testing and is_refused_text(text):
            yield f"{name}: vivo takes no text of digits, symbols or English alone"
        if not testing and TEST in text:
            yield f"{name}: vivo takes the word {TEST!r} in test messages alone"
    data = custom_data(widest(payload), payload)
    if len(data) > PAIRS_LIMIT:
        yield f"{len(data)} pairs of data, ours included; vivo takes {PAIRS_LIMIT}"
    if (size := len(dumped(data))) > DATA_LIMIT:
        yield f"{size} characters of data; vivo takes {DATA_LIMIT}"
