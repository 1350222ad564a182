"""One batch of one lane through the door, without waiting: what a worker and a rehearsal both do.

Claim and compose, take from the limits what is granted, mark; give back what had no turn. What comes back has a
committed row that says ``sending``.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.dispatch.account import Account
from orchestrator.dispatch.door import Door, Ready
from orchestrator.ledger.claim import Lane


@dataclass(frozen=True, slots=True)
class Batch:
    """What may leave now; ``taken_at`` (monotonic seconds) is from before the mark."""

    leaving: list[Ready]
    taken_at: float
    claimed: int
    """Messages that were taken up, whatever the gate said of them; 0: nothing was due."""


def take_batch(door: Door, lane: Lane, account: Account, room: int) -> Batch:
    """Take up to ``room`` due messages of a lane to the threshold.

    Raises:
        LeaseLostError: the door's worker lost its lease.
    """
    ready, out = door.claim_and_compose(lane, room, account.channel)
    taken_at = door.clock.monotonic()
    if not ready and not out:
        return Batch([], taken_at, 0)
    buckets = account.buckets(lane)
    granted = account.limiter.take(buckets, len(ready)) if ready else 0
    door.probe("admitted")
    admitted, rest = ready[:granted], ready[granted:]
    leaving = door.mark(lane, admitted, out, account.quota)
    if rest:
        door.release([item.message.id for item in rest])
    if unused := granted - len(leaving):
        account.limiter.give_back(buckets, unused, door.clock.monotonic() - taken_at)
    return Batch(leaving, taken_at, len(ready) + len(out))
