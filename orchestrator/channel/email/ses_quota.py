"""``GetAccount``: how much an account at SES may send, how much it has, and whether Amazon lets it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson

from orchestrator.channel.base import Finding, Health

FRESH = timedelta(minutes=5)
"""How often it is read."""
_NEARLY = 0.9


@dataclass(frozen=True, slots=True)
class Quota:
    """What an account may send. ``most`` a day, None for any number; ``rate`` mails a second; ``sent`` in 24 hours."""

    most: float | None
    rate: float
    sent: float
    enforcement: str = ""
    sending: bool = True
    production: bool = True

    def used_up(self, since: int) -> bool:
        """Whether nothing is left, when ``since`` more were accepted after this was read."""
        return self.most is not None and self.sent + since >= self.most


def read_quota(body: bytes) -> Quota | None:
    """The answer of ``GetAccount``; None for anything else."""
    try:
        read = orjson.loads(body)
        quota = read["SendQuota"]
        most = float(quota["Max24HourSend"])
        return Quota(
            most=None if most < 0 else most,
            rate=float(quota["MaxSendRate"]),
            sent=float(quota["SentLast24Hours"]),
            enforcement=_word(read),
            sending=bool(read.get("SendingEnabled", True)),
            production=bool(read.get("ProductionAccessEnabled", True)),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None


def _word(read: Mapping[str, Any]) -> str:
    word = read.get("EnforcementStatus", "")
    return word if isinstance(word, str) and word.isalpha() else ""


def findings(quota: Quota) -> Iterator[Finding]:
    """What ``doctor`` says of it."""
    if not quota.sending:
        yield Finding(
            Health.BROKEN, "sending is switched off for this account", "see the SES console: account dashboard"
        )
    if quota.enforcement == "SHUTDOWN":
        yield Finding(
            Health.BROKEN, "Amazon has shut this account's sending down", "answer the case in the AWS console"
        )
    elif quota.enforcement == "PROBATION":
        hint = "bounces or complaints are too high: see the reputation metrics"
        yield Finding(Health.WARNING, "Amazon has this account under review", hint)
    if not quota.production:
        hint = "request production access in the SES console"
        yield Finding(Health.WARNING, "still in SES's own sandbox: mail reaches verified addresses alone", hint)
    yield _left(quota)


def _left(quota: Quota) -> Finding:
    rate = f"{quota.rate:g} mails a second"
    hint = f"keep the account's rate at or under {quota.rate:g}/s"
    if quota.most is None:
        return Finding(Health.FINE, f"no daily quota, {rate}", hint)
    what = f"{quota.sent:g} of {quota.most:g} mails in 24 hours, {rate}"
    if quota.used_up(0):
        return Finding(Health.BROKEN, f"the daily quota is used up: {what}", "request a higher quota")
    health = Health.WARNING if quota.sent >= _NEARLY * quota.most else Health.FINE
    return Finding(health, what, hint)
