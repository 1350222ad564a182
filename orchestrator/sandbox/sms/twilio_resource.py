"""A Twilio message as its API and its callbacks show it, made from the record of its acceptance.

How far a message has got is a function of its age and its fate, so it is the same after a restart.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

from orchestrator.sandbox.accepted import Record
from orchestrator.sandbox.credentials import ACCOUNT_SID, FROM_NUMBER

VERSION = "2010-04-01"


def resource(record: Record, delay: float, *, fresh: bool = False) -> dict[str, Any]:
    """The JSON of a message; ``fresh``: as it is told to who has just sent it."""
    status = "queued" if fresh else status_of(record, delay)
    if fresh and record["service"]:
        status = "accepted"
    failed = status == "undelivered"
    uri = f"/{VERSION}/Accounts/{ACCOUNT_SID}/Messages/{record['id']}"
    when = formatdate(record["time"]).replace("-0000", "+0000")
    return {
        "account_sid": ACCOUNT_SID,
        "api_version": VERSION,
        "body": record["body"],
        "date_created": when,
        "date_sent": when if status in {"sent", "delivered", "undelivered"} else None,
        "date_updated": when,
        "direction": "outbound-api",
        "error_code": record["error_code"] if failed else None,
        "error_message": "Unreachable destination handset" if failed else None,
        "from": None if fresh and record["service"] else FROM_NUMBER,
        "messaging_service_sid": record["service"],
        "num_media": "0",
        "num_segments": "0" if status == "accepted" else str(record["parts"]),
        "price": None,
        "price_unit": "USD",
        "sid": record["id"],
        "status": status,
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": record["to"],
        "uri": f"{uri}.json",
    }


def status_of(record: Record, delay: float) -> str:
    """``queued``, then ``sent``, then its fate."""
    age = time.time() - record["time"]
    if age < delay:
        return "queued"
    return "sent" if age < 2 * delay else str(record["fate"])


def callbacks(record: Record) -> Iterator[dict[str, str]]:
    """The forms posted to a StatusCallback: ``sent``, then its fate."""
    base = {
        "AccountSid": ACCOUNT_SID,
        "ApiVersion": VERSION,
        "From": FROM_NUMBER,
        "MessageSid": record["id"],
        "SmsSid": record["id"],
        "To": record["to"],
    }
    if record["service"]:
        base["MessagingServiceSid"] = record["service"]
    yield {**base, "MessageStatus": "sent", "SmsStatus": "sent"}
    last = {**base, "MessageStatus": record["fate"], "SmsStatus": record["fate"]}
    last["RawDlrDoneDate"] = datetime.now(UTC).strftime("%y%m%d%H%M")
    if record["error_code"] is not None:
        last["ErrorCode"] = str(record["error_code"])
    yield last


def inbound(reply: dict[str, Any], parts: int) -> dict[str, str]:
    """The form posted when a person writes."""
    return {
        "AccountSid": ACCOUNT_SID,
        "ApiVersion": VERSION,
        "Body": reply["text"],
        "From": reply["from"],
        "MessageSid": reply["sid"],
        "NumMedia": "0",
        "NumSegments": str(max(parts, 1)),
        "SmsMessageSid": reply["sid"],
        "SmsSid": reply["sid"],
        "SmsStatus": "received",
        "To": reply["to"],
    }
