"""The events that SES publishes of a mail, one after the other, in the shapes of its developer guide."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from orchestrator.sandbox.accepted import Record
from orchestrator.sandbox.email.ses_fate import Fate

_AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15"
_NETWORK = "192.0.2.1"
_FEEDBACK = "0100019sandbox-feedback-000000"

_BOUNCES = {
    Fate.DEAD: ("Permanent", "General", "5.1.1", "smtp; 550 5.1.1 user unknown"),
    Fate.BOUNCE: ("Permanent", "General", "5.1.1", "smtp; 550 5.1.1 user unknown"),
    Fate.SUPPRESSED: ("Permanent", "OnAccountSuppressionList", "5.1.1", "Amazon SES did not send the message"),
    Fate.FULL: ("Transient", "MailboxFull", "4.2.2", "smtp; 452 4.2.2 mailbox full"),
    Fate.BLOCKED: ("Transient", "ContentRejected", "5.7.1", "smtp; 550 5.7.1 rejected by policy"),
}


def events(record: Record) -> Iterator[dict[str, Any]]:
    """All that is told of a mail, in order."""
    fate, mail = Fate(record["fate"]), _mail(record)
    yield _event("Send", mail, {})
    if fate in _BOUNCES:
        yield _event("Bounce", mail, _bounce(record["to"], *_BOUNCES[fate]))
        return
    if fate is Fate.REJECT:
        yield _event("Reject", mail, {"reason": "Bad content"})
        return
    if fate is Fate.DELAY:
        yield _event("DeliveryDelay", mail, _delay(record["to"]))
    yield _event("Delivery", mail, _delivery(record["to"]))
    yield from _after(fate, mail, record)


def _after(fate: Fate, mail: dict[str, Any], record: Record) -> Iterator[dict[str, Any]]:
    """What the person, or their mail program, does with it."""
    seen = {"ipAddress": _NETWORK, "timestamp": _now(), "userAgent": _AGENT}
    if fate in {Fate.OPENS, Fate.CLICKS, Fate.MACHINE}:
        agent = "Mozilla/5.0" if fate is Fate.MACHINE else _AGENT
        yield _event("Open", mail, {**seen, "userAgent": agent})
    if fate is Fate.CLICKS and record["links"]:
        yield _event("Click", mail, {**seen, "link": record["links"][0], "linkTags": None})
    if fate is Fate.COMPLAINT:
        yield _event("Complaint", mail, _complaint(record["to"]))
    if fate is Fate.LEAVES:
        yield _event("Subscription", mail, _leaves())


def _event(kind: str, mail: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    return {"eventType": kind, "mail": mail, kind[0].lower() + kind[1:]: said}


def _mail(record: Record) -> dict[str, Any]:
    when = datetime.fromtimestamp(record["time"], UTC)
    return {
        "timestamp": _text(when),
        "source": record["from"],
        "sendingAccountId": "000000000000",
        "messageId": record["id"],
        "destination": [record["to"]],
        "headersTruncated": False,
        "headers": [{"name": name, "value": value} for name, value in record["headers"]],
        "tags": {**record["tags"], "ses:configuration-set": [record["configuration_set"] or "sandbox"]},
    }


def _bounce(to: str, kind: str, sub: str, status: str, words: str) -> dict[str, Any]:
    return {
        "feedbackId": _FEEDBACK,
        "bounceType": kind,
        "bounceSubType": sub,
        "bouncedRecipients": [{"emailAddress": to, "action": "failed", "status": status, "diagnosticCode": words}],
        "timestamp": _now(),
        "reportingMTA": "dns; sandbox.invalid",
    }


def _complaint(to: str) -> dict[str, Any]:
    return {
        "feedbackId": _FEEDBACK,
        "complaintSubType": None,
        "complainedRecipients": [{"emailAddress": to}],
        "timestamp": _now(),
        "userAgent": "AnyCompany Feedback Loop (V0.01)",
        "complaintFeedbackType": "abuse",
        "arrivalDate": _now(),
    }


def _delivery(to: str) -> dict[str, Any]:
    answer = "250 2.6.0 Message received"
    return {"timestamp": _now(), "processingTimeMillis": 11, "recipients": [to], "smtpResponse": answer}


def _delay(to: str) -> dict[str, Any]:
    delayed = [{"emailAddress": to, "status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 unable to connect"}]
    return {"timestamp": _now(), "delayType": "TransientCommunicationFailure", "delayedRecipients": delayed}


def _leaves() -> dict[str, Any]:
    wishes = {"unsubscribeAll": True, "topicSubscriptionStatus": []}
    return {"contactList": "sandbox", "timestamp": _now(), "source": "UnsubscribeHeader", "newTopicPreferences": wishes}


def _now() -> str:
    return _text(datetime.now(UTC))


def _text(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
