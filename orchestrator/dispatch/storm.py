"""Storm guard: a burst of "dead address" answers is an incident at the provider, not a reason to delete addresses.

Over 5 % of at least 200 sends within ten minutes, or over five times what the last seven days knew, or nobody at all
accepted among the last ten or more: the addresses go into quarantine for a day (those just ended come back into it too)
and nothing is deleted. Some codes say more when they come in numbers: it is our own account that is wrong, and stops.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import RLock

WINDOW_SECONDS = 600.0
SHARE = 0.05
AT_LEAST = 200
NONE_OF = 10
TIMES_BASELINE = 5.0
DEAD_AT_LEAST = 10
"""Fewer dead addresses than this are no burst, however quiet the week was."""
LOWEST_BASELINE = 0.001
"""A week without a dead address is luck, or a young deployment: the next one is no incident."""
BASELINE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Surge:
    """Codes that stop the account when they come in numbers: ``least`` of them and more than ``share`` of all."""

    codes: frozenset[str]
    share: float
    seconds: float
    least: int = 10


SURGES: tuple[Surge, ...] = (
    Surge(frozenset({"30007"}), 0.01, 3600),  # Twilio: filtered as spam; going on makes it worse
    # each single one is a token that is not ours; most of them are not: it is we who are wrong
    Surge(frozenset({"SENDER_ID_MISMATCH"}), 0.5, WINDOW_SECONDS),  # FCM: the wrong project
    Surge(frozenset({"DeviceTokenNotForTopic", "BadDeviceToken"}), 0.5, WINDOW_SECONDS),  # APNs: topic, environment
    Surge(frozenset({"VapidPkHashMismatch"}), 0.5, WINDOW_SECONDS),  # Web Push: the VAPID key was changed
    Surge(frozenset({"80300007"}), 0.5, WINDOW_SECONDS),  # Huawei: "all tokens invalid": a wrong app or package
)
_WATCHED = {code: surge for surge in SURGES for code in surge.codes}
_LONGEST = max(surge.seconds for surge in SURGES)
_MINUTE = 60.0


@dataclass(slots=True)
class _Second:
    """What was answered within one second: how many, how many of them "dead", how many accepted."""

    at: float
    total: int = 0
    dead: int = 0
    accepted: int = 0


@dataclass(slots=True)
class _Minute:
    """What was answered within one minute, and how often each watched code."""

    at: float
    total: int = 0
    codes: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class StormGuard:
    """The recent answers of one account. ``monotonic`` counts seconds. Memory: one count a second, for ten minutes.

    Thread-safe: answers are written by several threads, and callbacks are read by another.
    """

    monotonic: Callable[[], float]
    _seconds: deque[_Second] = field(default_factory=deque)
    _minutes: deque[_Minute] = field(default_factory=deque)
    _called_dead: deque[tuple[float, int]] = field(default_factory=deque)
    _surging: bool = False
    _baseline: float | None = None
    _baseline_until: float = float("-inf")
    _turn: RLock = field(default_factory=RLock)

    def record(self, address_id: int, *, dead: bool, accepted: bool, code: str = "") -> None:
        """Take in one answer about one address."""
        with self._turn:
            now = self.monotonic()
            self._forget(now)
            if not self._seconds or now - self._seconds[-1].at >= 1:
                self._seconds.append(_Second(now))
            second = self._seconds[-1]
            second.total += 1
            second.dead += dead
            second.accepted += accepted
            if dead:
                self._called_dead.append((now, address_id))
            self._watch(now, code)

    def _watch(self, now: float, code: str) -> None:
        if not self._minutes or now - self._minutes[-1].at >= _MINUTE:
            self._minutes.append(_Minute(now))
        minute = self._minutes[-1]
        minute.total += 1
        if code in _WATCHED:
            minute.codes[code] += 1
            self._surging = True

    def storming(self) -> bool:
        """Whether "dead" is not to be believed at the moment."""
        with self._turn:
            total, dead, accepted = self._counted()
            nobody = total >= NONE_OF and accepted == 0 and dead > 1
            unusual = self._baseline is not None and self._over_baseline(total, dead, self._baseline)
            return nobody or unusual or (total >= AT_LEAST and dead > SHARE * total)

    def _over_baseline(self, total: int, dead: int, baseline: float) -> bool:
        return dead >= DEAD_AT_LEAST and dead > TIMES_BASELINE * max(baseline, LOWEST_BASELINE) * total

    def wants_baseline(self) -> bool:
        """Whether the last seven days' share would decide, and has not been asked for within the hour."""
        with self._turn:
            _, dead, _ = self._counted()
            return dead >= DEAD_AT_LEAST and self.monotonic() >= self._baseline_until and not self.storming()

    def learn(self, baseline: float | None) -> None:
        """What share of the last seven days' messages met a dead address; None when too little was sent to say."""
        with self._turn:
            self._baseline = baseline
            self._baseline_until = self.monotonic() + BASELINE_SECONDS

    def surge(self) -> str:
        """A code that came in such numbers that the account has to stop; empty when there is none.

        It is told once: what was counted is forgotten, so that an operator who resumes the account has a clean sheet.
        """
        with self._turn:
            if not self._surging:
                return ""
            self._surging, now = False, self.monotonic()
            for code in sorted({code for minute in self._minutes for code in minute.codes}):
                surge = _WATCHED[code]
                minutes = [minute for minute in self._minutes if minute.at >= now - surge.seconds]
                count = sum(minute.codes[one] for minute in minutes for one in surge.codes)
                if count >= surge.least and count > surge.share * sum(minute.total for minute in minutes):
                    self._minutes.clear()
                    return code
            return ""

    def suspects(self) -> list[int]:
        """The addresses called dead within the window, each given out once: a long storm must not cost its square."""
        with self._turn:
            self._forget(self.monotonic())
            found = [address for _, address in self._called_dead]
            self._called_dead.clear()
            return found

    def take_back(self, suspects: Sequence[int]) -> None:
        """What was given out has not been set aside: give it out again."""
        with self._turn:
            now = self.monotonic()
            self._called_dead.extend((now, address) for address in suspects)

    def _counted(self) -> tuple[int, int, int]:
        self._forget(self.monotonic())
        seconds = self._seconds
        return sum(one.total for one in seconds), sum(one.dead for one in seconds), sum(one.accepted for one in seconds)

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0].at < now - WINDOW_SECONDS:
            self._seconds.popleft()
        while self._called_dead and self._called_dead[0][0] < now - WINDOW_SECONDS:
            self._called_dead.popleft()
        while self._minutes and self._minutes[0].at < now - _LONGEST:
            self._minutes.popleft()
