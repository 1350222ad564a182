"""vivo's result codes. They come with HTTP 200.

Source: vivo, "Push server API" 2.9 and later. The codes of authentication are not confirmed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from orchestrator.channel.base import Outcome, OutcomeClass, Scope
from orchestrator.channel.cached_token import json_object
from orchestrator.channel.push.vendor import (
    DEAD,
    DROP,
    SHANGHAI,
    SLOWER,
    STOP,
    TOMORROW,
    code_of,
    judged,
)
from orchestrator.channel.rules import Rule
from orchestrator.channel.transport import Answer

ACCEPTED = "0"
BAD_TOKEN = "10000"  # noqa: S105  # a code
INVALID = "10302"
OUT_OF_HOURS = "10071"
OPENS, CLOSES = 7, 23
"""The hours in China between which operational messages are taken."""
_NO_SUCH_USER = "1"
_SOFT = Rule(OutcomeClass.DROP_MESSAGE, scope=Scope.ADDRESS)  # the address is kept and the failure counted against it

TABLE: dict[str, Rule] = {
    BAD_TOKEN: STOP,  # the access token, after one refresh, which the channel does
    "10093": SLOWER,  # tokens asked for too often
    "10094": STOP,  # the app id is not that of the token
    INVALID: DEAD,  # regId invalid; in test mode: see ``classify``
    "10070": TOMORROW,  # operational messages of this app are used up for today
    "10073": TOMORROW,  # system messages of this app are used up for today
    OUT_OF_HOURS: Rule(OutcomeClass.RETRY_AFTER, scope=Scope.ACCOUNT),  # until it opens again: see ``classify``
    "10085": DROP,  # text of digits, English or symbols alone, or with the word "test"
    "10104": DROP,  # the same rule, for the body
}


def token_refused(answer: Answer) -> bool:
    """Whether a fresh access token might help."""
    code = code_of(json_object(answer).get("result"))
    return code == BAD_TOKEN or (code not in TABLE and answer.status in {401, 403})


def classify(answer: Answer, address: str, now: datetime, private: Iterator[str], *, testing: bool = False) -> Outcome:
    """The outcome of an answer about one message to ``address``."""
    read = json_object(answer)
    code = code_of(read.get("result"))
    if code == ACCEPTED:
        return _accepted(read, address)
    outcome = judged(answer, code, read.get("desc"), TABLE, now, private)
    if code == INVALID and testing:  # a phone that is no test phone is not dead
        return _SOFT.outcome(code, outcome.detail)
    if code == OUT_OF_HOURS:
        return replace(outcome, retry_after=max(until_open(now), outcome.retry_after or timedelta()))
    return outcome


def until_open(now: datetime) -> timedelta:
    """How long until operational messages are taken again; an hour when they should be taken now."""
    local = now.astimezone(ZoneInfo(SHANGHAI))
    if OPENS <= local.hour < CLOSES:
        return timedelta(hours=1)
    opens = local.replace(hour=OPENS, minute=0, second=0, microsecond=0)
    return (opens if opens > local else opens + timedelta(days=1)).astimezone(UTC) - now


def _accepted(read: Mapping[str, Any], address: str) -> Outcome:
    """Accepted, unless the answer lists the address as invalid."""
    listed = [*_list(read.get("invalidUsers")), read.get("invalidUser")]
    for user in listed:
        if isinstance(user, dict) and user.get("userid") == address:
            rule = DEAD if code_of(user.get("status")) == _NO_SUCH_USER else _SOFT
            return rule.outcome(f"invalid_user:{code_of(user.get('status'))}")
    task_id = code_of(read.get("taskId"))
    if task_id:
        return Outcome(OutcomeClass.ACCEPTED, ACCEPTED, task_id)
    return Outcome(OutcomeClass.AMBIGUOUS, ACCEPTED, detail="accepted without a task id")


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
