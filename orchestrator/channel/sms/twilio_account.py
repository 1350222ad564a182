"""What Twilio says of the account itself (``GET /2010-04-01/Accounts/SID.json``): nothing is sent to find out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import orjson

from orchestrator.channel.base import Finding, Health
from orchestrator.channel.skew import skew_finding
from orchestrator.channel.transport import Answer, NoAnswer

_HINT = "compare account_sid and the auth token with Twilio's console"
_STATES = {
    "active": Finding(Health.FINE, "Twilio takes the credentials; the account is active"),
    "suspended": Finding(Health.BROKEN, "Twilio has suspended the account", "Twilio's console says why"),
    "closed": Finding(Health.BROKEN, "the account is closed at Twilio", "open another, and change account_sid"),
}


def account_findings(answer: Answer | NoAnswer, now: datetime) -> Sequence[Finding]:
    """What the answer says; ``now`` is machine time when it came."""
    if isinstance(answer, NoAnswer):
        return [Finding(Health.BROKEN, f"Twilio cannot be reached: {answer.failure}", "check base_url and the network")]
    skew = skew_finding(answer.headers, now)
    return [_finding(answer), *([skew] if skew else [])]


def _finding(answer: Answer) -> Finding:
    if answer.status in {401, 403, 404}:
        return Finding(Health.BROKEN, f"Twilio refuses the credentials ({answer.status})", _HINT)
    if answer.status != 200:  # noqa: PLR2004
        return Finding(Health.WARNING, f"Twilio answers {answer.status}", "try again later")
    try:
        read = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        read = None
    status = read.get("status") if isinstance(read, dict) else None
    known = _STATES.get(status) if isinstance(status, str) else None
    return known or Finding(Health.WARNING, "Twilio answers, and does not say whether the account is active", _HINT)
