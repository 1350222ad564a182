"""A push payload as Getui's JSON, and what would be refused of it. Source: docs.getui.com, "REST API v2", push.

The same message goes two ways: Getui's own connection when the app runs (``push_message``), and the phone maker's
service when it does not (``push_channel``).
"""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from orchestrator.channel.base import Envelope, Payload, PushPayload
from orchestrator.channel.push.vendor import common_problems, custom_data, dumped, notify_id

TITLE_LIMIT, BODY_LIMIT = 50, 256
"""Characters of a notification."""
PAYLOAD_LIMIT = 3072
"""Characters of the data that the app gets."""
TTL_LIMIT = timedelta(days=3)
_ONLINE_ONLY = -1
_ROOM = 128  # characters that the message id, the acknowledgement token and their names come to
_APNS_ID_LIMIT = 64


def request_id(envelope: Envelope) -> str:
    """32 characters, the same at every attempt of a message and for no other message.

    Getui drops a message whose id it has seen. So the id is not our number alone, which another installation that sends
    through the same app would use as well: the run's key and the address go into it.
    """
    named = f"{envelope.message_id}\n{envelope.collapse_key}\n{envelope.address}"
    return sha256(named.encode()).hexdigest()[:32]


def push_body(envelope: Envelope, payload: PushPayload, component: str) -> dict[str, Any]:
    """The body of ``push/single/cid``. ``component``: what opens on a phone whose app does not run."""
    data, number = custom_data(envelope, payload), notify_id(envelope.collapse_key)
    shown = {"title": payload.title, "body": payload.body, "notify_id": number}
    image = {"big_image": payload.image} if payload.image else {}
    online = {**shown, **image, "click_type": "payload", "payload": dumped(data)}
    aps = {"alert": {"title": payload.title, "body": payload.body}, "sound": "default"}
    return {
        "request_id": request_id(envelope),
        "audience": {"cid": [envelope.address]},
        "settings": {"ttl": _ttl(envelope.ttl), "strategy": {"default": 1}},
        "push_message": {"notification": online},
        "push_channel": {
            "android": {"ups": {"notification": {**shown, **_click(data, component)}}},
            "ios": {
                "type": "notify",
                "payload": dumped(data),
                "aps": aps,
                "apns-collapse-id": _collapse_id(envelope.collapse_key),
            },
        },
    }


def problems(payload: Payload) -> list[str]:
    """Why Getui would refuse this payload whoever it went to."""
    found = common_problems(payload)
    if not isinstance(payload, PushPayload) or any("surrogate" in each for each in found):
        return found
    if len(payload.title) > TITLE_LIMIT:
        found.append(f"a title of {len(payload.title)} characters; Getui takes {TITLE_LIMIT}")
    if len(payload.body) > BODY_LIMIT:
        found.append(f"a body of {len(payload.body)} characters; Getui takes {BODY_LIMIT}")
    size = len(dumped({**payload.data, "link": payload.link})) + _ROOM
    if size > PAYLOAD_LIMIT:
        found.append(f"data of {size} characters; Getui takes {PAYLOAD_LIMIT}")
    return found


def _ttl(ttl: timedelta) -> int:
    """Milliseconds, down: never past the window. Less than one: now, or not at all."""
    milliseconds = min(ttl, TTL_LIMIT) // timedelta(milliseconds=1)
    return milliseconds if milliseconds > 0 else _ONLINE_ONLY


def _click(data: dict[str, str], component: str) -> dict[str, str]:
    """A phone maker's service carries data in an intent alone, and needs the activity for it; else the app opens."""
    if not component:
        return {"click_type": "startapp"}
    extras = "".join(f"S.{quote(name, safe='')}={quote(value, safe='')};" for name, value in data.items())
    package = component.partition("/")[0]
    head = f"intent://com.getui.push/detail?#Intent;scheme=gtpushscheme;launchFlags=0x4000000;package={package}"
    return {"click_type": "intent", "intent": f"{head};component={component};{extras}end"}


def _collapse_id(collapse_key: str) -> str:
    if collapse_key.isascii() and len(collapse_key) <= _APNS_ID_LIMIT:
        return collapse_key
    return sha256(collapse_key.encode()).hexdigest()
