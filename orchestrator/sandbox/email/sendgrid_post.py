"""What SendGrid posts: an array of events, signed with ECDSA over a timestamp and the raw bytes."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator.sandbox.accepted import Record
from orchestrator.sandbox.email.ses_fate import Fate

_AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15"
_NETWORK = "192.0.2.1"
_DEAD = {"status": "5.1.1", "reason": "550 5.1.1 user unknown", "type": "bounce"}
_ENDS: Mapping[Fate, tuple[str, Mapping[str, str]]] = {
    Fate.DEAD: ("bounce", {**_DEAD, "bounce_classification": "Invalid Address"}),
    Fate.BOUNCE: ("bounce", {**_DEAD, "bounce_classification": "Invalid Address"}),
    Fate.FULL: ("bounce", {"status": "5.2.2", "reason": "552 5.2.2 mailbox full", "type": "bounce"}),
    Fate.BLOCKED: ("bounce", {"status": "5.7.1", "reason": "550 5.7.1 rejected by policy", "type": "blocked"}),
    Fate.SUPPRESSED: ("dropped", {"reason": "Bounced Address", "status": "5.0.0"}),
    Fate.REJECT: ("dropped", {"reason": "Spam Content (if Spam Checker app enabled)", "status": "5.0.0"}),
}


@dataclass(frozen=True, slots=True)
class SendgridPost:
    """One call of the event webhook."""

    events: Sequence[Mapping[str, Any]]
    key: ec.EllipticCurvePrivateKey

    def request(self, url: str, *, forged: bool) -> tuple[Mapping[str, str], bytes]:
        """Headers and body."""
        del url
        body = orjson.dumps(self.events) + b"\r\n"  # as the real one ends: whoever writes it anew breaks the signature
        timestamp = str(int(time.time()))
        key = ec.generate_private_key(ec.SECP256R1()) if forged else self.key
        signature = key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        headers = {
            "User-Agent": "SendGrid Event API",
            "Content-Type": "application/json",
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        }
        return headers, body


def posts(record: Record, key: ec.EllipticCurvePrivateKey) -> list[SendgridPost]:
    """All that is told of a mail, in order, one event a call."""
    return [SendgridPost([event], key) for event in _events(record)]


def _events(record: Record) -> Iterator[dict[str, Any]]:
    for place, (name, more) in enumerate(_story(Fate(record["fate"]), record["links"])):
        number = base64.urlsafe_b64encode(f"{name}-{place}-{record['id']}".encode()).decode().rstrip("=")
        yield {
            "email": record["to"],
            "timestamp": int(time.time()),
            "smtp-id": f"<{record['id']}@sandbox.invalid>",
            "event": name,
            "category": record["categories"],
            "sg_event_id": number,
            "sg_message_id": f"{record['id']}.recvd-canary-5a4db0c0-1-0",
            **record["arguments"],
            **more,
        }


def _story(fate: Fate, links: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    end = _ENDS.get(fate)
    if end is None or end[0] != "dropped":
        yield "processed", {}
    if end is not None:
        yield end
        return
    if fate is Fate.DELAY:
        yield "deferred", {"response": "450 4.2.0 try again later", "attempt": "1"}
    yield "delivered", {"response": "250 2.0.0 OK"}
    yield from _after(fate, links)


def _after(fate: Fate, links: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What the person, or their mail program, does with it."""
    seen = {"useragent": _AGENT, "ip": _NETWORK}
    if fate in {Fate.OPENS, Fate.CLICKS, Fate.MACHINE}:
        yield "open", {**seen, "sg_machine_open": fate is Fate.MACHINE}
    if fate is Fate.CLICKS and links:
        yield "click", {**seen, "url": links[0], "url_offset": {"index": 0, "type": "html"}}
    if fate is Fate.COMPLAINT:
        yield "spamreport", {}
    if fate is Fate.LEAVES:
        yield "unsubscribe", {}
