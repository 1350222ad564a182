"""One batch of one lane through the door: claim and compose, admit, mark; give back what had no turn.

Workers and rehearsals call it on a thread of the database; the limiter is safe there. What comes back has a committed
row that says ``sending``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.dispatch.account import Account
from orchestrator.dispatch.admission import admit
from orchestrator.dispatch.compose import Composed
from orchestrator.dispatch.door import Door, First, Ready
from orchestrator.ledger.claim import Lane
from orchestrator.store import AWAY


@dataclass(frozen=True, slots=True)
class Batch:
    """What may leave now, and how many were taken up for it, whatever the gate said of them; 0: nothing was due.

    ``taken_at``: monotonic seconds, from before the mark. ``room``: how many it could have been; without any, nothing
    was looked for.
    """

    leaving: list[Ready]
    claimed: int
    taken_at: float = 0.0
    room: int = 0

    @property
    def full(self) -> bool:
        """Whether there was no room for more, and there may be more to take up."""
        return self.claimed >= self.room


def take_batch(
    door: Door,
    lane: Lane,
    account: Account,
    room: int,
    first: First | None = None,
    unmarked: Callable[[Sequence[Composed]], None] = lambda _items: None,
) -> Batch:
    """Take up to ``room`` due messages of a lane to the threshold; ``first`` is written with the claim.

    ``unmarked`` is told of what was to be marked when the database does not say whether it is: nothing of it leaves.

    Raises:
        LeaseLostError: the door's worker lost its lease.
    """
    ready, out = door.claim_and_compose(lane, room, account.channel, first)
    if not ready and not out:
        return Batch([], 0, room=room)
    found = admit(account, lane, ready, door.clock)
    door.probe("admitted")
    if found.rest:  # before the mark: nothing of the database's comes between that and the wire
        door.release([item.message.id for item in found.rest])
    if found.slow:
        door.hold(found.slow)
    try:
        leaving = door.mark(lane, found.admitted, [*out, *found.late], account.quota)
    except AWAY:
        unmarked(found.admitted)
        raise
    found.give_back([item.composed for item in leaving], door.clock.monotonic())
    return Batch(leaving, len(ready) + len(out), found.taken_at, room)
