"""Whether this machine's clock agrees with a provider's: signatures, tokens and windows all rest on it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from orchestrator.channel.base import Finding, Health

NOTICED, HARMFUL = timedelta(seconds=5), timedelta(seconds=60)
"""An answer's ``Date`` has whole seconds, and travels: less than the first says nothing."""


def skew_finding(headers: Mapping[str, str], now: datetime) -> Finding | None:
    """What an answer's ``Date`` (RFC 9110 §6.6.1) says about our clock; None when it says nothing, or all is well.

    ``headers`` have lower-case names; ``now`` is machine time when the answer came.
    """
    try:
        theirs = parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    if theirs.tzinfo is None:
        return None
    apart = now - theirs
    if abs(apart) < NOTICED:
        return None
    health = Health.BROKEN if abs(apart) > HARMFUL else Health.WARNING
    side = "ahead of" if apart > timedelta() else "behind"
    what = f"this machine's clock is {abs(apart).total_seconds():.0f} s {side} the provider's"
    return Finding(health, what, "let it be set by NTP: timedatectl set-ntp true")
