"""APNs' reasons. Source: Apple, "Handling notification responses from APNs".

The reason stands in the body, ``{"reason": …}``; 410 has ``timestamp`` beside it, in milliseconds. No Retry-After is
documented: Apple asks for 15 minutes after a failure of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import orjson

from orchestrator.channel.base import Outcome, OutcomeClass, Scope
from orchestrator.channel.retry_after import retry_after
from orchestrator.channel.rules import MINUTE, Rule, by_status, uncharted
from orchestrator.channel.transport import Answer
from orchestrator.clock import EPOCH

_STOP = Rule(OutcomeClass.STOP_CHANNEL, scope=Scope.ACCOUNT)
_DEAD = Rule(OutcomeClass.DROP_ADDRESS)
_DROP = Rule(OutcomeClass.DROP_MESSAGE)
_RECONNECT = Rule(OutcomeClass.RETRY)
_OUTAGE = Rule(OutcomeClass.RETRY, 15 * MINUTE, Scope.ACCOUNT)

TABLE: Mapping[tuple[int, str], Rule] = {
    (400, "BadDeviceToken"): _DEAD,  # or of the other environment: the channel asks there first; storms are guarded
    (400, "DeviceTokenNotForTopic"): _DEAD,  # another app's; as a storm: a wrong topic of ours (the guard's)
    (400, "BadTopic"): _STOP,  # the bundle id we configured is no bundle id
    (400, "MissingTopic"): _STOP,  # none was configured
    (400, "TopicDisallowed"): _STOP,  # the key may not push to this app
    (400, "BadCollapseId"): _DROP,  # over 64 bytes: our mistake, as the rest of these
    (400, "BadExpirationDate"): _DROP,
    (400, "BadMessageId"): _DROP,  # apns-id is no UUID
    (400, "BadPriority"): _DROP,
    (400, "InvalidPushType"): _DROP,
    (400, "DuplicateHeaders"): _DROP,
    (400, "MissingDeviceToken"): _DROP,  # not in the path
    (400, "PayloadEmpty"): _DROP,
    (400, "IdleTimeout"): _RECONNECT,  # the connection was idle for too long: another one
    (403, "ExpiredProviderToken"): _STOP,  # after one try with the next half hour's token: a clock is wrong
    (403, "InvalidProviderToken"): _STOP,  # wrong key, key id or team, or a clock that is ahead
    (403, "MissingProviderToken"): _STOP,
    (403, "BadCertificate"): _STOP,
    (403, "BadCertificateEnvironment"): _STOP,
    (403, "Forbidden"): _STOP,
    (403, "UnrelatedKeyIdInToken"): _STOP,  # after one try on a new connection
    (403, "BadEnvironmentKeyIdInToken"): _STOP,  # the key is for the other environment alone
    (403, "BadEnvironmentKeyInToken"): _STOP,  # as it is seen on the wire
    (404, "BadPath"): _DROP,  # our mistake
    (405, "MethodNotAllowed"): _DROP,  # our mistake
    (410, "Unregistered"): _DEAD,  # the app is gone from the device, since ``timestamp``
    (410, "ExpiredToken"): _DEAD,  # the device token has ended, since ``timestamp``
    (413, "PayloadTooLarge"): _DROP,
    (429, "TooManyRequests"): Rule(OutcomeClass.RETRY_AFTER, 5 * MINUTE, Scope.ADDRESS),  # to this one device
    (429, "TooManyProviderTokenUpdates"): Rule(OutcomeClass.RETRY_AFTER, MINUTE),  # this connection is left alone
    (500, "InternalServerError"): _OUTAGE,
    (503, "ServiceUnavailable"): _OUTAGE,
    (503, "Shutdown"): _RECONNECT,  # this server alone goes down: another connection, soon
}

RECONNECT = frozenset({"IdleTimeout", "Shutdown", "ExpiredProviderToken", "UnrelatedKeyIdInToken"})
"""The connection is of no more use; the next request takes another one."""
AGAIN = frozenset({"ExpiredProviderToken", "UnrelatedKeyIdInToken"})
"""Certainly not accepted, and another connection with its own token may do: once, within the same attempt."""
OF_THE_TOPIC = frozenset({"BadTopic", "TopicDisallowed"})

_REASON = re.compile(r"[A-Za-z][A-Za-z0-9]{1,39}")  # shorter than a device token, were one quoted there
_LATEST = 10**13  # milliseconds, in the year 2286


@dataclass(frozen=True, slots=True)
class ApnsError:
    """What a refusal says; ``reason`` is empty when it says nothing that we can read."""

    status: int
    reason: str = ""
    dead_since: datetime | None = None


def read_error(answer: Answer) -> ApnsError:
    """Read Apple's error shape as far as it is there."""
    try:
        read = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        read = None
    body = read if isinstance(read, dict) else {}
    reason, since = body.get("reason"), body.get("timestamp")
    if not isinstance(reason, str) or not _REASON.fullmatch(reason):
        return ApnsError(answer.status)
    if not isinstance(since, int) or not 0 < since < _LATEST:
        return ApnsError(answer.status, reason)
    return ApnsError(answer.status, reason, EPOCH + timedelta(milliseconds=since))


def classify(error: ApnsError, answer: Answer, now: datetime) -> Outcome:
    """The outcome of a refusal."""
    named = retry_after(answer.headers, now)
    if not error.reason:
        return by_status(error.status, "", named)
    rule = TABLE.get((error.status, error.reason))
    if rule is None:
        return uncharted(error.status, error.reason, "", named)
    outcome = rule.outcome(error.reason, "", named)
    return replace(outcome, dead_since=error.dead_since) if outcome.kind is OutcomeClass.DROP_ADDRESS else outcome
