"""A mail as bytes (RFC 5322, 2046, 8058): headers of one skeleton, a text part and an HTML part.

Written by hand rather than with the standard library's message classes, which take several times as long; a test
reads it back with them. What is the same for many mails is encoded once: the sender's headers, and the constant pieces
of a text that comes in pieces.
"""

from __future__ import annotations

import binascii
import re
from base64 import encodebytes
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from orchestrator.channel.base import EmailPayload
from orchestrator.channel.callback import Purpose
from orchestrator.channel.email.smtp_address import Mailbox
from orchestrator.channel.email.smtp_signing import Signer
from orchestrator.ledger.ids import parts

if TYPE_CHECKING:
    from orchestrator.channel.email.smtp_dkim import DkimSigner

CRLF = b"\r\n"
_BREAKS = re.compile(r"\r\n|\r|\n")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_URL = re.compile(r"https?://[!-;=?-~]{1,900}")  # printable ASCII without < and >
_PLAIN_NAME = re.compile(r"[A-Za-z0-9 !#$%&'*+/=?^_`{|}~\-]+")
_FOREIGN = re.compile(r"[^A-Za-z0-9_.\-]")
_PLAIN_LINE = 900  # octets; 998 is the limit of RFC 5322
_PIECES = 2048  # of some hundred bytes each: those of a few hundred templates
_QUOTED_LINE = 75  # octets, and the sign of a soft break
_OVERFULL = re.compile(rb"^(.{74,75})(=20|=09)$", re.MULTILINE)
"""A line that ends in a space, for which ``b2a_qp`` leaves room for one octet: 76 are the limit of RFC 2045."""
_SHORT_SUBJECT = 66
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Sender:
    """Who writes: the From header's name and mailbox, where replies, bounces and unsubscribe mails go."""

    account: str
    name: str
    mailbox: Mailbox
    reply_to: Mailbox | None = None
    bounce: Mailbox | None = None
    unsubscribe_mailto: Mailbox | None = None


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail ready to leave: envelope sender, Message-ID, and its bytes with dots doubled, without the last one."""

    sender: str
    message_id: str
    content: bytes


class Writer:
    """Writes the mails of one account."""

    def __init__(self, sender: Sender, signer: Signer, dkim: DkimSigner | None = None) -> None:
        self._sender = sender
        self._signer = signer
        self._dkim = dkim
        self._fixed = _fixed_headers(sender)
        account, domain = _FOREIGN.sub("-", sender.account)[:60], re.sub("[^a-z0-9]", "", sender.mailbox.domain)[:15]
        self._fed_back = f"{account}:{domain}"

    def write(self, message_id: str, to: Mailbox, payload: EmailPayload, date: datetime) -> Mail:
        """The mail of a message: the same Message-ID and envelope sender at every attempt."""
        token = self._signer.token(Purpose.MESSAGE, message_id)
        name = f"<{token}@{self._sender.mailbox.domain}>"
        boundary = f"=_{token}"  # "=_" stands in no quoted-printable or base64 text
        headers = [
            f"Date: {_dated(int(date.timestamp()))}",
            self._fixed,
            f"To: {to.text}",
            f"Message-ID: {name}",
            f"Subject: {_unstructured('Subject', payload.subject)}",
            f"Feedback-ID: {self._feedback(message_id)}",
            *self._unsubscribe(message_id, payload.unsubscribe),
            f'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="{boundary}"',
        ]
        plain, rich = payload.pieces or ((), ())
        delimiter = f"--{boundary}".encode()
        content = CRLF.join(
            [
                "\r\n".join(headers).encode(),
                b"",
                delimiter,
                _part("plain", payload.text, plain),
                delimiter,
                _part("html", payload.html, rich),
                delimiter + b"--",
                b"",
            ]
        )
        signed = content if self._dkim is None else self._dkim.header(content, date) + content
        return Mail(self._envelope_sender(message_id), name, signed.replace(b"\r\n.", b"\r\n.."))

    def _envelope_sender(self, message_id: str) -> str:
        bounce = self._sender.bounce
        return (
            self._sender.mailbox.text
            if bounce is None
            else self._signer.tagged(Purpose.BOUNCE, bounce.text, message_id)
        )

    def _feedback(self, message_id: str) -> str:
        """What Gmail counts complaints by: run, step, account, sender. Nothing in it names a person."""
        if not message_id.isdecimal():
            return f"0:0:{self._fed_back}"
        found = parts(int(message_id))
        return f"r{found.run}:s{found.step}:{self._fed_back}"

    def _unsubscribe(self, message_id: str, url: str) -> list[str]:
        """RFC 2369 and RFC 8058. One click needs https; a test on this machine may do without."""
        ways = [f"<{url}>"] if url else []
        mailto = self._sender.unsubscribe_mailto
        if mailto is not None:
            ways.append(f"<mailto:{self._signer.tagged(Purpose.UNSUBSCRIBE, mailto.text, message_id)}>")
        found = ["List-Unsubscribe: " + ",\r\n ".join(ways)] if ways else []
        if url and (url.startswith("https:") or urlsplit(url).hostname in _LOOPBACK):
            found.append("List-Unsubscribe-Post: List-Unsubscribe=One-Click")
        return found


def problems_of(payload: EmailPayload, most_bytes: int) -> list[str]:
    """Why this mail must not leave, whoever it is for. Names no content."""
    texts = {"subject": payload.subject, "text": payload.text, "html": payload.html}
    found = [f"empty {name}" for name, text in texts.items() if not text or text.isspace()]
    if _CONTROL.search(payload.subject):
        found.append("a line break or control character in the subject")
    if payload.unsubscribe and not _URL.fullmatch(payload.unsubscribe):
        found.append("the unsubscribe address is no http address")
    try:
        size = sum(len(text) if text.isascii() else len(text.encode()) for text in texts.values())
    except UnicodeEncodeError:
        return [*found, "half of a character (a lone surrogate) in the text"]
    return [*found, f"{size} bytes; at most {most_bytes}"] if size > most_bytes else found


def safe_name(name: str) -> bool:
    """Whether a display name can stand in a header."""
    return not _CONTROL.search(name) and not _SURROGATE.search(name)


@lru_cache(maxsize=4)
def _dated(seconds: int) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC))


def _fixed_headers(sender: Sender) -> str:
    """The headers that every mail of an account has."""
    found = [f"From: {_display(sender.name, sender.mailbox)}"]
    if sender.reply_to is not None:
        found.append(f"Reply-To: {sender.reply_to.text}")
    # Nobody on holiday answers bulk mail from a machine: RFC 3834, custom, and Exchange's own word for it.
    found += ["Precedence: bulk", "Auto-Submitted: auto-generated", "X-Auto-Response-Suppress: OOF, AutoReply"]
    return "\r\n".join(found)


def _display(name: str, mailbox: Mailbox) -> str:
    if not name:
        return mailbox.text
    if name.isascii() and "=?" not in name:
        if _PLAIN_NAME.fullmatch(name):
            return f"{name} <{mailbox.text}>"
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}" <{mailbox.text}>'
    encoded = Header(name, "utf-8", header_name="From").encode(linesep="\r\n")
    return f"{encoded} <{mailbox.text}>"


def _unstructured(header: str, text: str) -> str:
    """A header's text, in encoded words (RFC 2047) where it is not short and plain."""
    if len(text) <= _SHORT_SUBJECT and text.isascii() and "=?" not in text:
        return text
    return Header(text, "utf-8", header_name=header).encode(linesep="\r\n")


