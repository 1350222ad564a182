"""``Retry-After`` (RFC 9110 §10.2.3): whole seconds, or an HTTP date in any of its three forms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LEAST = timedelta(seconds=1)
MOST = timedelta(hours=24)
_DIGITS = re.compile(r"[0-9]{1,12}", re.ASCII)


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The wait a server named, between 1 s and 24 h; None when it named none, or one that makes no sense.

    ``headers`` have lower-case names. A date is measured against the answer's own ``Date``, so that a clock that is
    wrong on either side changes nothing; against ``now`` when there is none.
    """
    text = headers.get("retry-after", "").strip()
    if _DIGITS.fullmatch(text):
        return _clamped(timedelta(seconds=min(int(text), 10**6)))
    if text.isascii() and text.isdecimal():  # more digits than any wait has
        return MOST
    until = _http_date(text)
    if until is None:
        return None
    wait = until - (_http_date(headers.get("date", "")) or now)
    return None if wait < timedelta() else _clamped(wait)


def _clamped(wait: timedelta) -> timedelta:
    return min(max(wait, LEAST), MOST)


def _http_date(text: str) -> datetime | None:
    try:
        instant = parsedate_to_datetime(text[:64])
    except (ValueError, OverflowError):
        return None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
