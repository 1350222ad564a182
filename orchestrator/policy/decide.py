"""The policy's single form: what is decided about one member, from facts about them.

The set form is the planner's SQL; a property test holds the two equal. The gate uses this one.
"""

from __future__ import annotations

from collections.abc import Callable
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


OBJECTIONS: tuple[tuple[str, Callable[[Standing], bool]], ...] = (
    ("excluded", lambda standing: standing.excluded),
    ("suppressed", lambda standing: standing.suppressed),
    ("no_consent", lambda standing: not standing.consented),
    ("no_address", lambda standing: not standing.reachable),
    ("no_account", lambda standing: not standing.carried),
)
"""Reasons not to send, most binding first, each with whom it is about."""


def objection(standing: Standing) -> str | None:
    """Why this user must not be sent to on this channel, most binding reason first; None when they may."""
    return next((reason for reason, applies in OBJECTIONS if applies(standing)), None)
