"""Mail that comes back: bounces (RFC 3464), complaints (RFC 5965), and mail to the unsubscribe address.

Anybody can send us mail, so nothing in it is believed but our own signature (``Postbox``): in the address it came to,
or in the Message-ID of the mail it quotes. A bounce is ``Action: failed`` with a status of 5; delays are no news. A
status of 4 says that a relay gave up: not delivered, and nothing about the mailbox.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message

from orchestrator.channel.base import OutcomeClass, Scope
from orchestrator.channel.callback import Postbox, Postmark, Purpose, Report, ReportState
from orchestrator.channel.email.smtp_errors import bounced

MAX_BYTES = 4_000_000
_CAME_TO = ("X-Original-To", "Delivered-To", "Envelope-To", "X-Envelope-To", "X-RCPT-TO", "To")
_QUOTED = ("Message-ID", "Return-Path", "X-Envelope-From")
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_NO_COMPLAINT = frozenset({"not-spam", "auth-failure"})
_MOST_PARTS = 50


@dataclass(frozen=True, slots=True)
class Returned:
    """What a returning mail says of one message of ours."""

    message_id: int
    report: Report


def read_returned(raw: bytes, postbox: Postbox) -> Returned | None:
    """What a mail says; None when it is about nothing of ours, or nothing that matters. Never raises."""
    try:
        mail = message_from_bytes(raw)
        return _read(mail, postbox)
    except Exception:  # noqa: BLE001  # strangers write these, and the standard library's parser is not made of steel
        return None


def _read(mail: Message, postbox: Postbox) -> Returned | None:
    parts = _parts(mail)
    marks = _marks(mail, parts, postbox)
    kind = str(mail.get_param("report-type", "") or "").lower()
    status = _first(parts, "message/delivery-status")
    feedback = _first(parts, "message/feedback-report")
    if feedback is not None and kind in {"", "feedback-report"}:
        return _about(marks, {Purpose.MESSAGE, Purpose.BOUNCE}, _complaint(_blocks(feedback)))
    if status is not None and kind in {"", "delivery-status"}:
        return _about(marks, {Purpose.BOUNCE, Purpose.MESSAGE}, _bounce(_blocks(status)))
    return _about(_in(mail, _CAME_TO, postbox), {Purpose.UNSUBSCRIBE}, _unsubscribed(mail))


def _about(marks: Iterable[Postmark], believed: set[Purpose], report: Report | None) -> Returned | None:
    if report is None:
        return None
    found = next((mark.message_id for mark in marks if mark.purpose in believed), None)
    return None if found is None else Returned(found, _named(report, found))


def _named(report: Report, message_id: int) -> Report:
    """Mail has no id of the provider's: the message and what is said of it are what makes a repetition known."""
    return Report(str(message_id), report.status, report.state, report.code, report.kind, report.refusal)


def _marks(mail: Message, parts: list[Message], postbox: Postbox) -> list[Postmark]:
    """Our signatures: first where the mail came to, then in what it quotes."""
    found = _in(mail, _CAME_TO, postbox)
    for part in parts:
        if part.get_content_type() == "text/rfc822-headers":
            body = part.get_payload(decode=True)
            quoted = message_from_bytes(body) if isinstance(body, bytes) else Message()
            found += _in(quoted, _QUOTED, postbox)
        elif part.get_content_type() == "message/rfc822":
            found += [mark for quoted in _blocks(part) for mark in _in(quoted, _QUOTED, postbox)]
    return found


def _in(mail: Message, headers: Iterable[str], postbox: Postbox) -> list[Postmark]:
    values = [str(value) for name in headers for value in mail.get_all(name, [])]
    return [mark for value in values for mark in postbox.postmarks(value[:2000])]


def _parts(mail: Message) -> list[Message]:
    """The parts of a report, not those of the mail it quotes."""
    content = mail.get_payload()
    if not mail.is_multipart() or not isinstance(content, list):
        return []
    return [part for part in content[:_MOST_PARTS] if isinstance(part, Message)]


def _first(parts: list[Message], kind: str) -> Message | None:
    return next((part for part in parts if part.get_content_type() == kind), None)


def _blocks(part: Message) -> list[Message]:
    """The header blocks of a machine-readable part."""
    content = part.get_payload()
    return [block for block in content if isinstance(block, Message)] if isinstance(content, list) else []


def _bounce(blocks: list[Message]) -> Report | None:
    """The gravest thing said: we have one recipient a transaction, so all blocks are about the same one."""
    said = sorted(_said(blocks))
    return said[0][1] if said else None


def _said(blocks: list[Message]) -> Iterator[tuple[int, Report]]:
    for number, block in enumerate(blocks):
        action = str(block.get("Action", "")).split("(")[0].strip().lower()
        status = _status(block)
        if action == "failed" and status.startswith("5"):
            yield number, _failure(status)
        elif action == "failed":
            yield 1000 + number, Report("", f"failed {status}".strip(), ReportState.UNDELIVERED, status)
        elif action == "delivered":
            yield 2000 + number, Report("", "delivered", ReportState.DELIVERED)


def _status(block: Message) -> str:
    """``Status``; where that says no more than "failed" (5.0.0), what the remote server said."""
    found = _STATUS.search(str(block.get("Status", "")))
    status = found[1] if found else ""
    if status and not status.endswith(".0.0"):
        return status
    precise = _STATUS.search(str(block.get("Diagnostic-Code", ""))[:1000])
    return precise[1] if precise and precise[1][0] == (status or precise[1])[0] else status


def _failure(status: str) -> Report:
    outcome = bounced(status)
    counted = outcome.kind is OutcomeClass.DROP_MESSAGE and outcome.scope is Scope.ADDRESS
    kind = outcome.kind if outcome.kind is OutcomeClass.DROP_ADDRESS or counted else None
    return Report("", f"failed {status}", ReportState.UNDELIVERED, status, kind)


def _complaint(blocks: list[Message]) -> Report | None:
    kinds = [str(block.get("Feedback-Type", "")).strip().lower() for block in blocks]
    kind = next((kind for kind in kinds if kind), "")
    if not kind or kind in _NO_COMPLAINT:
        return None
    return Report("", "complaint", ReportState.DELIVERED, kind[:30], OutcomeClass.SUPPRESS, "complaint")


def _unsubscribed(mail: Message) -> Report | None:
    """A person's mail program wrote to the address of List-Unsubscribe; an automatic answer is no wish."""
    if str(mail.get("Auto-Submitted", "no")).split(";")[0].strip().lower() != "no":
        return None
    return Report("", "unsubscribe", ReportState.DELIVERED, "", OutcomeClass.SUPPRESS, "unsubscribe")
