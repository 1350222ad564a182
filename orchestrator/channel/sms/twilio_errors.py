"""Twilio's error codes, as API answers and as ``ErrorCode`` of status callbacks.

Source: Twilio, "Error and Warning Dictionary".

Twilio says the values may change: what is not here is judged by the HTTP status, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from orchestrator.channel.base import Outcome, OutcomeClass, Scope
from orchestrator.channel.redact import redact
from orchestrator.channel.retry_after import retry_after
from orchestrator.channel.rules import MINUTE, Rule, by_status, uncharted
from orchestrator.channel.transport import Answer

_HOUR = timedelta(hours=1)
_PACIFIC = "America/Los_Angeles"
_DAILY_CAP = 30023

_SLOWER = Rule(OutcomeClass.RETRY_AFTER, MINUTE, Scope.ACCOUNT)
_ONCE = Rule(
    OutcomeClass.RETRY, scope=Scope.ACCOUNT, at_most=1
)  # it may have been taken: a second copy at the very most
_UNSURE = Rule(OutcomeClass.AMBIGUOUS, at_most=1)
_REFUSES = Rule(OutcomeClass.SUPPRESS)
_DEAD = Rule(OutcomeClass.DROP_ADDRESS)
_DROP = Rule(OutcomeClass.DROP_MESSAGE)
_SOFT = Rule(OutcomeClass.DROP_MESSAGE, scope=Scope.ADDRESS)  # the address is kept and the failure counted against it
_STOP = Rule(OutcomeClass.STOP_CHANNEL, scope=Scope.ACCOUNT)

TABLE: dict[int, Rule] = {
    20429: _SLOWER,  # too many requests at once
    30001: _SLOWER,  # queue overflow
    21611: _SLOWER,  # this sender's queue is full
    30022: _SLOWER,  # 10DLC rate of the campaign
    30017: _SLOWER,  # carrier congestion
    _DAILY_CAP: Rule(
        OutcomeClass.RETRY_AFTER, 24 * _HOUR, Scope.ACCOUNT
    ),  # until midnight US Pacific, see ``classify``
    30454: Rule(OutcomeClass.RETRY_AFTER, 6 * _HOUR, Scope.ACCOUNT),  # a daily limit; frees up over hours
    63018: Rule(OutcomeClass.RETRY_AFTER, _HOUR, Scope.ACCOUNT),  # rate of a WhatsApp sender
    30450: Rule(OutcomeClass.RETRY_AFTER, 30 * MINUTE),  # pumping protection of a range of numbers: 15 to 30 minutes
    30453: Rule(OutcomeClass.RETRY_AFTER, 6 * _HOUR),  # the same, for hours
    30610: Rule(OutcomeClass.RETRY_AFTER, _HOUR),  # outside legal hours: asked again, the window decides
    30036: _DROP,  # validity expired in Twilio's queue; says nothing about the address
    30500: _ONCE,  # Twilio's own error
    30410: _UNSURE,  # the carrier did not answer in time
    30008: _UNSURE,  # unknown error: may have been delivered
    30046: _UNSURE,  # delivery not confirmed
    30003: _SOFT,  # handset unreachable: off, or without signal; third parties wrongly suppress at once
    21610: _REFUSES,  # the person sent STOP to this sender
    30004: _REFUSES,  # blocked by the recipient, until START
    21211: _DEAD,  # not a phone number
    21614: _DEAD,  # not a mobile number
    21217: _DEAD,  # not a phone number, by its form
    30005: _DEAD,  # unknown or inactive number
    30006: _DEAD,  # landline, or unreachable carrier
    21408: _DROP,  # region not enabled for this account
    21612: _DROP,  # no route from this sender to that number
    21602: _DROP,  # empty body
    21617: _DROP,  # body over 1600 characters
    30019: _DROP,  # too large for the carrier
    30007: _DROP,  # filtered as spam; over 1 % in an hour is a matter for the whole account
    20003: _STOP,  # wrong credentials
    30002: _STOP,  # account suspended
    20005: _STOP,  # account not active
    21606: _STOP,  # From is not ours, or cannot send SMS
    21703: _STOP,  # the messaging service has no sender
    30024: _STOP,  # sender not provisioned with the carrier
    30032: _STOP,  # toll-free number not verified
    30033: _STOP,  # 10DLC campaign suspended
    30034: _STOP,  # 10DLC number not registered
    30035: Rule(OutcomeClass.STOP_CHANNEL, 24 * _HOUR, Scope.ACCOUNT),  # number still being set up: wait a day
    30037: _STOP,  # outbound messaging disabled
}


@dataclass(frozen=True, slots=True)
class TwilioError:
    """``{code, message}`` of Twilio's error shape or of problem JSON (RFC 9457); ``code`` is 0 without one."""

    code: int
    message: str


def read_error(answer: Answer) -> TwilioError:
    """Read what is there; HTML and empty bodies say nothing."""
    try:
        read = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        read = None
    if not isinstance(read, dict):
        return TwilioError(0, "")
    words: list[Any] = [read.get(name) for name in ("message", "title", "detail")]
    return TwilioError(_number(read.get("code")), " ".join(word for word in words if isinstance(word, str)))


def classify(answer: Answer, now: datetime, private: Iterable[str]) -> Outcome:
    """The outcome of an answer that is no acceptance."""
    error = read_error(answer)
    detail = redact(error.message, private)
    named = retry_after(answer.headers, now)
    rule = TABLE.get(error.code)
    if rule is not None:
        wait = until_pacific_midnight(now) if error.code == _DAILY_CAP and named is None else named
        return rule.outcome(str(error.code), detail, wait)
    if answer.status >= 500:  # noqa: PLR2004
        return _ONCE.outcome(str(error.code or answer.status), detail, named)
    if error.code and error.code != answer.status:
        return uncharted(answer.status, str(error.code), detail, named)
    return by_status(answer.status, detail, named)


def until_pacific_midnight(now: datetime) -> timedelta:
    """How long until the next day begins in US Pacific time, when daily caps start afresh."""
    local = now.astimezone(ZoneInfo(_PACIFIC))
    midnight = (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.astimezone(now.tzinfo) - now


def kind_of(code: str) -> OutcomeClass | None:
    """What an ``ErrorCode`` of a callback says about the address, the person, or the account; None: nothing."""
    rule = TABLE.get(_number(code))
    lasting = {OutcomeClass.DROP_ADDRESS, OutcomeClass.SUPPRESS, OutcomeClass.STOP_CHANNEL}
    return rule.kind if rule is not None and rule.kind in lasting else None


def _number(value: Any) -> int:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 6 else 0  # noqa: PLR2004
