"""What SendGrid's event webhook says: its signature, and every kind of event.

Source: Twilio SendGrid, "Event Webhook Reference" and "Event Webhook Security Features".
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator.channel.base import OutcomeClass
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
from orchestrator.channel.email.smtp_errors import bounced

SIGNATURE, TIMESTAMP = "x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"
APART = timedelta(minutes=10)
MOST_BYTES = 1 << 20
ID_ARGUMENT = "message_id"
"""The name of our message id among the custom arguments, which stand at the top of each event."""
_DIGITS = re.compile(r"[0-9]{1,11}", re.ASCII)
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_SUFFIX = re.compile(r"\.(recvd|filter|ismtpd)[^ ]*$")
_OF_THE_SENDER = frozenset({"5.1.7", "5.1.8", "5.1.9"})
_DEAD, _REFUSES, _SOFT = OutcomeClass.DROP_ADDRESS, OutcomeClass.SUPPRESS, OutcomeClass.DROP_MESSAGE


def read_key(text: str) -> ec.EllipticCurvePublicKey | None:
    """The verification key as SendGrid shows it: base64 of a P-256 SubjectPublicKeyInfo."""
    try:
        key = serialization.load_der_public_key(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error):
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1) else None


def hear(key: ec.EllipticCurvePublicKey, request: CallbackRequest, now: datetime) -> Heard | Refused:
    """Whether SendGrid said this just now, and what."""
    timestamp = request.headers.get(TIMESTAMP, "")
    if len(request.body) > MOST_BYTES:
        return Refused.MALFORMED
    if not genuine(key, timestamp, request.body, request.headers.get(SIGNATURE, "")):
        return Refused.FORGED
    if not _DIGITS.fullmatch(timestamp) or abs(now - datetime.fromtimestamp(int(timestamp), UTC)) > APART:
        return Refused.STALE
    try:
        events = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        return Refused.MALFORMED
    if not isinstance(events, list):
        return Refused.MALFORMED
    return Heard([said for event in events if isinstance(event, dict) for said in read_event(event)])


def genuine(key: ec.EllipticCurvePublicKey, timestamp: str, body: bytes, signature: str) -> bool:
    """ECDSA over the timestamp and the raw bytes of the body; whatever is malformed is no signature."""
    try:
        raw = base64.b64decode(signature, validate=True)
        if base64.b64encode(raw).decode() != signature:  # bits that decoding drops
            return False
        key.verify(raw, timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class Told:
    """One event. ``number``: SendGrid's ``sg_event_id``, which makes taking it in twice harmless."""

    number: str
    mail_id: str
    message_id: int | None
    texts: Mapping[str, str]
    at: datetime
    machine: bool

    def report(
        self,
        status: str,
        state: ReportState,
        code: str = "",
        kind: OutcomeClass | None = None,
        refusal: str = "provider",
    ) -> Report:
        """A report of this mail."""
        address = self.texts.get("email", "")[:320]
        return Report(self.mail_id, status, state, code[:100], kind, refusal, self.message_id, address)

    def named(self, status: str) -> str:
        """The status of what may happen more than once."""
        return f"{status}:{self.number}"


def read_event(event: Mapping[str, Any]) -> Iterator[Report | Seen]:
    """What one event says; nothing for kinds that we do not know."""
    texts = {name: value for name, value in event.items() if isinstance(value, str)}
    read = _READERS.get(texts.get("event", ""))
    number, mail_id = texts.get("sg_event_id", ""), _SUFFIX.sub("", texts.get("sg_message_id", ""))
    at = event.get("timestamp")
    if read is None or not number or not mail_id:
        return
    instant = datetime.fromtimestamp(at if isinstance(at, int) and 0 < at < 10**11 else 0, UTC)
    machine = event.get("sg_machine_open") in (True, "true")
    ours = carried_id(texts.get(ID_ARGUMENT, ""))
    yield read(Told(number[:100], mail_id[:200], ours, texts, instant, machine))


