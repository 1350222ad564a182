"""A clock that jumps: nothing happens between two instants at which something is due."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.clock import ManualClock


@dataclass(slots=True)
class EventClock(ManualClock):
    """Stands still until the next due instant is known; business and machine time are one, so that rates hold."""

    def jump(self, instant: datetime) -> None:
        """Go on to ``instant``; never back, for rates and leases count on it."""
        self.instant = max(self.instant, instant)
