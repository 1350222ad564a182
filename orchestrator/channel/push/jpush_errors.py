"""JPush's error codes. Source: Jiguang, "Push API v3" (return codes) and "HTTP status code".

200 always is a success; everything else is ``{"error": {"code", "message"}}`` under a 4xx or 5xx.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from orchestrator.channel.base import Outcome, OutcomeClass, Scope
from orchestrator.channel.json_text import loaded, mapping, text
from orchestrator.channel.redact import redact
from orchestrator.channel.retry_after import LEAST, MOST, retry_after
from orchestrator.channel.rules import MINUTE, Rule, by_status, uncharted
from orchestrator.channel.transport import Answer

_STOP = Rule(OutcomeClass.STOP_CHANNEL, scope=Scope.ACCOUNT)
_DEAD = Rule(OutcomeClass.DROP_ADDRESS)
_DROP = Rule(OutcomeClass.DROP_MESSAGE)
_RETRY = Rule(OutcomeClass.RETRY, scope=Scope.ACCOUNT)
_SLOWER = Rule(OutcomeClass.RETRY_AFTER, MINUTE, Scope.ACCOUNT)

NO_SUCH_AUDIENCE = "1011"
TABLE: dict[str, Rule] = {
    "1000": _RETRY,  # internal error
    "1002": _DROP,  # a required parameter is missing
    "1003": _DROP,  # a parameter is invalid
    "1004": _STOP,  # app key and master secret do not belong together
    "1005": _DROP,  # the message is too big
    "1008": _STOP,  # no such app key
    NO_SUCH_AUDIENCE: _DEAD,  # no such registration id, or inactive for more than 255 days
    "1020": _RETRY,  # meaning unconfirmed
    "1030": _RETRY,  # the service timed out inside; meaning unconfirmed
    "2002": _SLOWER,  # over the app's rate of calls; unconfirmed
    "2003": _STOP,  # the app key is barred from the API; unconfirmed
    "2004": _STOP,  # this machine's address is not on the app's list; unconfirmed
}
_DIGITS = 6


def error_code(answer: Answer) -> str:
    """The code of an error answer; empty when there is none."""
    code = text(mapping(mapping(loaded(answer.body)).get("error")).get("code"))
    return code if code.isascii() and code.isdecimal() and len(code) <= _DIGITS else ""


def classify(answer: Answer, now: datetime, private: Iterable[str]) -> Outcome:
    """The outcome of an answer that is no acceptance."""
    code = error_code(answer)
    detail = redact(text(mapping(mapping(loaded(answer.body)).get("error")).get("message")), private)
    named = retry_after(answer.headers, now)
    if answer.status == 429 and named is None:  # noqa: PLR2004
        named = _reset(answer.headers)
    rule = TABLE.get(code)
    if rule is not None:
        return rule.outcome(code, detail, named)
    return uncharted(answer.status, code, detail, named) if code else by_status(answer.status, detail, named)


def _reset(headers: Mapping[str, str]) -> timedelta | None:
    """The seconds until the rate's window begins anew (``X-Rate-Limit-Reset``, unconfirmed)."""
    seconds = headers.get("x-rate-limit-reset", "").strip()
    if not (seconds.isascii() and seconds.isdecimal()) or len(seconds) > _DIGITS:
        return None
    return min(max(timedelta(seconds=int(seconds)), LEAST), MOST)
