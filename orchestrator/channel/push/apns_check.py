"""Checking an APNs account without sending to anybody: a push to a device that cannot exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from uuid import uuid4

from orchestrator.channel.base import Finding, Health, PushPayload
from orchestrator.channel.http2_pool import Pool
from orchestrator.channel.push.apns_errors import read_error
from orchestrator.channel.push.apns_message import Request, body_of
from orchestrator.channel.skew import skew_finding
from orchestrator.channel.transport import Answer, NoAnswer

_NOBODY = "00" * 32
_PROVEN = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic", "Unregistered", "ExpiredToken"})
"""Reasons about the device alone: the token, the key and the topic were looked at before, and are fine."""

_CLOCK = "this machine's clock is wrong, or APNs' is: timedatectl set-ntp true"
_KEY = "compare key_id and team_id with the key's page at developer.apple.com, and the key with its file"
_ENVIRONMENT = "the key is for the other environment alone: change environment, or make a key for both"
_TOPIC = "topic is the app's bundle id; the key's page lists the apps it is for"
_HINTS: Mapping[str, str] = {
    "ExpiredProviderToken": _CLOCK,
    "InvalidProviderToken": f"{_KEY}; or {_CLOCK}",
    "MissingProviderToken": _KEY,
    "Forbidden": _KEY,
    "UnrelatedKeyIdInToken": "another account of ours uses a key of another team here: give it connections of its own",
    "BadEnvironmentKeyIdInToken": _ENVIRONMENT,
    "BadEnvironmentKeyInToken": _ENVIRONMENT,
    "BadTopic": _TOPIC,
    "MissingTopic": _TOPIC,
    "TopicDisallowed": _TOPIC,
}


def probe(topic: str) -> Request:
    """A push that nobody can get, and that is not stored."""
    body = body_of(PushPayload("check", "check"), "0", "")
    return Request(_NOBODY, topic, str(uuid4()), "0", "check", body)


def findings(answer: Answer | NoAnswer, pool: Pool, topic: str, now: datetime) -> list[Finding]:
    """What the answer to the probe says. ``now``: machine time when it came."""
    if isinstance(answer, NoAnswer):
        hint = "let this machine connect to it on port 443, without a proxy that opens TLS"
        return [
            Finding(Health.BROKEN, f"no answer from {pool.authority}: {pool.trouble or answer.failure.value}", hint)
        ]
    return [*_clock(answer, now), _verdict(answer, pool, topic)]


def _clock(answer: Answer, now: datetime) -> Iterator[Finding]:
    if (skew := skew_finding(answer.headers, now)) is not None:
        yield skew


def _verdict(answer: Answer, pool: Pool, topic: str) -> Finding:
    reason = read_error(answer).reason
    if answer.status == 200 or reason in _PROVEN:  # noqa: PLR2004
        return Finding(Health.FINE, f"{pool.authority} takes the key for {topic}")
    if reason in _HINTS:
        return Finding(Health.BROKEN, f"{pool.authority} answers {reason}", _HINTS[reason])
    health = Health.WARNING if answer.status >= 429 else Health.BROKEN  # noqa: PLR2004
    return Finding(health, f"{pool.authority} answers {answer.status} {reason}".rstrip(), "")
