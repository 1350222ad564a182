"""What an answer means: one rule per code in the providers' tables, and the rules for what is in no table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from orchestrator.channel.base import Outcome, OutcomeClass, Scope
from orchestrator.channel.transport import NoAnswer

MINUTE = timedelta(minutes=1)
_OK, _REDIRECT, _CLIENT, _SERVER = 200, 300, 400, 500


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of a table. ``wait`` holds when the provider names none; ``least`` when it names less."""

    kind: OutcomeClass
    wait: timedelta | None = None
    scope: Scope = Scope.MESSAGE
    at_most: int | None = None
    least: timedelta | None = None

    def outcome(self, code: str, detail: str = "", named: timedelta | None = None) -> Outcome:
        """The outcome of an answer with this code, when the provider named this wait."""
        kind, wait = self.kind, self.wait
        if named is not None and kind in {OutcomeClass.RETRY, OutcomeClass.RETRY_AFTER}:
            kind, wait = OutcomeClass.RETRY_AFTER, named
        if wait is not None and self.least is not None:
            wait = max(wait, self.least)
        return Outcome(kind=kind, code=code, retry_after=wait, scope=self.scope, detail=detail, at_most=self.at_most)


_STOP = Rule(OutcomeClass.STOP_CHANNEL, scope=Scope.ACCOUNT)
_AMBIGUOUS = Rule(OutcomeClass.AMBIGUOUS)
_RETRY = Rule(OutcomeClass.RETRY, scope=Scope.ACCOUNT)
_DROP = Rule(OutcomeClass.DROP_MESSAGE)

BY_STATUS: dict[int, Rule] = {
    401: _STOP,  # credentials: the channel refreshes them once before it comes here
    403: _STOP,  # the same
    404: _STOP,  # the endpoint is fixed: a wrong project, account or base URL
    405: _STOP,  # likewise
    408: _AMBIGUOUS,  # retry when the body was not sent; ours goes with the head, so it was
    410: _STOP,  # the endpoint is gone
    425: _AMBIGUOUS,  # as 408
    429: Rule(OutcomeClass.RETRY_AFTER, MINUTE, Scope.ACCOUNT),  # the header's wait, else a minute
    500: _RETRY,
    502: _RETRY,
    503: _RETRY,
    504: _RETRY,
}


def by_status(status: int, detail: str = "", named: timedelta | None = None) -> Outcome:
    """The default rule: for HTML and empty answers, and for codes nobody knows yet."""
    rule = BY_STATUS.get(status)
    outcome = (rule or _by_range(status)).outcome(str(status), detail, named)
    expected = rule is not None or _OK <= status < _CLIENT
    return outcome if expected else replace(outcome, uncharted=True)


def _by_range(status: int) -> Rule:
    if _OK <= status < _REDIRECT:
        return _AMBIGUOUS  # accepted, but without the id that would prove it
    if _REDIRECT <= status < _CLIENT:
        return _STOP  # never followed: a message does not go where somebody points
    return _DROP if _CLIENT <= status < _SERVER else _RETRY


def uncharted(status: int, code: str, detail: str = "", named: timedelta | None = None) -> Outcome:
    """A code that is in no table of ours: judged by its status, and counted."""
    return replace(by_status(status, detail, named), code=code, uncharted=True)


def unanswered(lost: NoAnswer) -> Outcome:
    """A request without an answer: a retry only when it certainly never left."""
    kind = OutcomeClass.AMBIGUOUS if lost.left else OutcomeClass.RETRY
    return Outcome(kind, code=lost.failure.value, may_have_left=lost.left)


def unsendable(reasons: list[str]) -> Outcome:
    """A payload that would be refused whoever it went to; nothing was sent. The reasons name no content."""
    return Outcome(OutcomeClass.DROP_MESSAGE, "payload", detail="; ".join(reasons)[:300], may_have_left=False)
