"""Storm guard: a burst of "dead address" answers is an incident at the provider, not a reason to delete addresses.

Over 5 % of at least 200 sends within ten minutes, or nobody at all accepted among the last ten or more: the addresses
go into quarantine for a day (those just ended come back into it too) and nothing is deleted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

WINDOW_SECONDS = 600.0
SHARE = 0.05
AT_LEAST = 200
NONE_OF = 10


@dataclass(slots=True)
class StormGuard:
    """The recent answers of one account. ``monotonic`` counts seconds."""

    monotonic: Callable[[], float]
    _answers: deque[tuple[float, bool, bool]] = field(default_factory=deque)
    _called_dead: deque[tuple[float, int]] = field(default_factory=deque)
    _dead: int = 0
    _accepted: int = 0

    def record(self, address_id: int, *, dead: bool, accepted: bool) -> None:
        """Take in one answer about one address."""
        self._forget()
        now = self.monotonic()
        self._answers.append((now, dead, accepted))
        if dead:
            self._called_dead.append((now, address_id))
        self._dead += dead
        self._accepted += accepted

    def storming(self) -> bool:
        """Whether "dead" is not to be believed at the moment."""
        self._forget()
        total = len(self._answers)
        nobody = total >= NONE_OF and self._accepted == 0 and self._dead > 1
        return nobody or (total >= AT_LEAST and self._dead > SHARE * total)

    def suspects(self) -> list[int]:
        """The addresses called dead within the window, each given out once: a long storm must not cost its square."""
        self._forget()
        found = [address for _, address in self._called_dead]
        self._called_dead.clear()
        return found

    def _forget(self) -> None:
        horizon = self.monotonic() - WINDOW_SECONDS
        while self._answers and self._answers[0][0] < horizon:
            _, dead, accepted = self._answers.popleft()
            self._dead -= dead
            self._accepted -= accepted
        while self._called_dead and self._called_dead[0][0] < horizon:
            self._called_dead.popleft()
