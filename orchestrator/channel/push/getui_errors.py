"""What Getui answers. Source: docs.getui.com, "REST API v2", and the return words of its older versions.

An answer is ``{"code", "msg", "data"}``; of a push that was taken, ``data`` is ``{TASKID: {CID: STATUS}}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.channel.base import Outcome, OutcomeClass, Scope
from orchestrator.channel.json_text import loaded, mapping, text
from orchestrator.channel.push.vendor import DEAD, STOP, TOMORROW, judged
from orchestrator.channel.rules import Rule
from orchestrator.channel.transport import Answer

TOKEN_EXPIRED = "10001"  # noqa: S105  # a code
TAKEN = frozenset({"successed_online", "successed_offline"})

_IGNORED = Rule(OutcomeClass.DROP_MESSAGE, scope=Scope.ADDRESS)

TABLE: dict[str, Rule] = {
    TOKEN_EXPIRED: STOP,  # after one fresh token, which the channel takes
    "successed_ignore": _IGNORED,  # not sent: inactive for 90 days. The address is kept and the failure counted
    "TokenMD5NoUsers": DEAD,  # no valid client id
    "AppidError": DEAD,  # a client id of another app; many of them are our mistake: the storm guard's
    "flow_exceeded": TOMORROW,  # over the flow of this API
    "PushTotalNumOverLimit": TOMORROW,  # over the day's number of pushes
    "sign_error": STOP,  # app key or master secret
    "appkey_error": STOP,  # app key
}
_WORD = re.compile(r"[A-Za-z0-9_]{1,31}")  # shorter than a client id, were one quoted there
_TASK_LIMIT = 128
_OK = "0"


@dataclass(frozen=True, slots=True)
class GetuiAnswer:
    """An answer as far as it is there. ``status``: what became of the one client id of the one task."""

    code: str
    message: str
    task: str
    status: str

    @property
    def token_refused(self) -> bool:
        """Whether a fresh token might help."""
        return self.code == TOKEN_EXPIRED

    @property
    def taken(self) -> bool:
        """Whether Getui took the message: a task, and a status that says so."""
        return self.code == _OK and self.status in TAKEN and 0 < len(self.task) <= _TASK_LIMIT

    @property
    def known(self) -> str:
        """The code to look up: the task's status, the code, or the first word that an older version would say."""
        words: Iterator[str] = (word for word in _WORD.findall(self.message) if word in TABLE)
        return self.status or next(words, "" if self.code == _OK else self.code)


def read_answer(answer: Answer) -> GetuiAnswer:
    """Read what is there; HTML and what was cut short say nothing."""
    read = mapping(loaded(answer.body)) if answer.whole else {}
    tasks: dict[str, Any] = mapping(read.get("data"))
    task, statuses = next(iter(tasks.items()), ("", {}))
    status = next(iter(mapping(statuses).values()), "")
    return GetuiAnswer(text(read.get("code")), text(read.get("msg")), task, text(status))


def classify(answer: Answer, now: datetime, private: Iterator[str]) -> Outcome:
    """The outcome of an answer that is no acceptance."""
    read = read_answer(answer)
    code = read.known if _WORD.fullmatch(read.known) else ""
    return judged(answer, code, read.message, TABLE, now, private)
