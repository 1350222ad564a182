"""Checking an FCM account without sending to anybody: ``validate_only``, to a device that cannot exist."""

from __future__ import annotations

from datetime import datetime

import orjson

from orchestrator.channel.base import Finding, Health, Outcome
from orchestrator.channel.push.fcm_errors import read_error
from orchestrator.channel.skew import skew_finding
from orchestrator.channel.transport import Answer, NoAnswer

_NOBODY = "cHeCk0000000000000000:APA91b" + "0" * 134
PROBE = orjson.dumps(
    {"validate_only": True, "message": {"token": _NOBODY, "notification": {"title": "check", "body": "check"}}}
)

_OF_THE_DEVICE = frozenset({"UNREGISTERED", "SENDER_ID_MISMATCH"})
_ROLE = "give the service account the role Firebase Cloud Messaging API Admin, and enable the API in its project"
_PROJECT = "compare the project in the service account's file with the project of the app; and base_url"
_KEY = "make a new key for the service account, and see whether this machine's clock is right"
_HINTS = {"PERMISSION_DENIED": _ROLE, "UNAUTHENTICATED": _KEY, "NOT_FOUND": _PROJECT}
_NETWORK = "let this machine connect to fcm.googleapis.com and oauth2.googleapis.com on port 443"


def no_token(refused: Outcome, asked: Answer | NoAnswer, now: datetime) -> list[Finding]:
    """Google gave no token. ``asked``: what its server answers to anybody, for its date."""
    if isinstance(asked, NoAnswer):
        return [Finding(Health.BROKEN, f"no answer from the token server: {asked.failure.value}", _NETWORK)]
    return [*_skew(asked, now), Finding(Health.BROKEN, f"no access token: {refused.code}", _KEY)]


def answered(answer: Answer | NoAnswer, now: datetime) -> list[Finding]:
    """What FCM says of the probe. ``now``: machine time when it came."""
    if isinstance(answer, NoAnswer):
        return [Finding(Health.BROKEN, f"no answer from FCM: {answer.failure.value}", _NETWORK)]
    return [*_skew(answer, now), _verdict(answer)]


def _skew(answer: Answer, now: datetime) -> list[Finding]:
    found = skew_finding(answer.headers, now)
    return [] if found is None else [found]


def _verdict(answer: Answer) -> Finding:
    error = read_error(answer)
    if answer.status == 200 or error.blames_token or error.code in _OF_THE_DEVICE:  # noqa: PLR2004
        return Finding(Health.FINE, "FCM takes the service account")
    passing = answer.status == 429 or answer.status >= 500  # noqa: PLR2004
    words = f"FCM answers {answer.status} {error.code}".rstrip()
    return Finding(Health.WARNING if passing else Health.BROKEN, words, _HINTS.get(error.code, ""))
