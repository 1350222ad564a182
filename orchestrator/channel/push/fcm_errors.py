"""FCM's error codes. Source: Firebase, "ErrorCode" and "Throttling and quotas".

Google's own rules: never less than ten seconds before a retry; 400, 401, 403 and 404 are never retried.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import orjson

from orchestrator.channel.base import Outcome, OutcomeClass, Scope
from orchestrator.channel.redact import redact
from orchestrator.channel.rules import MINUTE, Rule, by_status, uncharted
from orchestrator.channel.transport import Answer

LEAST_WAIT = timedelta(seconds=10)

_STOP = Rule(OutcomeClass.STOP_CHANNEL, scope=Scope.ACCOUNT)
_STOP_PLATFORM = Rule(OutcomeClass.STOP_CHANNEL, scope=Scope.ADDRESS)
_DEAD = Rule(OutcomeClass.DROP_ADDRESS)
_DROP = Rule(OutcomeClass.DROP_MESSAGE)
_QUOTA = Rule(OutcomeClass.RETRY_AFTER, MINUTE, Scope.ACCOUNT, least=LEAST_WAIT)
_TRANSIENT = Rule(OutcomeClass.RETRY, LEAST_WAIT, Scope.ACCOUNT, least=LEAST_WAIT)

TABLE: dict[tuple[int, str], Rule] = {
    (400, "INVALID_ARGUMENT"): _DROP,  # too big, bad ttl, reserved key; a malformed token: see ``classify``
    (401, "UNAUTHENTICATED"): _STOP,  # after one refresh of the token, which the channel does
    (401, "THIRD_PARTY_AUTH_ERROR"): _STOP_PLATFORM,  # the project's APNs key or web push credential: iOS or web only
    (401, "APNS_AUTH_ERROR"): _STOP_PLATFORM,  # the same, older name
    (403, "SENDER_ID_MISMATCH"): _DEAD,  # a token of another project; many of them are our mistake: the storm guard's
    (403, "PERMISSION_DENIED"): _STOP,  # the service account lacks the role, or the API is off
    (404, "UNREGISTERED"): _DEAD,  # the app was uninstalled, or the token replaced
    (404, "NOT_FOUND"): _STOP,  # without FcmError detail: the project's path is wrong
    (429, "QUOTA_EXCEEDED"): _QUOTA,  # of project or topic; of one device: see ``classify``
    (429, "RESOURCE_EXHAUSTED"): _QUOTA,  # the same, by its general name
    (500, "INTERNAL"): _TRANSIENT,
    (503, "UNAVAILABLE"): _TRANSIENT,  # overloaded; a wait is often named
}
UNSPECIFIED = Rule(OutcomeClass.RETRY, LEAST_WAIT, at_most=2, least=LEAST_WAIT)
"""UNSPECIFIED_ERROR under any status: three tries in all, then the message is dropped; never the token."""

_CODE = re.compile(r"[A-Z][A-Z0-9_]{1,63}")
_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_QUOTA_FAILURE = "type.googleapis.com/google.rpc.QuotaFailure"
_BAD_TOKEN = "not a valid fcm registration token"  # noqa: S105  # FCM's words
_TOKEN_FIELDS = frozenset({"message.token", "message.fid"})


@dataclass(frozen=True, slots=True)
class FcmError:
    """What an error answer says. ``code`` is FCM's own, else the general status, else empty (HTML, nothing)."""

    status: int
    code: str
    message: str
    fields: tuple[str, ...]
    quotas: str

    @property
    def blames_token(self) -> bool:
        """The request was refused for the form of the address."""
        return bool(_TOKEN_FIELDS.intersection(self.fields)) or _BAD_TOKEN in self.message.lower()

    @property
    def one_device(self) -> bool:
        """The quota that ran out is that of one device."""
        return "device" in f"{self.quotas} {self.message}".lower()

    @property
    def credentials_refused(self) -> bool:
        """Whether a fresh access token might help."""
        known = (self.status, self.code) in TABLE and self.code != "UNAUTHENTICATED"
        return self.status in {401, 403} and not known


def read_error(answer: Answer) -> FcmError:
    """Read Google's error shape as far as it is there."""
    body = _mapping(_loads(answer.body))
    error = _mapping(body.get("error"))
    details = [_mapping(one) for one in _list(error.get("details"))]
    codes = [*_texts(details, _FCM_ERROR, "errorCode"), _text(error.get("status"))]
    code = next((code for code in codes if _CODE.fullmatch(code)), "")
    return FcmError(
        answer.status,
        code,
        _text(error.get("message")),
        tuple(_text(one.get("field")) for one in _inner(details, _BAD_REQUEST, "fieldViolations")),
        " ".join(
            f"{_text(one.get('subject'))} {_text(one.get('description'))}"
            for one in _inner(details, _QUOTA_FAILURE, "violations")
        ),
    )


def classify(error: FcmError, *, named: timedelta | None, proven: bool, private: Iterable[str]) -> Outcome:
    """The outcome of an error answer. ``proven``: a payload of this shape was accepted for another address."""
    detail = redact(" ".join([error.message, *error.fields]), private)
    if not error.code:
        return slow(by_status(error.status, detail, named))
    if error.code == "UNSPECIFIED_ERROR":
        return UNSPECIFIED.outcome(error.code, detail, named)
    rule = TABLE.get((error.status, error.code))
    if rule is None:
        return slow(uncharted(error.status, error.code, detail, named))
    if error.code == "INVALID_ARGUMENT" and error.blames_token and proven:
        rule = _DEAD
    outcome = rule.outcome(error.code, detail, named)
    return replace(outcome, scope=Scope.ADDRESS) if rule is _QUOTA and error.one_device else outcome


def slow(outcome: Outcome) -> Outcome:
    """Never less than ten seconds before the next try, whatever went wrong: a lost answer is tried again, too."""
    if outcome.kind not in {OutcomeClass.RETRY, OutcomeClass.RETRY_AFTER, OutcomeClass.AMBIGUOUS}:
        return outcome
    return replace(outcome, retry_after=max(outcome.retry_after or LEAST_WAIT, LEAST_WAIT))


def _inner(details: list[dict[str, Any]], kind: str, key: str) -> Iterator[dict[str, Any]]:
    for detail in details:
        if detail.get("@type") == kind:
            yield from (_mapping(one) for one in _list(detail.get(key)))


def _texts(details: list[dict[str, Any]], kind: str, key: str) -> Iterator[str]:
    return (_text(detail.get(key)) for detail in details if detail.get("@type") == kind)


def _loads(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
