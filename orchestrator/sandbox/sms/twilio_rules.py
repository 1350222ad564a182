"""What Twilio refuses to send, with its codes. Source: providers §5, Twilio's error pages and magic test numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from orchestrator.sandbox.credentials import FROM_NUMBER, MESSAGING_SERVICE_SID

LONGEST_BODY = 1600
LONGEST_VALIDITY = 36_000
E164 = re.compile(r"\+[1-9]\d{6,14}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.\-]*[A-Za-z0-9])?|[0-9a-fA-F:]+")


class Refusal(NamedTuple):
    """A Twilio error: its code, words and HTTP status."""

    code: int
    message: str
    status: int = 400


# Twilio's own magic numbers: https://www.twilio.com/docs/iam/test-credentials
MAGIC_TO = {
    "+15005550001": Refusal(21211, "Invalid 'To' Phone Number: +1500555XXXX"),
    "+15005550002": Refusal(
        21612, "Message cannot be sent with the current combination of 'To' and/or 'From' parameters"
    ),
    "+15005550003": Refusal(
        21408, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number"
    ),
    "+15005550004": Refusal(21610, "Attempt to send to unsubscribed recipient"),
    "+15005550009": Refusal(21614, "'To' number is not a valid mobile number"),
}
MAGIC_FROM = {
    "+15005550001": Refusal(21212, "Invalid 'From' Phone Number"),
    "+15005550007": Refusal(
        21606, "The 'From' phone number provided is not a valid message-capable Twilio phone number"
    ),
    "+15005550008": Refusal(21611, "This 'From' number has exceeded the maximum number of queued messages", 429),
}
NOT_MOBILE = MAGIC_TO["+15005550009"]
STOPPED = MAGIC_TO["+15005550004"]


def refusal(form: Mapping[str, str]) -> Refusal | None:
    """The first thing wrong with a send, as Twilio would say it."""
    for check in (_to, _from, _body, _validity, _callback, _schedule):
        found = check(form)
        if found is not None:
            return found
    return None


def _to(form: Mapping[str, str]) -> Refusal | None:
    to = form.get("To", "")
    if not to:
        return Refusal(21604, "A 'To' phone number is required.")
    if not E164.fullmatch(to):
        return Refusal(21211, f"Invalid 'To' Phone Number: {to[:4]}XXXX")
    return MAGIC_TO.get(to)


def _from(form: Mapping[str, str]) -> Refusal | None:
    sender, service = form.get("From", ""), form.get("MessagingServiceSid", "")
    if not sender and not service:
        return Refusal(21603, "A 'From' phone number is required.")
    if service and service != MESSAGING_SERVICE_SID:
        return Refusal(21701, "The Messaging Service does not exist.", 404)
    if sender and sender != FROM_NUMBER:
        return MAGIC_FROM.get(sender, MAGIC_FROM["+15005550007"])
    return None


def _body(form: Mapping[str, str]) -> Refusal | None:
    body = form.get("Body", "")
    if not body and not form.get("ContentSid") and not form.get("MediaUrl"):
        return Refusal(21602, "Message body is required.")
    if len(body) > LONGEST_BODY:
        return Refusal(21617, "The concatenated message body exceeds the 1600 character limit")
    return None


def _validity(form: Mapping[str, str]) -> Refusal | None:
    text = form.get("ValidityPeriod", str(LONGEST_VALIDITY))
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= LONGEST_VALIDITY:
        return None
    return Refusal(20422, f"Invalid Parameter: ValidityPeriod must be a whole number from 1 to {LONGEST_VALIDITY}")


def _callback(form: Mapping[str, str]) -> Refusal | None:
    url = form.get("StatusCallback")
    if url is None or _callable(url):
        return None
    return Refusal(21609, "The 'StatusCallback' URL is not a valid URL.")


def _callable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    host = parts.hostname or ""
    return parts.scheme in {"http", "https"} and _HOST.fullmatch(host) is not None and port != 0


def _schedule(form: Mapping[str, str]) -> Refusal | None:
    if "SendAt" not in form and "ScheduleType" not in form:
        return None
    if not form.get("MessagingServiceSid"):
        return Refusal(35118, "MessagingServiceSid is required to schedule a message")
    return Refusal(35111, "The sandbox sends at once: it keeps no schedule. Leave SendAt out")
