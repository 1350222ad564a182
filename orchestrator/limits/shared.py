"""Rates shared by all processes, kept in Redis or Valkey: one script a decision, on the server's clock.

When the server does not answer, nothing is given out until it does: a limit is never exceeded, sending stands still.
A take whose answer is lost has taken; what is given back to nobody is lost. Both err on the slow side.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from threading import Lock
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orchestrator import metrics
from orchestrator.errors import InputError
from orchestrator.limits.breaker import OPEN_SECONDS
from orchestrator.limits.rate import Keys, Rate

log = logging.getLogger(__name__)

PATIENCE = 0.5
"""Seconds that one decision may take before the server counts as away."""
AWAY_SECONDS = 1.0
"""How long a server that did not answer is left alone."""
_ROUNDING = 1e-6  # seconds: a wait that ends a rounding error too early would be a busy loop


def connect(url: str) -> redis.Redis:
    """A client that asks once and not again: a decision that was lost may have been taken.

    Raises:
        InputError: that is no address of one.
    """
    try:
        return redis.Redis.from_url(
            url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=Retry(NoBackoff(), 0)
        )
    except ValueError:
        hint = "write redis://host:6379/0, rediss://… or unix:///path"
        raise InputError("not an address of Redis or Valkey", hint=hint) from None


@dataclass(frozen=True, slots=True)
class Told:
    """What a server says of itself: its name with its release, how long it took, how much of its memory is used.

    ``refuses``: it takes nothing more when its memory is full (``noeviction``), where others forget what is oldest.
    """

    name: str
    took: timedelta
    filled: float
    refuses: bool


def ask(client: redis.Redis, monotonic: Callable[[], float] = time.perf_counter) -> Told | None:
    """What the server says of itself; None when it does not answer, or does not let us in."""
    try:
        client.ping()  # connects
        began = monotonic()
        client.ping()
        took = timedelta(seconds=monotonic() - began)
        told: Any = client.info()
    except redis.RedisError:
        return None
    valkey = told.get("valkey_version")
    name = f"Valkey {valkey}" if valkey else f"Redis {told.get('redis_version', '?')}"
    most = told.get("maxmemory", 0)
    filled = told.get("used_memory", 0) / most if most else 0.0
    return Told(name, took, filled, told.get("maxmemory_policy") == "noeviction")


class SharedLimiter:
    """Limits of all processes with the same ``client`` and ``name``. Thread-safe; raises nothing.

    ``monotonic`` is this process's machine time in seconds. ``now``: the time of the buckets instead of the server's.
    """

    def __init__(
        self,
        client: redis.Redis,
        name: str,
        monotonic: Callable[[], float],
        now: Callable[[], float] | None = None,
    ) -> None:
        self._prefix = f"{{{name}}}:rate:"  # one hash tag: all buckets of a decision live in one slot of a cluster
        self._script = client.register_script((files(__package__) / "bucket.lua").read_text())
        self._monotonic = monotonic
        self._now = now
        self._away_until = float("-inf")
        self._paused: dict[str, float] = {}  # told by providers while the server was away, too
        self._turn = Lock()
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="limiter")

    def available(self, keys: Keys) -> int:
        """How many could be taken now; 0 while the server is away."""
        if not keys:
            return sys.maxsize
        return 0 if self._is_paused(keys) else int(self._decide("room", keys) or 0)

    def take(self, keys: Keys, n: int) -> int:
        """Take up to ``n`` from every key, or nothing from any."""
        if not keys:
            return n
        return 0 if n <= 0 or self._is_paused(keys) else int(self._decide("take", keys, n) or 0)

    def give_back(self, keys: Keys, n: int, held: float = 0.0) -> None:
        """Return what was not used."""
        if n > 0 and keys:
            self._decide("back", keys, n, held)

    def wait(self, keys: Keys) -> float:
        """Seconds until one can be taken; while the server is away, until it is asked again."""
        if not keys:
            return 0.0
        found, paused = self._decide("wait", keys), self._pause_left(keys)
        if found is None:
            return max(AWAY_SECONDS, paused)
        return max(found + _ROUNDING if found else 0.0, paused)

    def pause(self, key: str, seconds: float) -> None:
        """Let nothing through ``key`` for so long: here at once, everywhere as soon as the server hears it.

        Answers of providers are read on the event loop, which waits for no server: it is told on a thread.
        """
        end = self._monotonic() + seconds
        with self._turn:
            self._paused[key] = max(end, self._paused.get(key, end))
        self._aside.submit(self._decide, "pause", [(key, None)], 0, seconds)

    def ease(self, key: str) -> None:
        """Begin the ramp of ``key`` again, for all; told on a thread, as a pause is."""
        self._aside.submit(self._decide, "ease", [(key, None)])

    def flush(self) -> None:
        """Wait until the server was told everything, or is away."""
        self._aside.submit(int).result()

    def _is_paused(self, keys: Keys) -> bool:
        return self._pause_left(keys) > 0

    def _pause_left(self, keys: Keys) -> float:
        if not self._paused:
            return 0.0
        now = self._monotonic()
        with self._turn:
            self._paused = {key: end for key, end in self._paused.items() if end > now}
            return max((self._paused.get(key, now) - now for key, _ in keys), default=0.0)

    def _decide(
        self, operation: str, keys: Keys | list[tuple[str, None]], n: int = 0, seconds: float = 0.0
    ) -> float | None:
        """What the script answers; None while the server is away."""
        if self._monotonic() < self._away_until:
            return None
        named: dict[str, Rate | None] = dict(keys)
        numbers = [number for rate in named.values() if rate is not None for number in _numbers(rate)]
        now = "" if self._now is None else repr(self._now())
        arguments: list[str | int | float] = [operation, now, n, repr(seconds), *numbers]
        try:
            answer: Any = self._script(keys=[self._prefix + key for key in named], args=arguments)
        except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError) as error:
            self._went(error)
            return None
        metrics.limiter_away.set(0)
        return float(answer)

    def _went(self, error: redis.RedisError) -> None:
        """Leave the server alone for a while; its address may hold a password, so the error's kind alone is told."""
        self._away_until = self._monotonic() + AWAY_SECONDS
        metrics.limiter_away.set(1)
        log.warning("limiter_away", extra={"error": type(error).__name__})


class SharedProbes:
    """The probes of breakers of all processes with the same ``client`` and ``name``; none while the server is away."""

    def __init__(self, client: redis.Redis, name: str) -> None:
        self._client = client
        self._prefix = f"{{{name}}}:probe:"
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="probes")

    def claim(self, account: str) -> bool:
        """Whether no other process has a probe under way."""
        try:
            return bool(self._client.set(self._prefix + account, 1, nx=True, ex=int(OPEN_SECONDS)))
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    def release(self, account: str) -> None:
        """Let the others probe at once. An answer is heard on the event loop, so a thread tells the server."""
        self._aside.submit(self._forget, account)

    def flush(self) -> None:
        """Wait until the server was told everything, or is away."""
        self._aside.submit(int).result()

    def _forget(self, account: str) -> None:
        with suppress(redis.ConnectionError, redis.TimeoutError):  # then they wait until it ends by itself
            self._client.delete(self._prefix + account)


def _numbers(rate: Rate) -> list[str]:
    return [repr(rate.per_second), str(rate.burst), repr(rate.ramp_seconds)]


__all__ = ["SharedLimiter", "SharedProbes", "connect"]
