"""What Huawei posts about messages: a status per token, ours found by ``biTag``.

Source: Push Kit, "Sending receipts for downlink messages" (versions 1 and 2 of the body; the header
``X-HUAWEI-CALLBACK-ID`` is there when a user and a key are set in the console). Honor's body is version 1's, with a
success of its own (3rd).
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Report, ReportState, carried_id
from orchestrator.channel.push.vendor import code_of, moment, read_hook

DELIVERED, HONOR_DELIVERED = "0", "40000002"
WAITING = frozenset({"27", "201"})
"""27: kept until the app runs; 201: held back until the device allows it. Both may still arrive."""
WEARING = frozenset({"2", "5", "10"})
"""2: the app is not installed; 5: the token is another Android user's; 10: no contact for a month. Huawei advises not
to go on; none of them makes a token invalid, and only an answer to a send does that: they count against the address.
"""
ANSWER = b'{"code":"0","message":"success"}'
SIGNED_WITHIN = timedelta(minutes=15)
_SIGNATURE = re.compile(r"timestamp=(\d{1,14}); ?nonce=([\w-]{1,64}); ?value=([A-Za-z0-9+/=]{1,64})")


def hear(request: CallbackRequest, secret: str, user: str, now: datetime) -> Heard | Refused:
    """The statuses of a callback. With a ``user`` it is also signed, with the secret as its key."""
    read = read_hook(request, secret)
    if read is Refused.FORGED:
        return Refused.FORGED
    if user and (wrong := _unsigned(request.headers.get("x-huawei-callback-id", ""), secret, user, now)):
        return wrong
    listed = read.get("statuses") if isinstance(read, dict) else None
    if not isinstance(listed, list):
        return Refused.MALFORMED
    return Heard([report for each in listed if isinstance(each, dict) for report in _report(each)], ANSWER)


def _unsigned(header: str, secret: str, user: str, now: datetime) -> Refused | None:
    parts = _SIGNATURE.fullmatch(header.strip())
    if parts is None:
        return Refused.FORGED
    stamp, nonce, value = parts.groups()
    right = b64encode(hmac.digest(secret.encode(), f"{stamp}{nonce}{user}".encode(), sha256))
    if not hmac.compare_digest(right, value.encode()):
        return Refused.FORGED
    return Refused.STALE if abs(now - moment(stamp, now)) > SIGNED_WITHIN else None


def _report(status: dict[str, Any]) -> Iterator[Report]:
    """Nothing for what does not say which message it is about."""
    delivery = status.get("deliveryStatus")
    code = code_of(delivery.get("result") if isinstance(delivery, dict) else status.get("status"))
    tag, request_id, token = (status.get(name) for name in ("biTag", "requestId", "token"))
    message_id = carried_id(tag) if isinstance(tag, str) else None
    named = request_id if isinstance(request_id, str) and request_id else tag
    if not code or not isinstance(named, str) or not named:
        return
    state, kind = ReportState.UNDELIVERED, None
    if code in {DELIVERED, HONOR_DELIVERED}:
        state, code = ReportState.DELIVERED, "0"
    elif code in WAITING:
        state = ReportState.SENT
    elif code in WEARING:
        kind = OutcomeClass.DROP_MESSAGE
    address = token if isinstance(token, str) else ""
    yield Report(named[:128], f"status:{code}", state, code, kind, message_id=message_id, address=address)
