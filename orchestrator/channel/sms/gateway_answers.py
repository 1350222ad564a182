"""What a gateway's answer means, by its description: errors first, then success, else the default rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from orchestrator.channel.base import Outcome, OutcomeClass, Scope
from orchestrator.channel.json_text import loaded
from orchestrator.channel.redact import redact
from orchestrator.channel.retry_after import retry_after
from orchestrator.channel.rules import MINUTE, Rule, by_status, uncharted
from orchestrator.channel.sms.gateway_patterns import READ, found, text_at
from orchestrator.channel.sms.gateway_spec import ErrorRule, Expectation, SuccessSpec, Where
from orchestrator.channel.transport import Answer

_OF_ACCOUNT = frozenset({OutcomeClass.STOP_CHANNEL, OutcomeClass.RETRY, OutcomeClass.RETRY_AFTER})
_ID_LIMIT, _CODE_LIMIT = 128, 100
_OK, _REDIRECT, _SERVER = 200, 300, 500


@dataclass(frozen=True, slots=True)
class Read:
    """An answer, read once. ``json`` is None for what is none."""

    status: int
    words: str
    json: Any

    def fits(self, expectation: Expectation) -> bool:
        """Whether all that the expectation says is true of it."""
        statuses = expectation.statuses
        if statuses is not None and self.status not in statuses:
            return False
        said = self.words if expectation.path is None else text_at(expectation.path, self.json)
        if expectation.equals is not None and said != _plain(expectation.equals):
            return False
        return expectation.matches is None or found(expectation.matches, said) is not None


@dataclass(frozen=True, slots=True)
class Meaning:
    """The part of a description that judges answers."""

    success: SuccessSpec
    id: Where | None
    errors: Sequence[ErrorRule]
    charset: str = "utf-8"

    def outcome(self, answer: Answer, now: datetime, private: Iterable[str]) -> Outcome:
        """What an answer means; whatever the description does not name is judged by its status, and counted."""
        read = self._read(answer)
        named = retry_after(answer.headers, now)
        for rule in self.errors:
            if read.fits(rule):
                return _rule(rule).outcome(_code(rule, read), redact(read.words, private), named)
        if answer.whole and read.fits(self.success):
            return self._accepted(answer, read)
        detail = redact(read.words, private)
        if _OK <= answer.status < _REDIRECT:
            return uncharted(answer.status, str(answer.status), detail)
        outcome = by_status(answer.status, detail, named)
        # A proxy's 504 may hide a text that was taken: one second copy at most, then it is held. An `errors` line
        # that says `retry` knows better.
        return replace(outcome, at_most=1) if answer.status >= _SERVER else outcome

    def _read(self, answer: Answer) -> Read:
        return Read(answer.status, answer.body.decode(self.charset, "replace")[:READ], loaded(answer.body))

    def _accepted(self, answer: Answer, read: Read) -> Outcome:
        """Accepted, when the id stands where it should: without it, nobody knows."""
        if self.id is None:
            return Outcome(OutcomeClass.ACCEPTED, code=str(read.status))
        provider_id = _found_id(self.id, answer, read)
        if not 0 < len(provider_id) <= _ID_LIMIT or not provider_id.isprintable():
            return by_status(200)
        return Outcome(OutcomeClass.ACCEPTED, code=str(read.status), provider_id=provider_id)


def _found_id(where: Where, answer: Answer, read: Read) -> str:
    if where.path is not None:
        return text_at(where.path, read.json)
    if where.header is not None:
        return answer.headers.get(where.header.lower(), "").strip()
    return (found(where.matches or "", read.words) or "").strip()


def _rule(rule: ErrorRule) -> Rule:
    scope = rule.scope or (Scope.ACCOUNT if rule.kind in _OF_ACCOUNT else Scope.MESSAGE)
    wait = rule.wait or (MINUTE if rule.kind is OutcomeClass.RETRY_AFTER else None)
    return Rule(rule.kind, wait, scope, least=rule.wait)


def _code(rule: ErrorRule, read: Read) -> str:
    """What tells this error from others: the words of the description, never those of the answer."""
    if rule.equals is not None:
        return _plain(rule.equals)[:_CODE_LIMIT]
    return (rule.matches or str(read.status))[:_CODE_LIMIT]


def _plain(value: str | float | bool) -> str:  # noqa: FBT001  # a value of the description
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
