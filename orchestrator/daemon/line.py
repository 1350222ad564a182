"""One line of what ``doctor`` finds."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.channel.base import Health


@dataclass(frozen=True, slots=True)
class Line:
    """What was looked at, how it is, what was found, what to do. Never a secret, never a person's data."""

    what: str
    health: Health
    found: str
    hint: str = ""
