"""What push services answer. Sources: RFC 8030; Mozilla's autopush, "Error Codes"; Apple, "Sending web push …".

Apple's ``reason`` is the code here, Mozilla's number is ``errno_N``; Google answers in sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import orjson

from orchestrator.channel.base import Outcome, OutcomeClass, Scope
from orchestrator.channel.redact import redact
from orchestrator.channel.rules import MINUTE, Rule, by_status, uncharted
from orchestrator.channel.transport import Answer

ACCEPTED = frozenset({200, 201, 202, 204})
OTHER_KEY = "VapidPkHashMismatch"
"""Apple's word for a subscription that was made with another key; Mozilla and Google say it in sentences."""

_STOP = Rule(OutcomeClass.STOP_CHANNEL, scope=Scope.ACCOUNT)
_STOP_ONE = Rule(OutcomeClass.STOP_CHANNEL, scope=Scope.ADDRESS)
_DEAD = Rule(OutcomeClass.DROP_ADDRESS)
_DROP = Rule(OutcomeClass.DROP_MESSAGE)
_SLOW = Rule(OutcomeClass.RETRY_AFTER, MINUTE, Scope.ACCOUNT)
_RETRY = Rule(OutcomeClass.RETRY, scope=Scope.ACCOUNT)

BY_STATUS: dict[int, Rule] = {
    400: _DROP,  # missing TTL, a bad Topic, Urgency or body
    401: _STOP,  # token or key; never the subscription's fault, but for OTHER_KEY
    403: _STOP,  # likewise
    404: _DEAD,  # the RFC's answer for a subscription that ended
    405: _DROP,  # the endpoint is this one's alone, so the account is not to blame
    410: _DEAD,  # what Mozilla, Google and Apple also say of it
    413: _DROP,
    429: _SLOW,
    500: _RETRY,
    502: _RETRY,
    503: _RETRY,
    504: _RETRY,
}
TABLE: dict[tuple[int, str], Rule] = {
    (400, "BadTtl"): _DROP,
    (400, "BadUrgency"): _DROP,
    (400, "BadWebPushTopic"): _DROP,  # sent once more without its Topic, which the channel does
    (400, "BadWebPushRequest"): _DROP,
    (400, "errno_101"): _DROP,  # crypto keys are missing
    (400, "errno_108"): _DROP,  # no such router in the URL
    (400, "errno_110"): _DROP,  # crypto keys are invalid
    (400, "errno_111"): _DROP,  # a header is missing
    (400, "errno_112"): _DROP,  # TTL
    (400, "errno_113"): _DROP,  # Topic: as BadWebPushTopic
    (400, OTHER_KEY): _DEAD,  # many of them: our key was changed, which the storm guard notices
    (401, OTHER_KEY): _DEAD,
    (403, OTHER_KEY): _DEAD,
    (401, "BadJwtToken"): _STOP,  # signature, aud, exp or sub: our clock or key
    (403, "BadJwtToken"): _STOP,
    (401, "BadVapidPublicKey"): _STOP,
    (403, "BadVapidPublicKey"): _STOP,
    (401, "errno_109"): _STOP,  # VAPID, whatever of it
    (404, "errno_102"): _DEAD,
    (410, "errno_103"): _DEAD,
    (410, "errno_105"): _DEAD,
    (410, "errno_106"): _DEAD,
    (410, "Unregistered"): _DEAD,
    (413, "errno_104"): _DROP,
    (413, "PayloadTooLarge"): _DROP,
    (429, "errno_201"): _SLOW,
    (429, "TooManyRequests"): _SLOW,
    (500, "errno_999"): _RETRY,
    (502, "errno_900"): _RETRY,  # 900 to 903: the bridge behind Mozilla's service
    (502, "errno_901"): _RETRY,
    (502, "errno_902"): _RETRY,
    (502, "errno_903"): _RETRY,
    (503, "errno_201"): _RETRY,
    (503, "errno_202"): _RETRY,
}
MOVED = frozenset({301, 307, 308})
_OTHER_KEY_SAYS = ("key mismatch", "do not correspond to the credentials")  # autopush; Google
_TOPIC_CODES = frozenset({"BadWebPushTopic", "errno_113"})
_BAD_REQUEST = 400


@dataclass(frozen=True, slots=True)
class PushError:
    """What an error answer says; ``code`` is empty for plain text and HTML."""

    status: int
    code: str
    message: str

    @property
    def blames_topic(self) -> bool:
        """Whether the same message may be taken without its Topic."""
        known = self.code in _TOPIC_CODES
        return self.status == _BAD_REQUEST and (known or (not self.code and "topic" in self.message.lower()))


def read_error(answer: Answer) -> PushError:
    """Apple's ``reason``, Mozilla's ``errno``, or Google's plain text."""
    body = _mapping(answer.body)
    code, message = _code(body), str(body.get("message", ""))
    if not body:
        message = answer.body[:500].decode("utf-8", "replace")
    if any(words in message.lower() for words in _OTHER_KEY_SAYS):
        code = OTHER_KEY
    return PushError(answer.status, code, message)


def classify(error: PushError, *, named: timedelta | None, private: Iterable[str]) -> Outcome:
    """The outcome of an error answer."""
    detail = "" if error.message.lstrip().startswith("<") else redact(error.message, private)
    known = TABLE.get((error.status, error.code)) if error.code else None
    rule = known or BY_STATUS.get(error.status)
    if rule is None:
        known_to_none = uncharted(error.status, error.code, detail, named)
        return known_to_none if error.code else by_status(error.status, detail, named)
    outcome = rule.outcome(error.code or str(error.status), detail, named)
    return replace(outcome, uncharted=bool(error.code) and known is None)


def moved(answer: Answer, allowed: Callable[[str], bool]) -> Outcome:
    """A redirect, which is never followed.

    The subscription is dead when its service names a new endpoint that could be one; another redirect is somebody's
    mistake, which costs this message and neither address nor account.
    """
    if answer.status in MOVED and allowed(answer.headers.get("location", "")):
        return _DEAD.outcome("moved")
    return replace(_STOP_ONE.outcome(str(answer.status)), uncharted=answer.status not in MOVED)


def _code(body: dict[str, Any]) -> str:
    reason, number = body.get("reason"), body.get("errno")
    if isinstance(reason, str) and reason.isalnum() and reason.isascii():
        return reason[:64]
    return f"errno_{number}" if isinstance(number, int) and 0 <= number < 10**6 else ""


def _mapping(body: bytes) -> dict[str, Any]:
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return read if isinstance(read, dict) else {}
