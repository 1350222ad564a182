"""The breaker: an account whose provider answers mostly 5xx is left alone for a while.

More than half of the last 20 answers failing opens it for 30 s; then one probe decides. An account that
must wait for an operator (wrong credentials) is not this: that is a row in the database.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock
from typing import Protocol

LAST = 20
OPEN_SECONDS = 30.0


class BreakerState(StrEnum):
    """What an account may do."""

    CLOSED = "closed"
    """Send."""
    OPEN = "open"
    """Send nothing."""
    HALF_OPEN = "half_open"
    """One probe at a time; its answer decides."""


class Probes(Protocol):
    """Who may probe an account that is half open, where several processes use it."""

    def claim(self, account: str) -> bool:
        """Whether this process may send the one probe of the next ``OPEN_SECONDS``."""
        ...

    def release(self, account: str) -> None:
        """The probe was answered well: the others need not wait with theirs."""
        ...


class OwnProbes:
    """Of one process alone: it may always."""

    def claim(self, account: str) -> bool:
        """True."""
        del account
        return True

    def release(self, account: str) -> None:
        """Nobody waits."""


@dataclass(slots=True)
class _Account:
    answers: deque[bool] = field(default_factory=deque)
    failures: int = 0
    opened_at: float | None = None
    probed_at: float | None = None

    def mostly_fails(self, failed: bool) -> bool:  # noqa: FBT001  # an answer is one or the other
        """Count an answer; whether more than half of the last ones failed."""
        self.answers.append(failed)
        self.failures += failed
        if len(self.answers) > LAST:
            self.failures -= self.answers.popleft()
        return len(self.answers) == LAST and self.failures * 2 > LAST


class Breaker:
    """The breakers of all accounts; one account's never touches another's. Thread-safe.

    ``monotonic`` is machine time in seconds; ``probes`` are shared with other processes.
    """

    def __init__(self, monotonic: Callable[[], float], probes: Probes | None = None) -> None:
        self._monotonic = monotonic
        self._probes = probes or OwnProbes()
        self._accounts: dict[str, _Account] = {}
        self._turn = Lock()

    def state(self, account: str) -> BreakerState:
        """The state, without taking the probe."""
        with self._turn:
            return self._state(self._of(account), self._monotonic())

    def allow(self, account: str) -> bool:
        """Whether one request may go. Half open, a True is the probe: :meth:`record` its answer.

        A probe that is never answered (its task was cancelled) makes room for another after 30 s.
        """
        with self._turn:
            one, now = self._of(account), self._monotonic()
            state = self._state(one, now)
            if state is not BreakerState.HALF_OPEN:
                return state is BreakerState.CLOSED
            if one.probed_at is not None and now < one.probed_at + OPEN_SECONDS:
                return False
            if not self._probes.claim(account):
                return False
            one.probed_at = now
            return True

    def record(self, account: str, failed: bool) -> bool:  # noqa: FBT001  # an answer is one or the other
        """One answer of the provider; ``failed``: 5xx, or none. Late answers to an open breaker change nothing.

        Answers whether this one closed the breaker.
        """
        with self._turn:
            one, now = self._of(account), self._monotonic()
            match self._state(one, now):
                case BreakerState.CLOSED:
                    if one.mostly_fails(failed):
                        self._open(one, now)
                case BreakerState.HALF_OPEN if one.probed_at is not None:
                    if failed:
                        self._open(one, now)
                    else:
                        one.opened_at = one.probed_at = None
                        self._probes.release(account)
                        return True
                case BreakerState.OPEN | BreakerState.HALF_OPEN:
                    pass
        return False

    def _of(self, account: str) -> _Account:
        found = self._accounts.get(account)
        if found is None:
            found = self._accounts[account] = _Account()
        return found

    @staticmethod
    def _state(one: _Account, now: float) -> BreakerState:
        if one.opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < one.opened_at + OPEN_SECONDS else BreakerState.HALF_OPEN

    @staticmethod
    def _open(one: _Account, now: float) -> None:
        one.opened_at, one.probed_at = now, None
        one.answers.clear()
        one.failures = 0
