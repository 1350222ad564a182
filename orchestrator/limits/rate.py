"""Rates: how much may leave per account, channel, campaign and domain; one decision over all of them at once.

Keys are plain text ("account:fcm", "lane:812"); every key is a bucket of its own, so a slow or stopped one
blocks nobody else. Limits run on machine time, never on an accelerated clock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Protocol

from orchestrator.limits.bucket import Bucket, Rate

Keys = Sequence[tuple[str, Rate]]

_MANY = 4096
_ROUNDING = 1e-6  # seconds: a wait that ends a rounding error too early would be a busy loop


class Limiter(Protocol):
    """What gives out permission to send. Every backend passes ``tests/contract/test_limiter.py``.

    For any key and any span of T seconds, what was taken and not given back is at most ``burst + per_second * T``.
    Calls may block for one round trip to the backend; they raise nothing but the backend's connection errors. No keys
    means no limit.
    """

    def available(self, keys: Keys) -> int:
        """How many could be taken now: the least over ``keys``. Takes nothing."""
        ...

    def take(self, keys: Keys, n: int) -> int:
        """Take up to ``n`` from every one of ``keys``, the same number from each, and answer it; 0 takes nothing."""
        ...

    def give_back(self, keys: Keys, n: int, held: float = 0.0) -> None:
        """Return what was taken and not used.

        ``held`` is how many seconds ago it was taken: the bucket has gone on filling meanwhile, and what flowed in is
        deducted, or the promise above would not hold. Without it, give back at once.
        """
        ...

    def wait(self, keys: Keys) -> float:
        """Seconds until one can be taken, if nobody else takes it; 0.0 when it can be now."""
        ...

    def pause(self, key: str, seconds: float) -> None:
        """Let nothing through ``key`` for so long (a provider said Retry-After); never shortens an earlier pause."""
        ...

    def ease(self, key: str) -> None:
        """Begin the ramp of ``key`` again: what was down comes back to a little first."""
        ...


class MemoryLimiter:
    """Limits of one process. Thread-safe; never blocks for longer than its lock. ``monotonic`` is in seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._buckets: dict[str, Bucket] = {}
        self._stopped: dict[str, float] = {}  # pauses of keys that nobody has used yet
        self._turn = Lock()

    def available(self, keys: Keys) -> int:
        """How many could be taken now."""
        with self._turn:
            return self._available(dict(keys), self._monotonic())

    def take(self, keys: Keys, n: int) -> int:
        """Take up to ``n`` from every key, or nothing from any."""
        wanted = dict(keys)
        with self._turn:
            now = self._monotonic()
            granted = min(n, self._available(wanted, now))
            if granted <= 0:
                return 0
            for key in wanted:
                self._buckets[key].take(granted, now)
            return granted

    def give_back(self, keys: Keys, n: int, held: float = 0.0) -> None:
        """Return what was not used."""
        if n <= 0:
            return
        with self._turn:
            now = self._monotonic()
            for key, rate in dict(keys).items():
                bucket = self._bucket(key, rate, now)
                bucket.refill(rate, now)
                bucket.put_back(n, held)

    def wait(self, keys: Keys) -> float:
        """Seconds until one can be taken."""
        wanted = dict(keys)
        with self._turn:
            now = self._monotonic()
            if self._available(wanted, now) >= 1:
                return 0.0
            return max(self._buckets[key].seconds_to_one(now) for key in wanted) + _ROUNDING

    def pause(self, key: str, seconds: float) -> None:
        """Let nothing through ``key`` for so long."""
        with self._turn:
            now = self._monotonic()
            end, bucket = now + seconds, self._buckets.get(key)
            if bucket is None:
                self._stopped[key] = max(end, self._stopped.get(key, end))
            elif end > max(bucket.at, now):
                bucket.stop_until(end, now)

    def ease(self, key: str) -> None:
        """Begin the ramp of ``key`` again; a bucket that nobody has used yet begins at its foot by itself."""
        with self._turn:
            if (bucket := self._buckets.get(key)) is not None:
                bucket.ease(self._monotonic())

    def _available(self, keys: Mapping[str, Rate], now: float) -> int:
        return min((self._bucket(key, rate, now).refill(rate, now) for key, rate in keys.items()), default=sys.maxsize)

    def _bucket(self, key: str, rate: Rate, now: float) -> Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= _MANY:
                self._forget_idle(now)
            bucket = self._buckets[key] = Bucket.new(rate, now)
            if self._stopped.get(key, now) > now:
                bucket.stop_until(self._stopped[key], now)
            self._stopped.pop(key, None)
        return bucket

    def _forget_idle(self, now: float) -> None:
        """Lanes come and go; a bucket that is made anew starts empty, so forgetting lets nothing extra through."""
        for key, bucket in list(self._buckets.items()):
            if now - bucket.used_at > bucket.rate.idle_seconds:
                del self._buckets[key]


__all__ = ["Keys", "Limiter", "MemoryLimiter", "Rate"]
