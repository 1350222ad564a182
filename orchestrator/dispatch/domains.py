"""Rates of single destination domains, for mail: a slow domain waits, and nobody else with it.

A mail whose domain has no room goes back to the queue with an instant at which there will be some, one after the other,
so that a million mails to a slow domain do not stand before a hundred to a quick one, and come to the door once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Lock

from orchestrator.limits.rate import Limiter, Rate


@dataclass(slots=True)
class Domains:
    """The domains of one account that have a rate of their own, in mails a second. Machine time. Thread-safe."""

    account: str
    rates: Mapping[str, float]
    ramp: timedelta
    limiter: Limiter
    monotonic: Callable[[], float]
    _reserved: dict[str, float] = field(default_factory=dict)
    """Until when the places of a domain are given away."""
    _turn: Lock = field(default_factory=Lock)

    def of(self, address: str) -> str | None:
        """The domain of a mailbox, if it has a rate of its own."""
        domain = address.rpartition("@")[2].lower()
        return domain if domain in self.rates else None

    def take(self, domain: str, n: int) -> int:
        """Take up to ``n`` places of a domain; how many there were."""
        return self.limiter.take(self._bucket(domain), n)

    def give_back(self, domain: str, n: int, held: float) -> None:
        """Return places that were not used."""
        self.limiter.give_back(self._bucket(domain), n, held)

    def reserve(self, domain: str) -> float:
        """Seconds until the next place of a domain that nobody else waits for."""
        now, rate = self.monotonic(), self.rates[domain]
        free = now + self.limiter.wait(self._bucket(domain))
        with self._turn:
            at = max(self._reserved.get(domain, 0.0), free)
            self._reserved[domain] = at + 1 / rate
        return at - now

    def _bucket(self, domain: str) -> Sequence[tuple[str, Rate]]:
        rate = self.rates[domain]
        return ((f"domain:{self.account}:{domain}", Rate(rate, max(1, int(rate)), self.ramp)),)
