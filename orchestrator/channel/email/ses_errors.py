"""What SES answers: the exceptions of its API, and those that every service of Amazon's has.

Source: botocore's service model of sesv2; "Common Errors" and "Troubleshooting Amazon SES" of its guides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from orchestrator.channel.base import Outcome, OutcomeClass, Scope
from orchestrator.channel.redact import redact
from orchestrator.channel.retry_after import retry_after
from orchestrator.channel.rules import BY_STATUS, Rule, by_status, uncharted
from orchestrator.channel.transport import Answer

_HOUR = timedelta(hours=1)

_SLOWER = Rule(OutcomeClass.RETRY_AFTER, timedelta(seconds=10), Scope.ACCOUNT)
_TOMORROW = Rule(OutcomeClass.RETRY_AFTER, _HOUR, Scope.ACCOUNT)  # of any 24 hours: some of it is free again sooner
_ONCE = Rule(OutcomeClass.RETRY, scope=Scope.ACCOUNT, at_most=1)  # it may have been taken: one second copy at most
_DROP = Rule(OutcomeClass.DROP_MESSAGE)
_STOP = Rule(OutcomeClass.STOP_CHANNEL, scope=Scope.ACCOUNT)

TABLE: dict[str, Rule] = {
    "TooManyRequestsException": _SLOWER,  # more a second than MaxSendRate
    "Throttling": _SLOWER,  # the same, in Amazon's common words
    "ThrottlingException": _SLOWER,
    "LimitExceededException": _TOMORROW,  # the quota of 24 hours
    "MessageRejected": _DROP,  # its content; but see UNVERIFIED
    "BadRequestException": _DROP,  # something in the request
    "AccountSuspendedException": _STOP,  # for good
    "SendingPausedException": _STOP,  # the account, or the configuration set
    "MailFromDomainNotVerifiedException": _STOP,  # the DNS of the MAIL FROM domain
    "NotFoundException": _STOP,  # no such configuration set or template
    "InternalServiceErrorException": _ONCE,  # Amazon's own
    "ConcurrentModificationException": _ONCE,
    "ServiceUnavailable": _ONCE,
    "InternalFailure": _ONCE,
    "UnrecognizedClientException": _STOP,  # no such access key
    "InvalidClientTokenId": _STOP,  # likewise
    "InvalidSignatureException": _STOP,  # wrong secret, or our clock is over five minutes off
    "SignatureDoesNotMatch": _STOP,
    "IncompleteSignature": _STOP,
    "MissingAuthenticationToken": _STOP,
    "MissingAuthenticationTokenException": _STOP,
    "ExpiredTokenException": _STOP,  # temporary credentials have run out
    "RequestExpired": _STOP,  # our clock
    "AccessDeniedException": _STOP,  # the policy of this key does not allow ses:SendEmail
    "OptInRequired": _STOP,  # not subscribed to the service
}
UNVERIFIED = re.compile(r"not verified", re.IGNORECASE)
"""In a MessageRejected: our sender, or (before production access) the recipient. Either way nobody gets anything."""
OF_THE_DAY = re.compile(r"daily message quota", re.IGNORECASE)
"""In a throttling: the quota of 24 hours, not the rate."""
_NAME = re.compile(r"[A-Za-z]{1,80}")


@dataclass(frozen=True, slots=True)
class SesError:
    """The exception's name, and its words; empty where there are none."""

    name: str
    message: str


def read_error(answer: Answer) -> SesError:
    """From ``x-amzn-errortype`` (``Name:http://…``) or the body's ``__type`` (``namespace#Name``)."""
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        body = None
    read: dict[str, Any] = body if isinstance(body, dict) else {}
    words = (read.get("message"), read.get("Message"))
    given = (answer.headers.get("x-amzn-errortype"), read.get("__type"), read.get("code"))
    named = next((text for text in given if isinstance(text, str) and text), "")
    found = _NAME.match(named.partition(":")[0].rpartition("#")[2])
    return SesError(found[0] if found else "", next((text for text in words if isinstance(text, str)), ""))


def classify(answer: Answer, now: datetime, private: Iterable[str]) -> Outcome:
    """The outcome of an answer that is no acceptance."""
    error = read_error(answer)
    detail = redact(error.message, private)
    named = retry_after(answer.headers, now)
    rule = _rule(error)
    if rule is not None:
        return rule.outcome(error.name, detail, named)
    if answer.status >= 500:  # noqa: PLR2004  # as HTTP has it
        found = _ONCE.outcome(error.name or str(answer.status), detail, named)
        return replace(found, uncharted=bool(error.name) or answer.status not in BY_STATUS)
    return (
        uncharted(answer.status, error.name, detail, named) if error.name else by_status(answer.status, detail, named)
    )


def _rule(error: SesError) -> Rule | None:
    rule = TABLE.get(error.name)
    if rule is _SLOWER and OF_THE_DAY.search(error.message):
        return _TOMORROW
    return _STOP if error.name == "MessageRejected" and UNVERIFIED.search(error.message) else rule
