"""The signed links of a message: clicks, the open pixel, unsubscribe, preferences; and of a confirmation mail.

Also what an app shows us: the acknowledgement that a push carried, and a user's own pass to their inbox.

A token says which message it belongs to and which link it is; where a click leads is looked up in the database, never
taken from the request, and nobody without the key can make a token. One key signs all kinds, each under its own name,
so that a click's token is worth nothing at ``/u/``.
"""

from __future__ import annotations

import hmac
import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from html import escape, unescape
from typing import Final, NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from orchestrator.channel.base import EmailPayload, Payload
from orchestrator.content.markup import ANCHOR

VERSION: Final = 1
TRAP: Final = 0
"""The number of the link that no person can see: what follows it is a machine."""
_FIELDS: Final = (1, 8, 8, 16)
_LENGTH: Final = sum(_FIELDS)
_TEXT_LENGTH: Final = (_LENGTH * 4 + 2) // 3
_KEY_BYTES: Final = 16
_PASS_LENGTH: Final = ((1 + 8 + 16) * 4 + 2) // 3
ACKNOWLEDGED: Final = frozenset({"push", "webhook"})
"""Channels through which the app's own code sees the message, and can say so. The inbox has marks of its own."""
ACK_HOLDS: Final = timedelta(days=30)
"""How long after it left a push may be acknowledged: phones are off, and on again weeks later."""
NO_LINK: Final = r"\s<>\"'()\[\]{}，。！？；：、（）《》「」【】"
"""What no address in a text has, within the brackets of an expression."""
IN_TEXT: Final = re.compile(rf"https://[^{NO_LINK}]+")
_ASCII = re.compile(r"[!-~]+")
TRAILING: Final = ".,;:!?*_~"
"""What ends a sentence rather than an address."""
_END = re.compile(r"</body\s*>", re.IGNORECASE)
_USUAL_END = "</body>"
_BODY = struct.Struct(">BQQ")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class Kind(StrEnum):
    """What a link is for: the first segment of its path."""

    CLICK = "c"
    OPEN = "o"
    UNSUBSCRIBE = "u"
    PREFERENCES = "p"
    CONFIRM = "confirm"
    """Its number is that of a double opt-in's request, not of a message."""
    ACK = "ack"
    """No link: what a push carries, and the app shows when it reports it. Its index is until when it holds."""
    INBOX = "inbox"
    """No link either: a user's pass to their own inbox."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a genuine token says. ``message_id`` 0: a preview or a test."""

    message_id: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class Tracked:
    """A message with its links replaced, and where each of them leads, by number."""

    payload: Payload
    targets: Mapping[int, str] = field(default_factory=dict)


@lru_cache(maxsize=1024)
def number_of(url: str) -> int:
    """A link's number: 63 bits of the address's SHA-256, so that every process knows it without asking. Never 0."""
    return int.from_bytes(sha256(url.encode()).digest()[:8], "big") >> 1 or 1


class _Way(NamedTuple):
    """What the links of one kind share. ``begun``: their seal, with the key and the kind's name hashed already."""

    before: str
    end: str
    begun: HMAC


def _way(public_url: str, key: bytes, kind: Kind) -> _Way:
    begun = HMAC(key, hashes.SHA256())
    begun.update(kind.encode() + b"\0")
    return _Way(f"{public_url}/{kind}/", ".gif" if kind is Kind.OPEN else "", begun)


def _seal(way: _Way, body: bytes) -> bytes:
    sealing = way.begun.copy()
    sealing.update(body)
    return sealing.finalize()[:16]


def _token(way: _Way, body: bytes) -> str:
    written = b2a_base64(body + _seal(way, body), newline=False)  # 33 bytes: nothing is padded
    return written.translate(_URL_SAFE).decode()


