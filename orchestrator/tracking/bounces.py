"""Mail that comes back, as far as it is believed: bounces, complaints, and mail to the unsubscribe address.

Anybody can send us mail, so nothing in it is believed but our own signature (``Postbox``): in the address it came to
(VERP), in the Message-ID of the mail it quotes, or, of a bounce in no standard form, in its text. What it says is read
by :mod:`orchestrator.tracking.returned`; what cannot be read says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message

from orchestrator.channel.base import OutcomeClass, Scope
from orchestrator.channel.callback import Postbox, Postmark, Purpose, Report, ReportState
from orchestrator.channel.email.smtp_errors import bounced
from orchestrator.tracking.mail_parts import MAX_BYTES, Mail, take_apart
from orchestrator.tracking.returned import Kind, Said, classify_mail

_CAME_TO = ("X-Original-To", "Delivered-To", "Envelope-To", "X-Envelope-To", "X-RCPT-TO", "To")
_QUOTED = ("Message-ID", "Return-Path", "X-Envelope-From")
_OURS = frozenset({Purpose.BOUNCE, Purpose.MESSAGE})
_REFUSED = frozenset({OutcomeClass.DROP_ADDRESS, OutcomeClass.DROP_MESSAGE})


@dataclass(frozen=True, slots=True)
class Returned:
    """What a returning mail says of one message of ours."""

    message_id: int
    report: Report


def read_returned(raw: bytes, postbox: Postbox) -> Returned | None:
    """What a mail says; None when it is about nothing of ours, or nothing that matters. Never raises."""
    try:
        mail = take_apart(raw)
        return _read(mail, classify_mail(mail), postbox)
    except Exception:  # noqa: BLE001  # strangers write these, and the standard library's parser is not made of steel
        return None


def _read(mail: Mail, said: Said, postbox: Postbox) -> Returned | None:
    report = _report(said)
    if report is not None:
        return _about(_marks(mail, postbox), _OURS, report)
    wish = _unsubscribed(mail) if said.kind is Kind.NONE and said.by == "" else None
    return None if wish is None else _about(_in(mail.head, _CAME_TO, postbox), {Purpose.UNSUBSCRIBE}, wish)


def _about(marks: Iterable[Postmark], believed: Iterable[Purpose], report: Report) -> Returned | None:
    found = next((mark.message_id for mark in marks if mark.purpose in believed), None)
    return None if found is None else Returned(found, _named(report, found))


def _named(report: Report, message_id: int) -> Report:
    """Mail has no id of the provider's: the message and what is said of it are what makes a repetition known."""
    return Report(str(message_id), report.status, report.state, report.code, report.kind, report.refusal)


def _marks(mail: Mail, postbox: Postbox) -> list[Postmark]:
    """Our signatures: first where the mail came to, then in what it quotes, then in its own text."""
    found = _in(mail.head, _CAME_TO, postbox)
    for quoted in mail.quoted():
        found += _in(quoted, _QUOTED, postbox)
    return found or postbox.postmarks(mail.text())


def _in(mail: Message, headers: Iterable[str], postbox: Postbox) -> list[Postmark]:
    values = [str(value) for name in headers for value in mail.get_all(name, [])]
    return [mark for value in values for mark in postbox.postmarks(value[:2000])]


def _report(said: Said) -> Report | None:
    match said.kind:
        case Kind.COMPLAINT:
            return Report("", "complaint", ReportState.DELIVERED, said.reason, OutcomeClass.SUPPRESS, "complaint")
        case Kind.HARD | Kind.SOFT:
            status = f"failed {said.status}".strip()
            return Report("", status, ReportState.UNDELIVERED, said.status, _meaning(said.status))
        case Kind.NONE if said.reason == "delivered":
            return Report("", "delivered", ReportState.DELIVERED)
        case _:
            return None


def _meaning(status: str) -> OutcomeClass | None:
    """What a permanent failure means for the mailbox: dead, counted against it, or nothing. 4.x.x: nothing."""
    if not status.startswith("5"):
        return None
    outcome = bounced(status)
    unnamed = status == "5.0.0"
    counted = unnamed or outcome.scope is Scope.ADDRESS
    if outcome.kind not in _REFUSED or (outcome.kind is OutcomeClass.DROP_MESSAGE and not counted):
        return None
    return outcome.kind


def _unsubscribed(mail: Mail) -> Report | None:
    """A person's mail program wrote to the address of List-Unsubscribe; an automatic answer is no wish."""
    if mail.header("Auto-Submitted").split(";")[0].strip().lower() not in {"", "no"}:
        return None
    return Report("", "unsubscribe", ReportState.DELIVERED, "", OutcomeClass.SUPPRESS, "unsubscribe")


__all__ = ["MAX_BYTES", "Returned", "read_returned"]
