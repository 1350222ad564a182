"""One mail's way through a connection, without the connection: told each reply, it says what is to be written next.

Nothing here waits: whoever reads the connection hands in replies as they come, and what ended it if it ends. So every
order of replies and failures is a plain call, and what each means for the mail is decided in one place.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.channel.email.smtp_errors import Reply, Stage

RSET = b"RSET\r\n"
_GO_ON = 354


@dataclass(frozen=True, slots=True)
class Broke:
    """A transaction that ended without a reply. From ``Stage.DOT`` on the mail may have been accepted."""

    stage: Stage
    failure: str


class Gone(StrEnum):
    """A kept connection turned out to be of no more use before the mail began: nothing of it was sent."""

    IDLE = "gone"


Said = Reply | Broke | Gone
Step = tuple[Stage, bytes]


class Transaction:
    """One mail to one recipient: ``steps`` are MAIL, RCPT and DATA, ``content`` what follows, its final dot included.

    ``kept``: the connection was used before, and is first asked whether it is still there. ``together``: all commands
    are written at once (RFC 2920); their replies are all read, and the first refusal is the one that counts. Nothing of
    the content is written after ``begin_by`` (``time.monotonic()``), whatever the server waits for by then.
    """

    __slots__ = (
        *("_asking", "_at", "_begin_by", "_content", "_lone", "_refused", "_steps", "_taken", "_together"),
        *("clean", "ended", "given"),
    )

    def __init__(self, steps: Sequence[Step], content: bytes, *, kept: bool, together: bool, begin_by: float) -> None:
        self._steps = steps
        self._content = content
        self._together = together
        self._begin_by = begin_by
        self._asking = kept
        self._at = 0
        self._refused: Reply | None = None
        self._lone = False
        self._taken = False  # what was said last before DATA: the recipient
        self.given = False
        """Whether the content and its final dot were written: from then on it may have been accepted."""
        self.ended: Said | None = None
        self.clean = True
        """Whether the server owes no replies once it has ended, so that another mail may follow on the connection."""

    def begin(self) -> bytes:
        """What is written first."""
        if self._together:
            return (RSET if self._asking else b"") + b"".join(command for _, command in self._steps)
        return RSET if self._asking else self._steps[0][1]

    def heard(self, code: int, line: bytes) -> bytes:
        """What is to be written after this reply: nothing where there are more to come, or where it has ``ended``."""
        if self.given:
            self.ended = _reply(Stage.DOT, code, line)
        elif self._lone:
            self.ended = self._refused
        elif self._asking:
            return self._still_there(code)
        else:
            return self._answered(self._steps[self._at][0], code, line)
        return b""

    def _still_there(self, code: int) -> bytes:
        self._asking = False
        if not _positive(code):
            self.ended = Gone.IDLE
            return b""
        return b"" if self._together else self._steps[0][1]

    def _answered(self, stage: Stage, code: int, line: bytes) -> bytes:
        self._at += 1
        if stage is Stage.DATA:
            return self._goes_on(code, line)
        self._taken = _positive(code)
        if not self._taken and self._refused is None:
            self._refused = _reply(stage, code, line)
            if not self._together:
                self.ended = self._refused
        return b"" if self._together or self.ended else self._steps[self._at][1]

    def _goes_on(self, code: int, line: bytes) -> bytes:
        if self._refused is not None and code == _GO_ON:
            return self._nothing(self._refused)
        if self._refused is not None or code != _GO_ON:
            self.ended = self._refused or _reply(Stage.DATA, code, line)
        elif time.monotonic() >= self._begin_by:
            self.ended = Broke(Stage.DATA, "stale")
        else:
            self.given = True
            return self._content
        return b""

    def _nothing(self, refused: Reply) -> bytes:
        """It waits for a mail that it has refused. RFC 2920 §3.1 ends that with a single dot, where nobody gets it."""
        if self._taken:
            self.ended, self.clean = refused, False
            return b""
        self._lone = True
        return b".\r\n"

    def broke(self, failure: str) -> Said:
        """No more replies come."""
        self.clean = False
        if self._asking:
            self.ended = Gone.IDLE
        else:
            self.ended = self._refused or Broke(self._stage, failure)
        return self.ended

    def unwritten(self, failure: str) -> Said:
        """Nothing of what was to be written last has left, and nothing more will."""
        self.given = False
        return self.broke(failure)

    @property
    def _stage(self) -> Stage:
        return Stage.DOT if self.given else self._steps[min(self._at, len(self._steps) - 1)][0]


def _positive(code: int) -> bool:
    return 200 <= code < 300  # noqa: PLR2004


def _reply(stage: Stage, code: int, line: bytes) -> Reply:
    words = b"\n".join(each[4:].strip() for each in line.splitlines())
    return Reply(stage, code, words.decode("utf-8", "surrogateescape"))
