"""Recipients' domains that asked us to slow down, or refuse us altogether: a pause for the domain, not for the account.

Kept in memory by each process: after a restart the first answer of a domain says the same again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from orchestrator.channel.base import Outcome, OutcomeClass

FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=60), timedelta(minutes=30)
WINDOW = timedelta(minutes=10)
REFUSALS_AT_LEAST, REFUSALS_SHARE = 10, 0.5
STOPPED = timedelta(hours=1)
_MOST_DOMAINS = 10_000


@dataclass(slots=True)
class _Domain:
    """What one domain said lately. ``recent``: when, and whether it was a refusal by policy."""

    paused_until: float = 0.0
    pause: timedelta = FIRST_PAUSE
    recent: deque[tuple[float, bool]] = field(default_factory=lambda: deque(maxlen=200))


class DomainBrakes:
    """Which domains are left alone for how long. ``monotonic`` counts seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._domains: dict[str, _Domain] = {}

    def wait(self, domain: str) -> timedelta | None:
        """How much longer this domain is left alone; None when it is not."""
        known = self._domains.get(domain)
        left = known.paused_until - self._monotonic() if known is not None else 0.0
        return timedelta(seconds=left) if left > 0 else None

    def heard(self, domain: str, outcome: Outcome) -> None:
        """Learn from an answer of that domain."""
        policy = outcome.kind is OutcomeClass.DROP_MESSAGE and " 5.7." in outcome.code
        known = self._domains.get(domain)
        if known is None:
            if outcome.kind is not OutcomeClass.RETRY_AFTER and not policy:
                return  # nothing to hold against it
            known = self._remember(domain)
        now = self._monotonic()
        known.recent.append((now, policy))
        if outcome.kind is OutcomeClass.ACCEPTED:
            known.pause = FIRST_PAUSE
        elif outcome.kind is OutcomeClass.RETRY_AFTER:
            if now >= known.paused_until:  # many answers of one moment are one request to slow down
                known.paused_until = now + known.pause.total_seconds()
                known.pause = min(2 * known.pause, LONGEST_PAUSE)
        elif policy and self._refuses(known, now):
            known.paused_until = now + STOPPED.total_seconds()
            known.recent.clear()

    def _remember(self, domain: str) -> _Domain:
        if len(self._domains) >= _MOST_DOMAINS:
            self._domains.pop(next(iter(self._domains)))
        return self._domains.setdefault(domain, _Domain())

    def _refuses(self, known: _Domain, now: float) -> bool:
        """Whether policy refusals are a rate by now, not a single message's fault."""
        fresh = [policy for at, policy in known.recent if at > now - WINDOW.total_seconds()]
        return sum(fresh) >= REFUSALS_AT_LEAST and sum(fresh) > REFUSALS_SHARE * len(fresh)