@dataclass(frozen=True, slots=True)
class Links:
    """Makes and reads the links of one deployment. ``key`` has at least 16 bytes and is never shown."""

    public_url: str
    key: bytes = field(repr=False)
    _ways: Mapping[Kind, _Way] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """A short key could be guessed."""
        if len(self.key) < _KEY_BYTES:
            raise ValueError("the key of links is too short")
        object.__setattr__(self, "_ways", {kind: _way(self.public_url, self.key, kind) for kind in Kind})

    def token(self, kind: Kind, message_id: int, index: int = 0) -> str:
        """44 characters that only we can make."""
        return _token(self._ways[kind], _BODY.pack(VERSION, message_id, index))

    def read(self, kind: Kind, text: str) -> Token | None:
        """What a token says; None for one that was not made for this purpose, by us, exactly so."""
        if len(text) != _TEXT_LENGTH or not text.isascii():
            return None
        try:
            raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            return None
        body, seal = raw[:-16], raw[-16:]
        genuine = hmac.compare_digest(seal, self._seal(kind, body))
        if not genuine or body[0] != VERSION or urlsafe_b64encode(raw).decode().rstrip("=") != text:
            return None
        return Token(int.from_bytes(body[1:9], "big"), int.from_bytes(body[9:17], "big"))

    def ack(self, message_id: int, machine: datetime) -> str:
        """What an app may acknowledge a push with; ``machine`` is the machine's time, as in all that expires."""
        return self.token(Kind.ACK, message_id, int((machine + ACK_HOLDS).timestamp()))

    def acknowledged(self, text: str, machine: datetime) -> int | None:
        """The message that an acknowledgement is about; None for one that is not ours, or is too old."""
        token = self.read(Kind.ACK, text)
        return None if token is None or token.index <= machine.timestamp() else token.message_id

    def inbox_pass(self, user: str, until: datetime) -> str:
        """What opens the inbox of one user (the app's own id) and nothing else; ``until`` is of the machine's time."""
        body = bytes([VERSION]) + int(until.timestamp()).to_bytes(8, "big")
        return urlsafe_b64encode(body + self._seal(Kind.INBOX, body + user.encode())).decode().rstrip("=")

    def opens_inbox(self, text: str, user: str, machine: datetime) -> bool:
        """Whether ``text`` is this user's pass, and holds."""
        if len(text) != _PASS_LENGTH or not text.isascii():
            return False
        try:
            raw, name = urlsafe_b64decode(text + "=" * (-len(text) % 4)), user.encode()
        except ValueError:
            return False
        body, seal = raw[:-16], raw[-16:]
        genuine = hmac.compare_digest(seal, self._seal(Kind.INBOX, body + name)) and body[:1] == bytes([VERSION])
        whole = urlsafe_b64encode(raw).decode().rstrip("=") == text  # one way to write it: what is left over is zero
        return genuine and whole and int.from_bytes(body[1:], "big") > machine.timestamp()

    def address(self, kind: Kind, message_id: int, index: int = 0) -> str:
        """The whole address of a link."""
        way = self._ways[kind]
        return f"{way.before}{_token(way, _BODY.pack(VERSION, message_id, index))}{way.end}"

    def facts(self, message_id: int) -> dict[str, str]:
        """What templates know of them."""
        return {
            "unsubscribe_url": self.address(Kind.UNSUBSCRIBE, message_id),
            "preferences_url": self.address(Kind.PREFERENCES, message_id),
        }

    def track(self, payload: Payload, message_id: int) -> Tracked:
        """A mail with https links that lead through us, its pixel and its unsubscribe address; others as they are."""
        if not isinstance(payload, EmailPayload):
            return Tracked(payload)
        tracking = Tracking(self, message_id)
        html = ANCHOR.sub(tracking.in_html, payload.html)
        text = IN_TEXT.sub(tracking.of_text, payload.text)
        place = end_of_body(html)
        html = html[:place] + tracking.unseen() + html[place:]
        return Tracked(EmailPayload(payload.subject, text, html, tracking.unsubscribe()), tracking.targets)

    def _seal(self, kind: Kind, body: bytes) -> bytes:
        return _seal(self._ways[kind], body)


@dataclass(slots=True)
class Tracking:
    """The links of one mail that lead through us, by the address they replace: each is signed once.

    The HTML comes first: in the text, an address may go on in Chinese only where the HTML links to it.
    """

    links: Links
    message_id: int
    targets: dict[int, str] = field(default_factory=dict)
    _known: dict[str, str] = field(default_factory=dict)

    def of_html(self, url: str) -> str:
        """What becomes of an address that the HTML links to."""
        if (ours := self._known.get(url)) is None:
            ours = self._known[url] = self._through_us(url)
        return ours

    def in_html(self, match: re.Match[str]) -> str:
        """A link (``ANCHOR``) with its address replaced."""
        return match[1] + escape(self.of_html(unescape(match[2]))) + match[3]

    def of_text(self, match: re.Match[str]) -> str:
        """An address (``IN_TEXT``) and what stands right behind it, replaced."""
        url = match[0].rstrip(TRAILING)
        if url not in self._known and (
            plain := _ASCII.match(url)
        ):  # Chinese goes on without a space: 打开https://…查看
            url = plain[0].rstrip(TRAILING)
        return self.of_url(url) + match[0][len(url) :]

    def of_url(self, url: str) -> str:
        """What becomes of an address in the text, whatever stands behind it."""
        return self._known.get(url) or self._through_us(url)

    def _through_us(self, url: str) -> str:
        if not url.startswith("https://") or url.startswith(f"{self.links.public_url}/"):
            return url
        number = number_of(url)
        self.targets[number] = url
        return self.links.address(Kind.CLICK, self.message_id, number)

    def unseen(self) -> str:
        """What shows an open, and what only a machine follows."""
        trap, pixel = (
            self.links.address(Kind.CLICK, self.message_id, TRAP),
            self.links.address(Kind.OPEN, self.message_id),
        )
        hidden = 'tabindex="-1" aria-hidden="true" style="display:none"'
        return f'<a href="{trap}" {hidden}></a><img src="{pixel}" width="1" height="1" alt="" style="display:block">'

    def unsubscribe(self) -> str:
        """Its one-click address."""
        return self.links.address(Kind.UNSUBSCRIBE, self.message_id)


def end_of_body(html: str) -> int:
    """Where the last ``</body>`` begins, however it is written; the end of a text that has none."""
    usual = html.rfind(_USUAL_END)
    ends = [match.start() for match in _END.finditer(html, max(usual, 0))]
    return ends[-1] if ends else len(html)