def _bounce(told: Told) -> Report:
    """``bounce`` with the type ``bounce`` is final; ``blocked`` may be another matter tomorrow."""
    status = _status(told)
    if told.texts.get("type") == "blocked":
        return _blocked(told)
    code = status or told.texts.get("bounce_classification", "") or "bounce"
    return told.report(told.named("bounce"), ReportState.UNDELIVERED, code, _bounced(status, told))


def _bounced(status: str, told: Told) -> OutcomeClass:
    if status in _OF_THE_SENDER:
        return _SOFT
    if status.startswith("5.1."):
        return _DEAD
    if not status:
        return _DEAD if told.texts.get("bounce_classification") == "Invalid Address" else _SOFT
    return _DEAD if bounced(status).kind is _DEAD else _SOFT


def _blocked(told: Told) -> Report:
    """Refused for now: by policy, or for reputation. Never the mailbox's fault."""
    status = _status(told)
    code = f"blocked {status}".strip()
    return told.report(told.named("blocked"), ReportState.UNDELIVERED, code, _SOFT)


DROPS: tuple[tuple[str, OutcomeClass | None, str], ...] = (
    ("bounced", _DEAD, "provider"),  # "Bounced Address": it bounced before
    ("unsubscribed", _REFUSES, "unsubscribe"),  # "Unsubscribed Address"
    ("group unsubscribe", _REFUSES, "unsubscribe"),
    ("spam reporting", _REFUSES, "complaint"),  # "Spam Reporting Address"
    ("invalid smtpapi", None, "provider"),  # our request, not the address
    ("invalid", _DEAD, "provider"),
    ("spam content", None, "provider"),
    ("recipient list over", None, "provider"),  # "… Package Quota": our account
)
"""How reasons of ``dropped`` begin, the first that fits: SendGrid did not even try."""


def _dropped(told: Told) -> Report:
    reason = told.texts.get("reason", "").strip().lower()
    found = ((kind, refusal) for start, kind, refusal in DROPS if reason.startswith(start))
    kind, refusal = next(found, (None, "provider"))
    code = "dropped" + "".join(f" {word}" for word in re.findall(r"[a-z]+", reason)[:3] if kind is not None)
    return told.report(told.named("dropped"), ReportState.UNDELIVERED, code, kind, refusal)


def _refused(status: str, refusal: str) -> Callable[[Told], Report]:
    def read(told: Told) -> Report:
        return told.report(told.named(status), ReportState.DELIVERED, status, _REFUSES, refusal)

    return read


def _seen(deed: SeenDeed) -> Callable[[Told], Seen]:
    def read(told: Told) -> Seen:
        return Seen(
            event_id=told.number,
            provider_id=told.mail_id,
            deed=deed,
            at=told.at,
            message_id=told.message_id,
            url=told.texts.get("url", "")[:4000],
            agent=told.texts.get("useragent", "")[:500],
            network=told.texts.get("ip", "")[:64],
            machine=told.machine,
        )

    return read


_READERS: dict[str, Callable[[Told], Report | Seen]] = {
    "processed": lambda told: told.report("processed", ReportState.SENT),
    "deferred": lambda told: told.report(told.named("deferred"), ReportState.SENT, _status(told)),
    "delivered": lambda told: told.report("delivered", ReportState.DELIVERED),
    "bounce": _bounce,
    "blocked": _blocked,
    "dropped": _dropped,
    "open": _seen(SeenDeed.OPEN),
    "click": _seen(SeenDeed.CLICK),
    "spamreport": _refused("spamreport", "complaint"),
    "unsubscribe": _refused("unsubscribe", "unsubscribe"),
    "group_unsubscribe": _refused("group_unsubscribe", "unsubscribe"),
    # Subscribing again is for the app to tell us: a link in an old mail does not undo what else was said.
    "group_resubscribe": lambda told: told.report(told.named("group_resubscribe"), ReportState.SENT),
}


def _status(told: Told) -> str:
    """The enhanced code, wherever it stands."""
    for name in ("status", "reason", "response"):
        found = _STATUS.search(told.texts.get(name, "")[:1000])
        if found is not None:
            return found[1]
    return ""
