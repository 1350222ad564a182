"""A mail that came back, taken apart: its headers, what a person would read, its machine-readable parts.

Strangers write these mails, so everything is bounded: depth, number of parts, length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from html import unescape

MAX_BYTES = 4_000_000
_MOST_PARTS, _DEEPEST = 50, 6
_LONGEST_TEXT = 64_000
_LONGEST_HEADER = 2_000
_TAG = re.compile(
    r"<(?:style|script)\b.{0,8000}?</(?:style|script)\s*>|<!--.{0,8000}?-->|</?[a-z][^<>]{0,2000}>",
    re.IGNORECASE | re.DOTALL,
)
_SPACES = re.compile(r"[ \t\xa0\u3000]+")

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9-]*\.)+[A-Za-z]{2,24}")


@dataclass(frozen=True, slots=True)
class Mail:
    """A returning mail. ``parts`` are its own leaves, without those of the mail it quotes."""

    head: Message
    parts: tuple[Message, ...]

    def header(self, name: str) -> str:
        """A header's value, decoded, on one line; empty without it."""
        return decoded(self.head.get(name))

    @property
    def report_type(self) -> str:
        """``report-type`` of a multipart/report; empty for other mail."""
        return str(self.head.get_param("report-type", "") or "").lower()

    def first(self, *kinds: str) -> Message | None:
        """The first part of one of these content types."""
        return next((part for part in self.parts if part.get_content_type() in kinds), None)

    def quoted(self) -> list[Message]:
        """The mails (or their headers alone) that this one quotes."""
        found = []
        for part in self.parts:
            if part.get_content_type() in {"text/rfc822-headers", "text/rfc822"}:
                body = part.get_payload(decode=True)
                found += [message_from_bytes(body)] if isinstance(body, bytes) else []
            elif part.get_content_type() in {"message/rfc822", "message/global", "message/rfc822-headers"}:
                found += blocks(part)
        return found

    def text(self) -> str:
        """What a person would read of it, without what it quotes: plain text where there is any, else the HTML's."""
        for kind in ("text/plain", "text/html"):
            found = "\n".join(_text(part) for part in self.parts if part.get_content_type() == kind).strip()
            if found:
                return _SPACES.sub(" ", _visible(found) if kind == "text/html" else found)[:_LONGEST_TEXT]
        return ""


def take_apart(raw: bytes) -> Mail:
    """A mail of at most :data:`MAX_BYTES`. May raise whatever the standard library's parser raises."""
    head = message_from_bytes(raw[:MAX_BYTES])
    return Mail(head, tuple(_leaves(head)))


def _leaves(head: Message) -> Iterator[Message]:
    waiting, count = [(head, 0)], 0
    while waiting and count < _MOST_PARTS:
        part, depth = waiting.pop(0)
        inner = part.get_payload()
        if part.get_content_maintype() != "multipart" or not isinstance(inner, list):
            count += 1
            yield part
        elif depth < _DEEPEST:
            waiting[:0] = [(one, depth + 1) for one in inner[:_MOST_PARTS] if isinstance(one, Message)]


def blocks(part: Message) -> list[Message]:
    """The header blocks of a machine-readable part, also where it came encoded (the parser leaves that to us)."""
    inner = part.get_payload()
    found = [one for one in inner if isinstance(one, Message)] if isinstance(inner, list) else []
    if str(part.get("Content-Transfer-Encoding", "")).strip().lower() not in {"base64", "quoted-printable"}:
        return found
    shell = Message()
    shell["Content-Transfer-Encoding"] = str(part["Content-Transfer-Encoding"])
    shell.set_payload("\n\n".join(one.as_string() for one in found) if found else str(inner))
    body = shell.get_payload(decode=True)
    lines = body.replace(b"\r\n", b"\n") if isinstance(body, bytes) else b""
    return [message_from_bytes(one.strip() + b"\n\n") for one in lines.split(b"\n\n")[:_MOST_PARTS] if one.strip()]


def decoded(value: object) -> str:
    """A header's value with its encoded words read, on one line."""
    text = "" if value is None else str(value)[:_LONGEST_HEADER]
    with suppress(LookupError, ValueError):
        text = str(make_header(decode_header(text)))
    return " ".join(text.split())


def addresses(text: str) -> list[str]:
    """The mailboxes that stand in a text, in order."""
    return _ADDRESS.findall(text)


def _text(part: Message) -> str:
    body = part.get_payload(decode=True)
    if not isinstance(body, bytes):
        return ""
    charset = part.get_content_charset() or "utf-8"
    try:
        return body[:_LONGEST_TEXT].decode(charset, "replace")
    except LookupError:
        return body[:_LONGEST_TEXT].decode("utf-8", "replace")


def _visible(html: str) -> str:
    return unescape(_TAG.sub(" ", html))
