"""A mail as SES's ``SendEmail`` wants it (``Content.Simple``): SES writes it out, encodes it and signs it (DKIM)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.header import Header
from typing import Any

from orchestrator.channel.base import EmailPayload
from orchestrator.channel.email.api_mail import AUTOMATIC, MOST_BYTES, unsubscribe_headers
from orchestrator.channel.email.smtp_address import Mailbox
from orchestrator.channel.email.smtp_message import problems_of

ID_TAG = "message_id"
ID_HEADER = "X-Orchestrator-Message"
"""The message id again, for notifications of an identity: those have headers, and no tags."""
_HEADER_VALUE = re.compile(r"[ -~]{1,995}")
_NO_TAG = re.compile(r"[^A-Za-z0-9_-]")
_QUOTED = re.compile(r'["\\]')
_CHARSET = "UTF-8"


@dataclass(frozen=True, slots=True)
class SesSender:
    """Who writes, where answers go, and the configuration set whose events tell what became of it."""

    name: str
    mailbox: Mailbox
    reply_to: Mailbox | None = None
    configuration_set: str = ""


def request_body(sender: SesSender, message_id: str, to: Mailbox, payload: EmailPayload) -> dict[str, Any]:
    """The JSON of one ``SendEmail`` to one recipient."""
    headers = {**AUTOMATIC, ID_HEADER: message_id, **unsubscribe_headers(payload.unsubscribe)}
    body: dict[str, Any] = {
        "FromEmailAddress": display(sender.name, sender.mailbox),
        "Destination": {"ToAddresses": [to.text]},
        "Content": {
            "Simple": {
                "Subject": _content(payload.subject),
                "Body": {"Text": _content(payload.text), "Html": _content(payload.html)},
                "Headers": [{"Name": name, "Value": value} for name, value in headers.items()],
            }
        },
        "EmailTags": [{"Name": ID_TAG, "Value": _NO_TAG.sub("-", message_id)[:256]}],
    }
    if sender.reply_to is not None:
        body["ReplyToAddresses"] = [sender.reply_to.text]
    if sender.configuration_set:
        body["ConfigurationSetName"] = sender.configuration_set
    return body


def problems_with(payload: EmailPayload) -> list[str]:
    """Why SES would not take this mail, whoever it is for. Names no content."""
    found = problems_of(payload, MOST_BYTES)
    values = unsubscribe_headers(payload.unsubscribe).values()
    if any(not _HEADER_VALUE.fullmatch(value) for value in values):
        found.append("the unsubscribe address does not fit in a header of SES")
    return found


def display(name: str, mailbox: Mailbox) -> str:
    """``Food <news@food.example>``, the name in encoded words (RFC 2047) where it is not plain: SES asks for that."""
    if not name:
        return mailbox.text
    if name.isascii() and "=?" not in name:
        quoted = _QUOTED.sub(r"\\\g<0>", name)
        return f'"{quoted}" <{mailbox.text}>'
    encoded = Header(name, "utf-8", header_name="From").encode(linesep="\n")
    return f"{' '.join(encoded.split())} <{mailbox.text}>"


def _content(text: str) -> dict[str, str]:
    return {"Data": text, "Charset": _CHARSET}
