"""What SendGrid answers: HTTP statuses, and words about the field that is wrong.

Source: Twilio SendGrid, "v3 API errors" and "Mail Send errors".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import orjson

from orchestrator.channel.base import Outcome, OutcomeClass, Scope
from orchestrator.channel.redact import redact
from orchestrator.channel.retry_after import LEAST, MOST, retry_after
from orchestrator.channel.rules import BY_STATUS, MINUTE, Rule, by_status
from orchestrator.channel.transport import Answer

_DROP = Rule(OutcomeClass.DROP_MESSAGE)
_STOP = Rule(OutcomeClass.STOP_CHANNEL, scope=Scope.ACCOUNT)
_ONCE = Rule(OutcomeClass.RETRY, scope=Scope.ACCOUNT, at_most=1)  # it may have been taken: one second copy at most

TABLE: dict[int, Rule] = {
    400: _DROP,  # something in the request
    401: _STOP,  # wrong key; also "Maximum credits exceeded"
    403: _STOP,  # the key may not send, or From is no verified sender
    404: _STOP,  # wrong base URL
    413: _DROP,  # over 30 MB
    429: Rule(OutcomeClass.RETRY_AFTER, MINUTE, Scope.ACCOUNT),  # until X-RateLimit-Reset
    500: _ONCE,
    502: _ONCE,
    503: _ONCE,
    504: _ONCE,
}
_EPOCH = re.compile(r"[0-9]{9,11}", re.ASCII)
_SERVER = 500


def classify(answer: Answer, now: datetime, private: Iterable[str]) -> Outcome:
    """The outcome of an answer that is no acceptance."""
    detail = redact("; ".join(_words(answer.body)), private)
    named = retry_after(answer.headers, now) or _reset(answer, now)
    rule = TABLE.get(answer.status)
    if rule is not None:
        return rule.outcome(str(answer.status), detail, named)
    if answer.status >= _SERVER:
        outcome = _ONCE.outcome(str(answer.status), detail, named)
        return replace(outcome, uncharted=answer.status not in BY_STATUS)
    return by_status(answer.status, detail, named)


def _words(body: bytes) -> Iterator[str]:
    """``errors: [{message, field, help}]``; HTML and empty bodies say nothing."""
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    errors = read.get("errors") if isinstance(read, dict) else None
    for error in errors if isinstance(errors, list) else []:
        if isinstance(error, dict):
            words = (error.get("field"), error.get("message"))
            yield ": ".join(word for word in words if isinstance(word, str))


def _reset(answer: Answer, now: datetime) -> timedelta | None:
    """``X-RateLimit-Reset``: seconds since 1970, against the answer's own clock; of a 429 alone."""
    text = answer.headers.get("x-ratelimit-reset", "").strip()
    if answer.status != 429 or not _EPOCH.fullmatch(text):  # noqa: PLR2004  # as HTTP has it
        return None
    wait = datetime.fromtimestamp(int(text), UTC) - _date(answer.headers, now)
    return min(max(wait, LEAST), MOST)


def _date(headers: Mapping[str, str], now: datetime) -> datetime:
    try:
        found = parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return now
    return found if found.tzinfo is not None else now
