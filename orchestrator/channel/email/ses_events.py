"""What SES publishes about a mail: events of a configuration set (``eventType``), or notifications of an identity.

Source: Amazon SES developer guide, "Contents of event data that Amazon SES publishes to Amazon SNS".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.callback import Report, ReportState, Seen, SeenDeed, carried_id
from orchestrator.channel.email.ses_message import ID_HEADER, ID_TAG

_DEAD, _REFUSES, _SOFT = OutcomeClass.DROP_ADDRESS, OutcomeClass.SUPPRESS, OutcomeClass.DROP_MESSAGE
_POLICY = "5.7."
_FULL = "5.2.2"
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_WORD = re.compile(r"[A-Za-z0-9]{1,40}")
_LONGEST_URL = 4000


@dataclass(frozen=True, slots=True)
class Bounced:
    """What a kind of bounce means. ``refusal``: with SUPPRESS, whose it is."""

    kind: OutcomeClass
    refusal: str = "provider"


BOUNCES: dict[tuple[str, str], Bounced] = {
    ("Permanent", "General"): Bounced(_DEAD),
    ("Permanent", "NoEmail"): Bounced(_DEAD),  # no such mailbox
    # The next three were never sent: Amazon refuses for the person, or for the mailbox. Kept apart from dead ones.
    ("Permanent", "Suppressed"): Bounced(_REFUSES),  # on Amazon's own list
    ("Permanent", "OnAccountSuppressionList"): Bounced(_REFUSES),  # on this account's list
    ("Permanent", "UnsubscribedRecipient"): Bounced(_REFUSES, "unsubscribe"),  # from a contact list
    ("Transient", "General"): Bounced(_SOFT),
    ("Transient", "MailboxFull"): Bounced(_SOFT),  # counted: three in thirty days
    ("Transient", "MessageTooLarge"): Bounced(_SOFT),
    ("Transient", "ContentRejected"): Bounced(_SOFT),
    ("Transient", "AttachmentRejected"): Bounced(_SOFT),
    ("Undetermined", "Undetermined"): Bounced(_SOFT),  # the bounce could not be read
}
_BY_TYPE = {"Permanent": Bounced(_DEAD)}  # a sub-type that nobody knows yet; all else is soft


@dataclass(frozen=True, slots=True)
class Told:
    """One event. ``number``: the id of the SNS message that brought it, which makes taking it in twice harmless."""

    number: str
    mail_id: str
    message_id: int | None
    said: Mapping[str, Any]
    """The object named after the event: ``bounce``, ``open``, …"""

    def report(
        self,
        status: str,
        state: ReportState,
        code: str = "",
        bounced: Bounced | None = None,
        address: str = "",
    ) -> Report:
        """A report of this mail."""
        kind, refusal = (None, "provider") if bounced is None else (bounced.kind, bounced.refusal)
        return Report(self.mail_id, status, state, code, kind, refusal, self.message_id, address)


def read_event(event: Mapping[str, Any], number: str, sent_at: datetime) -> list[Report | Seen]:
    """What an event says; nothing for what says nothing we use. ``sent_at``: when SNS sent it."""
    mail = _object(event, "mail")
    mail_id = mail.get("messageId")
    name = event.get("eventType") or event.get("notificationType")
    if not isinstance(mail_id, str) or not mail_id or not isinstance(name, str):
        return []
    key = name.replace(" ", "")
    read = _READERS.get(key)
    if read is None:
        return []
    # "Rendering Failure" is told as ``failure``, every other kind under its own name.
    said = _object(event, _KEYS.get(key) or key[:1].lower() + key[1:])
    return list(read(Told(number, mail_id[:200], _message_id(mail), said), sent_at))


def _message_id(mail: Mapping[str, Any]) -> int | None:
    tagged = _object(mail, "tags").get(ID_TAG)
    if isinstance(tagged, list) and tagged and isinstance(tagged[0], str):
        return carried_id(tagged[0])
    for header in _objects(mail, "headers"):
        if header.get("name") == ID_HEADER and isinstance(header.get("value"), str):
            return carried_id(header["value"])
    return None


def _sent(told: Told, _at: datetime) -> Iterator[Report]:
    yield told.report("send", ReportState.SENT)


def _delivered(told: Told, _at: datetime) -> Iterator[Report]:
    yield told.report("delivery", ReportState.DELIVERED)


def _rejected(told: Told, _at: datetime) -> Iterator[Report]:
    """Taken first, and found to have a virus then: nothing about the address."""
    yield told.report("reject", ReportState.UNDELIVERED, "Reject")


def _unrendered(told: Told, _at: datetime) -> Iterator[Report]:
    yield told.report("rendering_failure", ReportState.UNDELIVERED, "RenderingFailure")


def _delayed(told: Told, _at: datetime) -> Iterator[Report]:
    code = f"DeliveryDelay.{_word(told.said, 'delayType')}".strip(".")
    yield told.report(f"delay:{told.number}", ReportState.SENT, code)


def _bounced(told: Told, _at: datetime) -> Iterator[Report]:
    kind, sub = _word(told.said, "bounceType"), _word(told.said, "bounceSubType")
    found = BOUNCES.get((kind, sub)) or _BY_TYPE.get(kind) or Bounced(_SOFT)
    for place, recipient in enumerate(_objects(told.said, "bouncedRecipients") or [{}]):
        status = _status(recipient)
        if (kind, sub) == ("Transient", "MailboxFull"):
            status = _FULL  # in the words in which full mailboxes are counted
        refused_by_policy = found.kind is _DEAD and status.startswith(_POLICY)  # says nothing about the mailbox
        code = f"{kind}.{sub} {status}".strip()
        verdict = Bounced(_SOFT) if refused_by_policy else found
        yield told.report(
            _numbered("bounce", told.number, place), ReportState.UNDELIVERED, code, verdict, _address(recipient)
        )


def _complained(told: Told, _at: datetime) -> Iterator[Report]:
    """SES names all whom it may have been, of one domain; we have one recipient a mail."""
    feedback, sub = _word(told.said, "complaintFeedbackType", "-"), _word(told.said, "complaintSubType")
    if feedback == "not-spam":
        return
    unsent = sub == "OnAccountSuppressionList"  # complained before: never sent this time
    state = ReportState.UNDELIVERED if unsent else ReportState.DELIVERED
    for place, recipient in enumerate(_objects(told.said, "complainedRecipients") or [{}]):
        status = _numbered("complaint", told.number, place)
        yield told.report(status, state, sub or feedback, Bounced(_REFUSES, "complaint"), _address(recipient))


def _subscribed(told: Told, _at: datetime) -> Iterator[Report]:
    """Somebody changed what they want, on the page that SES offers in mails with a contact list."""
    wishes = _object(told.said, "newTopicPreferences")
    topics = [topic.get("subscriptionStatus") for topic in _objects(wishes, "topicSubscriptionStatus")]
    if wishes.get("unsubscribeAll") is True or (topics and all(status == "OptOut" for status in topics)):
        status = f"subscription:{told.number}"
        yield told.report(status, ReportState.DELIVERED, "Subscription", Bounced(_REFUSES, "unsubscribe"))


def _opened(told: Told, at: datetime) -> Iterator[Seen]:
    yield _seen(told, SeenDeed.OPEN, at)


def _clicked(told: Told, at: datetime) -> Iterator[Seen]:
    yield _seen(told, SeenDeed.CLICK, at)


def _seen(told: Told, deed: SeenDeed, at: datetime) -> Seen:
    texts = {name: value for name, value in told.said.items() if isinstance(value, str)}
    return Seen(
        event_id=told.number,
        provider_id=told.mail_id,
        deed=deed,
        at=instant(texts.get("timestamp", "")) or at,
        message_id=told.message_id,
        url=texts.get("link", "")[:_LONGEST_URL],
        agent=texts.get("userAgent", "")[:500],
        network=texts.get("ipAddress", "")[:64],
    )


_READERS: dict[str, Callable[[Told, datetime], Iterator[Report | Seen]]] = {
    "Send": _sent,
    "Reject": _rejected,
    "Bounce": _bounced,
    "Complaint": _complained,
    "Delivery": _delivered,
    "Open": _opened,
    "Click": _clicked,
    "RenderingFailure": _unrendered,
    "DeliveryDelay": _delayed,
    "Subscription": _subscribed,
}
_KEYS = {"RenderingFailure": "failure"}


def instant(text: str) -> datetime | None:
    """An ISO time with its zone."""
    try:
        found = datetime.fromisoformat(text[:40])
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _numbered(status: str, number: str, place: int) -> str:
    return f"{status}:{number}" if not place else f"{status}:{number}:{place}"


def _status(recipient: Mapping[str, Any]) -> str:
    """The enhanced code: ``status``; where that says no more than "failed", what the mail server said."""
    given = [text for text in (recipient.get("status"), recipient.get("diagnosticCode")) if isinstance(text, str)]
    found = [match[1] for text in given if (match := _STATUS.search(text[:1000]))]
    return next((status for status in found if not status.endswith(".0.0")), found[0] if found else "")


def _address(recipient: Mapping[str, Any]) -> str:
    text = recipient.get("emailAddress")
    if not isinstance(text, str):
        return ""
    return text.rpartition("<")[2].rstrip("> ")[:320]


def _word(said: Mapping[str, Any], name: str, also: str = "") -> str:
    value = said.get(name)
    plain = isinstance(value, str) and _WORD.fullmatch(value.replace(also, "") if also else value)
    return str(value) if plain else ""


def _object(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = said.get(name)
    return value if isinstance(value, dict) else {}


def _objects(said: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = said.get(name)
    return [each for each in value[:50] if isinstance(each, dict)] if isinstance(value, list) else []
