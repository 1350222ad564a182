"""The policy's single form: what is decided about one member, from facts about them.

The set form is the planner's SQL; a property test holds the two equal. The gate uses this one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a user stands towards one channel and topic."""

    consented: bool
    suppressed: bool
    """The user, or the only address there was."""
    reachable: bool
    """There is an address that may be used."""
    excluded: bool = False
    carried: bool = True
    """An account takes one of those addresses."""


def objection(standing: Standing) -> str | None:
    """Why this user must not be sent to on this channel, most binding reason first; None when they may."""
    if standing.excluded:
        return "excluded"
    if standing.suppressed:
        return "suppressed"
    if not standing.consented:
        return "no_consent"
    if not standing.reachable:
        return "no_address"
    return None if standing.carried else "no_account"
