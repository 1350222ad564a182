"""One request on an HTTP/2 connection, and what its answer is (RFC 9113 §8.1)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Final

from orchestrator.channel.http2_fields import Read, well_formed
from orchestrator.channel.transport import ANSWER_LIMIT, Answer, Failure, NoAnswer

BROKEN: Final = NoAnswer(Failure.BROKEN, left=True)
REFUSED: Final = NoAnswer(Failure.REFUSED, left=False)
_CODE: Final = re.compile("[1-9][0-9][0-9]")
_SWITCHING: Final = "101"  # there is nothing to switch to (§8.6)


@dataclass(slots=True, eq=False)
class Stream:
    """One request under way. ``rest``: what flow control has not let out yet; ``deadline``: on the loop's clock."""

    done: asyncio.Future[Answer | NoAnswer]
    deadline: float
    number: int = 0
    window: int = 0
    rest: bytes = b""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    heard: int = 0
    """Bytes that flow control counts, padding and all."""

    def end(self, lost: NoAnswer | None) -> None:
        """It is over: the status is the answer where there was one, though its body was cut short."""
        if self.done.done():
            return
        if self.status:
            self.done.set_result(Answer(self.status, self.headers, bytes(self.body[:ANSWER_LIMIT]), whole=lost is None))
        else:
            self.done.set_result(lost or BROKEN)

    @property
    def complete(self) -> bool:
        """Whether the body has the length that its head names, if it names one."""
        named = self.headers.get("content-length")
        return named is None or named == str(len(self.body))

    def take_head(self, fields: Read, *, ended: bool) -> bool:
        """Take over the head of an answer; False when it is none. A provisional one (1xx) is passed over."""
        if not well_formed(fields):
            return False
        code = fields[0][1]
        if not _CODE.fullmatch(code) or code == _SWITCHING:
            return False
        if code[0] == "1":
            return not ended
        self.status, self.headers = int(code), dict(fields[1:])
        return True
