"""The states of campaigns, runs and messages, and every transition there is (drawn in docs/states.md)."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a message is."""

    PLANNED = "planned"
    """Owed; waits for its due time, a slot, or its turn."""
    CLAIMED = "claimed"
    """A worker holds it and may compose it; nothing has left."""
    SENDING = "sending"
    """Committed before the first byte: from here on a crash leaves doubt."""
    ACCEPTED = "accepted"
    """The provider took it. Not delivered, not seen."""
    DELIVERED = "delivered"
    """The provider says that it arrived."""
    UNDELIVERED = "undelivered"
    """The provider says that it did not arrive."""
    SKIPPED = "skipped"
    """Decided against at the door, with a reason."""
    EXPIRED = "expired"
    """Its deadline passed before it could leave."""
    HELD_OUT = "held_out"
    """Passed every gate and was deliberately not sent: the comparison group."""
    FAILED = "failed"
    """Certainly not sent, and not to be tried again."""
    UNKNOWN = "unknown"
    """May have been accepted; never silently sent again; to be reconciled."""


class CampaignState(StrEnum):
    """Where a campaign is."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class RunState(StrEnum):
    """Where a run is."""

    PLANNING = "planning"
    ACTIVE = "active"
    DONE = "done"
    STOPPED = "stopped"


TRANSITIONS: frozenset[tuple[State, State]] = frozenset(
    (old, new)
    for old, news in {
        State.PLANNED: (
            State.CLAIMED,
            State.EXPIRED,
            State.SKIPPED,
            State.UNKNOWN,  # it would leave the queue, and an earlier request of it may have arrived
        ),
        State.CLAIMED: (
            State.PLANNED,  # released, or held until an instant
            State.SENDING,
            State.ACCEPTED,  # a receipt of an earlier, ambiguous attempt has come
            State.SKIPPED,
            State.EXPIRED,
            State.HELD_OUT,
            State.FAILED,  # poison
            State.UNKNOWN,  # as above
        ),
        State.SENDING: (State.PLANNED, State.ACCEPTED, State.FAILED, State.UNKNOWN, State.EXPIRED),
        State.UNKNOWN: (State.PLANNED, State.ACCEPTED, State.DELIVERED, State.UNDELIVERED, State.FAILED),
        State.ACCEPTED: (State.DELIVERED, State.UNDELIVERED),
    }.items()
    for new in news
)
"""Every change of a message's state that may happen; a contract test holds the history against it."""

PENDING = frozenset({State.PLANNED, State.CLAIMED, State.SENDING})
"""Something is still to be done by us."""

LEFT = frozenset({State.SENDING, State.ACCEPTED, State.DELIVERED, State.UNDELIVERED, State.UNKNOWN})
"""A request has, or may have, left."""
