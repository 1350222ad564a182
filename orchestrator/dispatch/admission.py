"""Admission: which of the messages that are ready may leave now, by every limit at once; the others are given back.

The limits are buckets of the account, the campaign, the step and, for mail, the recipient's domain. What was taken for
messages that the gate then keeps back is returned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from orchestrator.clock import Clock
from orchestrator.dispatch.account import Account
from orchestrator.dispatch.compose import Composed
from orchestrator.ledger.claim import Lane
from orchestrator.ledger.mark import Exit, Hold
from orchestrator.ledger.states import State

SLOW = "rate"
"""Why a mail waits for its domain."""


@dataclass(frozen=True, slots=True)
class Admission:
    """``admitted`` have their tokens; ``rest`` have had no turn; ``slow`` wait for their domain."""

    account: Account
    lane: Lane
    taken_at: float
    admitted: list[Composed]
    rest: list[Composed]
    slow: list[Hold] = field(default_factory=list)
    late: list[Exit] = field(default_factory=list)
    """Those whose deadline passed while they waited for their domain."""

    def give_back(self, leaving: Sequence[Composed], now: float) -> None:
        """Return what was taken for messages that are not ``leaving``, at ``now`` (monotonic seconds)."""
        held, unused = now - self.taken_at, len(self.admitted) - len(leaving)
        if unused:
            self.account.limiter.give_back(self.account.buckets(self.lane), unused, held)
        _return_domains(self.account, _domains(self.account, self.admitted), _domains(self.account, leaving), held)


def admit(account: Account, lane: Lane, ready: Sequence[Composed], clock: Clock) -> Admission:
    """Take from every limit for as many of ``ready`` as there is room for, in their order."""
    taken_at = clock.monotonic()
    quick, slow = _by_domain(account, ready)
    granted = account.limiter.take(account.buckets(lane), len(quick)) if quick else 0
    admitted, rest = quick[:granted], quick[granted:]
    if rest:
        _return_domains(account, _domains(account, quick), _domains(account, admitted), 0.0)
    now = clock.now()
    late = [Exit(item.message.id, State.EXPIRED, SLOW) for item in slow if item.message.deadline <= now]
    waiting = [_waiting(account, item, clock) for item in slow if item.message.deadline > now]
    return Admission(account, lane, taken_at, admitted, rest, waiting, late)


def _by_domain(account: Account, ready: Sequence[Composed]) -> tuple[list[Composed], list[Composed]]:
    """Those whose domain has room, which is taken for them, and the others."""
    wanted = _domains(account, ready)
    if account.domains is None or not wanted:
        return list(ready), []
    room = {domain: account.domains.take(domain, n) for domain, n in wanted.items()}
    quick: list[Composed] = []
    slow: list[Composed] = []
    for item in ready:
        domain = account.domains.of(item.address)
        if domain is None or room[domain] > 0:
            quick.append(item)
            if domain is not None:
                room[domain] -= 1
        else:
            slow.append(item)
    return quick, slow


def _domains(account: Account, items: Sequence[Composed]) -> Counter[str]:
    if account.domains is None:
        return Counter()
    found = (account.domains.of(item.address) for item in items)
    return Counter(domain for domain in found if domain is not None)


def _return_domains(account: Account, had: Counter[str], used: Counter[str], held: float) -> None:
    for domain, n in (had - used).items():
        assert account.domains is not None
        account.domains.give_back(domain, n, held)


def _waiting(account: Account, item: Composed, clock: Clock) -> Hold:
    """Until its domain has a place for it; at its deadline at the latest, where the sweeper finds it."""
    assert account.domains is not None
    domain = account.domains.of(item.address)
    assert domain is not None
    wait = clock.business_span(timedelta(seconds=account.domains.reserve(domain)))
    return Hold(item.message.id, min(clock.now() + wait, item.message.deadline), SLOW)
