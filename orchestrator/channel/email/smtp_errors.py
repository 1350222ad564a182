"""What an SMTP reply means: the rows of RFC 5321 and RFC 3463 that matter, first match first, and what is in no row.

The first digit decides whether it may be tried again; beyond that the enhanced code (class.subject.detail) is trusted
over the basic one. What is said of a *mailbox* counts after RCPT alone: before it, the server speaks of us.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum

from orchestrator.channel.base import Outcome, OutcomeClass, Scope
from orchestrator.channel.redact import redact
from orchestrator.channel.rules import MINUTE, Rule

_ENHANCED = re.compile(r"\s*([245])\.(\d{1,3})\.(\d{1,3})(?!\d|\.)")
_TEMPORARY, _PERMANENT = 4, 5


class Stage(IntEnum):
    """How far a transaction had come."""

    CONNECT = 1
    """Greeting, EHLO, STARTTLS, AUTH."""
    MAIL = 2
    RCPT = 3
    DATA = 4
    """The command, before a byte of the message."""
    DOT = 5
    """The message and its final dot were written: from here on it may have been accepted."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer, and to what."""

    stage: Stage
    code: int
    text: str

    @property
    def enhanced(self) -> tuple[int, int, int] | None:
        """class, subject, detail; None where the server gives none."""
        found = _ENHANCED.match(self.text)
        return (int(found[1]), int(found[2]), int(found[3])) if found else None

    @property
    def name(self) -> str:
        """``550 5.1.1``, or ``550``."""
        found = self.enhanced
        return f"{self.code} {'.'.join(map(str, found))}" if found else str(self.code)


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``codes``: basic codes, none for all of ``first``; ``enhanced``: ``subject.detail`` or ``subject.*``."""

    rule: Rule
    first: int = _PERMANENT
    codes: frozenset[int] = frozenset()
    enhanced: frozenset[str] = frozenset()
    since: Stage = Stage.CONNECT
    until: Stage = Stage.DOT

    def fits(self, reply: Reply) -> bool:
        """Whether this row speaks of that reply."""
        if reply.code // 100 != self.first or not self.since <= reply.stage <= self.until:
            return False
        if self.codes and reply.code not in self.codes:
            return False
        return not self.enhanced or bool(self.enhanced & _names(reply.enhanced))


def _names(enhanced: tuple[int, int, int] | None) -> set[str]:
    return set() if enhanced is None else {f"{enhanced[1]}.{enhanced[2]}", f"{enhanced[1]}.*"}


_STOP = Rule(OutcomeClass.STOP_CHANNEL, scope=Scope.ACCOUNT)
_LATER = Rule(OutcomeClass.RETRY, 15 * MINUTE)  # 15 to 30 minutes at first; the ledger's own backoff comes on top
_SLOWER = Rule(OutcomeClass.RETRY_AFTER, 10 * MINUTE)  # and the domain is slowed (smtp_domains), not the address
_DROP = Rule(OutcomeClass.DROP_MESSAGE)
_DEAD = Rule(OutcomeClass.DROP_ADDRESS)
_SOFT = Rule(OutcomeClass.DROP_MESSAGE, scope=Scope.ADDRESS)  # the address is kept, and the failure counted against it

NO_MAILBOX = frozenset({"1.1", "1.2", "1.3", "1.6", "1.10", "2.1"})
"""No such mailbox, no such domain, bad syntax, moved away, null MX, mailbox disabled."""
FULL = frozenset({"2.2"})
UNFIT = frozenset({"3.4", "2.3", "6.*"})
"""Too big for the system, too big for the mailbox, content or media."""
POLICY = frozenset({"7.*"})

TABLE: tuple[Row, ...] = (
    Row(_STOP, codes=frozenset({530, 534, 535, 538})),  # credentials, or encryption, missing or refused
    Row(_STOP, codes=frozenset({502, 503, 504})),  # not implemented, out of order: we and this server do not fit
    Row(_STOP, enhanced=frozenset({"1.7", "1.8"}), until=Stage.MAIL),  # our own sender address is refused
    Row(_LATER, first=4, codes=frozenset({454}), enhanced=frozenset({"7.0"})),  # temporary authentication failure
    Row(_SLOWER, first=4, enhanced=POLICY),  # greylisting, rate (421 4.7.28)
    Row(_SLOWER, first=4, codes=frozenset({450}), enhanced=frozenset({"2.1"})),  # receiving too quickly
    Row(replace(_LATER, scope=Scope.ADDRESS), first=4, enhanced=FULL, since=Stage.RCPT),  # mailbox full
    Row(_LATER, first=4, codes=frozenset({421, 450, 451, 452, 454, 455})),  # closing, busy, local error, no space
    Row(_DEAD, enhanced=NO_MAILBOX, since=Stage.RCPT),  # hard bounce
    Row(_SOFT, enhanced=FULL, since=Stage.RCPT),  # mailbox full: dead after three in thirty days
    Row(_DROP, enhanced=UNFIT),
    Row(_DROP, enhanced=POLICY, since=Stage.MAIL),  # reputation, not authenticated, bulk rules: NEVER the address
)
_REFUSED_AT_THE_DOOR = Row(_STOP, until=Stage.MAIL)  # a permanent no before anybody was named is about us
_UNNAMED = _SOFT  # 5xx without an enhanced code: dead when it says so on two different days

WORDS_OF_DEATH = re.compile(
    r"user unknown|unknown user|no such (user|mailbox|recipient)|(mailbox|recipient|account) (does not exist|not found)"
    r"|invalid (mailbox|recipient)|address rejected: undeliverable|account (is )?disabled",
    re.IGNORECASE,
)


def classify(reply: Reply, private: Iterable[str]) -> Outcome:
    """The outcome of a reply that is no acceptance."""
    detail = redact(reply.text, private)
    row = next((row for row in TABLE if row.fits(reply)), None)
    if row is not None:
        return row.rule.outcome(reply.name, detail)
    return replace(_default(reply).outcome(reply.name, detail), uncharted=True)


def _default(reply: Reply) -> Rule:
    """What is in no row: by the first digit; the text only as the last resort."""
    first = reply.code // 100
    if first == _TEMPORARY:
        return _LATER
    if first != _PERMANENT:  # neither yes nor no: after the message it may be in, before it nothing was given
        return Rule(OutcomeClass.AMBIGUOUS) if reply.stage is Stage.DOT else _LATER
    if _REFUSED_AT_THE_DOOR.fits(reply):
        return _STOP
    if reply.enhanced is None:
        return _DEAD if reply.stage is Stage.RCPT and WORDS_OF_DEATH.search(reply.text) else _UNNAMED
    return _DROP


def bounced(status: str) -> Outcome:
    """What a later bounce (RFC 3464 ``Status``) says: the same as a refusal at the door."""
    return classify(Reply(Stage.DOT, 550, status), ())