def _part(kind: str, text: str, pieces: Sequence[str]) -> bytes:
    encoding, body = _encoded(_BREAKS.sub("\n", text), ()) if "\r" in text else _encoded(text, pieces)
    head = f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n"
    return head.encode() + CRLF + body


def _encoded(text: str, pieces: Sequence[str]) -> tuple[str, bytes]:
    """In the shortest encoding that no mail server rewrites; lines of ``text`` end in a line feed.

    ``pieces``: the same, each second piece personal, or nothing.
    """
    data = text.encode()
    if text.isascii() and b"\x00" not in data and max(map(len, data.split(b"\n"))) <= _PLAIN_LINE:
        return "7bit", data.replace(b"\n", CRLF)
    if _foreign(text, data):
        return "base64", encodebytes(data.replace(b"\n", CRLF)).replace(b"\n", CRLF)
    if not pieces:
        return "quoted-printable", _quoted(text)
    lines = [""] * len(pieces)
    lines[::2], lines[1::2] = map(_quoted_constant, pieces[::2]), map(_quoted_piece, pieces[1::2])
    return "quoted-printable", "".join(lines).encode()


def _foreign(text: str, data: bytes) -> bool:
    """Whether base64 is shorter: three letters an octet that is not ASCII's against four letters for any three."""
    more = len(data) - len(text)  # such a character has two to four octets: from 4/3 to twice this many in all
    if 12 * more <= len(data):
        return False
    return 8 * more > len(data) or len(data.translate(None, _ASCII)) * 6 > len(data)


def _quoted_piece(piece: str) -> str:
    """A piece on lines of its own: it ends in a soft break, which a reader takes out again."""
    if not piece:
        return ""
    if len(piece) <= _QUOTED_LINE and piece.isascii() and piece.isprintable() and "=" not in piece:
        return f"{piece}=\r\n"
    quoted = _quoted(f"{piece}-").decode()[:-1]  # with something behind it, so that the line has room for the sign
    return quoted if quoted.endswith("\n") else f"{quoted}=\r\n"


_quoted_constant = lru_cache(maxsize=_PIECES)(_quoted_piece)


def _quoted(text: str) -> bytes:
    lines = binascii.b2a_qp(text.encode(), istext=True).replace(CRLF, b"\n")
    return _OVERFULL.sub(rb"\1=\n\2", lines).replace(b"\n", CRLF)


_ASCII = bytes(range(128))
