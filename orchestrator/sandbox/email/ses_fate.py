"""What becomes of a mail: its address tells, as with the mailbox simulator of Amazon SES."""

from __future__ import annotations

from enum import StrEnum

from orchestrator.sandbox.faults import Fault, Kind


class Fate(StrEnum):
    """The word an address begins with, and how it fares. Any other address gets its mail."""

    DEAD = "dead"
    """Bounces: no such mailbox."""
    BOUNCE = "bounce"
    """The same, in the word of Amazon's simulator."""
    COMPLAINT = "complaint"
    """Gets it, and calls it spam."""
    SUPPRESSED = "suppressionlist"
    """The provider does not even try: it bounced before."""
    FULL = "full"
    """Bounces for now: mailbox full."""
    BLOCKED = "blocked"
    """Bounces by policy."""
    DELAY = "delay"
    """Gets it, later than others."""
    REJECT = "reject"
    """Taken, and dropped for its content."""
    OPENS = "opens"
    """Opens it."""
    CLICKS = "clicks"
    """Opens it, and follows its first link."""
    LEAVES = "leaves"
    """Unsubscribes at the provider."""
    MACHINE = "machine"
    """A mail program opens it by itself."""
    DELIVERED = ""


def fate_of(address: str, fault: Fault | None) -> Fate:
    """How a mail to ``address`` fares; faults can bounce it whoever it is for."""
    if fault is not None and fault.kind in {Kind.UNDELIVERED, Kind.DEAD_ADDRESS}:
        return Fate.DEAD
    local = address.rpartition("@")[0].lower()
    return next((fate for fate in Fate if fate and local.startswith(fate)), Fate.DELIVERED)
