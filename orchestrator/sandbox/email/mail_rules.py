"""What a strict mail server refuses in a message (RFC 5321, 5322, 2045), and what it reads from one it takes."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime
from typing import Any, NamedTuple

from typing_extensions import override

LONGEST_LINE = 998
NEEDED = ("From", "To", "Date", "Message-ID", "Subject", "MIME-Version")
ONLY_ONCE = (*NEEDED, "Reply-To", "Sender", "Cc", "List-Unsubscribe", "List-Unsubscribe-Post", "Content-Type")
_MESSAGE_ID = re.compile(r"<[^<>@\s]+@[^<>@\s]+>")
_OURS = re.compile(r"<(\d+)[.@]")
_URL = re.compile(r"<(https?://[^<>\s]+)>")
_LINK = re.compile(r"""href\s*=\s*["'](https?://[^"'<>\s]+)["']""", re.IGNORECASE)
_FOLD = re.compile(r"\r?\n[ \t]+")
MOST_LINKS = 50


class Refused(NamedTuple):
    """A reply that refuses a message."""

    code: int
    enhanced: str
    words: str

    @override
    def __str__(self) -> str:
        """As it goes over the wire."""
        return f"{self.code} {self.enhanced} {self.words}"


def refused_bytes(content: bytes, *, eight_bit: bool, utf8: bool) -> Refused | None:
    """What is wrong with the bytes, before anybody looks at the meaning."""
    bare = content.replace(b"\r\n", b"")
    if b"\n" in bare or b"\r" in bare:
        return Refused(521, "5.5.2", "bare line feed or carriage return received")
    if b"\x00" in content:
        return Refused(554, "5.6.0", "NUL in message")
    if max(map(len, content.split(b"\r\n"))) > LONGEST_LINE:
        return Refused(554, "5.6.0", f"line longer than {LONGEST_LINE} octets")
    head, _, body = content.partition(b"\r\n\r\n")
    if not utf8 and not head.isascii():
        return Refused(554, "5.6.7", "header is not ASCII, and SMTPUTF8 was not asked for")
    if not eight_bit and not body.isascii():
        return Refused(554, "5.6.3", "body is not 7 bit, and BODY=8BITMIME was not asked for")
    return None


def refused_mail(mail: Message) -> Refused | None:
    """What is wrong with the headers and parts."""
    for name in NEEDED:
        if not str(mail.get(name, "")).strip():
            return Refused(550, "5.7.1", f"message is not RFC 5322 compliant: no {name}")
    for name in ONLY_ONCE:
        if len(mail.get_all(name, [])) > 1:
            return Refused(550, "5.7.1", f"message is not RFC 5322 compliant: several {name} headers")
    return _refused_values(mail) or _refused_parts(mail)


def _refused_values(mail: Message) -> Refused | None:
    if not _dated(str(mail["Date"])):
        return Refused(550, "5.7.1", "message is not RFC 5322 compliant: Date")
    if not _MESSAGE_ID.fullmatch(str(mail["Message-ID"]).strip()):
        return Refused(550, "5.7.1", "message is not RFC 5322 compliant: Message-ID")
    senders = getaddresses([str(mail["From"])])
    if len(senders) != 1 or "@" not in senders[0][1]:
        return Refused(550, "5.7.1", "message is not RFC 5322 compliant: From")
    if mail["List-Unsubscribe-Post"] and not _URL.search(str(mail.get("List-Unsubscribe", ""))):
        return Refused(550, "5.7.1", "List-Unsubscribe-Post without an address to post to (RFC 8058)")
    return None


def _dated(text: str) -> bool:
    try:
        return parsedate_to_datetime(text).tzinfo is not None
    except ValueError:
        return False


def _refused_parts(mail: Message) -> Refused | None:
    for part in mail.walk():
        if part.defects:
            return Refused(554, "5.6.0", f"malformed MIME: {type(part.defects[0]).__name__}")
    return None


def parsed(content: bytes) -> Message:
    """The message, read leniently; what is wrong with it is among its defects."""
    return message_from_bytes(content)  # the newer policies take ten times as long


def described(mail: Message) -> dict[str, Any]:
    """What the log keeps of a message."""
    text, html = _text(mail, "plain"), _text(mail, "html")
    named = _OURS.match(str(mail["Message-ID"]).strip())
    url = _URL.search(str(mail.get("List-Unsubscribe", "")))
    return {
        "message_id": named[1] if named else None,
        "title": _decoded(mail["Subject"]),
        "body": text,
        "html": html,
        "from": _decoded(mail["From"]),
        "unsubscribe": url[1] if url else None,
        "links": list(dict.fromkeys(link.replace("&amp;", "&") for link in _LINK.findall(html)))[:MOST_LINKS],
        "headers": [[name, _decoded(value)] for name, value in mail.items()],
    }


def _decoded(value: Any) -> str:
    """A header's text, with its folds undone and its encoded words read."""
    text = _FOLD.sub(" ", str(value))
    return str(make_header(decode_header(text))) if "=?" in text else text


def _text(mail: Message, kind: str) -> str:
    for part in mail.walk():
        if part.get_content_type() == f"text/{kind}" and part.get_content_disposition() != "attachment":
            body = part.get_payload(decode=True)
            if isinstance(body, bytes):
                return body.decode(str(part.get_content_charset("utf-8")), "replace").replace("\r\n", "\n")
    return ""
