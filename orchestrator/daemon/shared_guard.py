"""The restore guard of a database that several machines write: the last mark of each run, in Redis or Valkey.

A file of its own, which a deployment without such a server never loads: its client is 8 MB. A server that was emptied
knows of no mark until the next: then the guard is behind the ledger, which is harmless.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from threading import Lock
from typing import Any

import redis

from orchestrator.clock import from_micros, to_micros
from orchestrator.limits.shared import AWAY_SECONDS, connect
from orchestrator.store.guard import KEPT, GuardAwayError, RunKey

log = logging.getLogger(__name__)


class SharedGuard:
    """What every process with the same ``address`` and ``key`` has marked. Thread-safe.

    A sorted set: ``CAMPAIGN OF`` by the microseconds of its last mark. Of two processes' marks the later one stays
    (``ZADD GT``, from Redis 6.2 on), in whichever order they arrive.
    """

    def __init__(self, address: str, key: str, monotonic: Callable[[], float]) -> None:
        self._client = connect(address)
        self._key = key
        self._monotonic = monotonic
        self._away_until = float("-inf")
        self._unwritten: dict[str, int] = {}
        self._turn = Lock()

    def tidy(self, now: datetime) -> None:
        """Forget runs long over; a server that is away does it at another process's start."""
        try:
            self._client.zremrangebyscore(self._key, "-inf", to_micros(now - KEPT))
        except redis.RedisError as error:
            self._went(error)

    def marked(self, campaign: str, of: str, at: datetime) -> None:
        """Remember a mark before what it marked leaves: one round trip a batch.

        What a server that is away did not take is written with the next mark, or by :meth:`keep`.
        """
        run, micros = f"{campaign} {of}", to_micros(at)
        with self._turn:
            self._unwritten[run] = max(micros, self._unwritten.get(run, micros))
        self.keep()

    def remembered(self, now: datetime) -> dict[RunKey, datetime]:
        """The last mark of each run, but of those long over.

        Raises:
            GuardAwayError: the server does not answer.
        """
        try:
            found: Any = self._client.zrangebyscore(self._key, to_micros(now - KEPT), "+inf", withscores=True)
        except redis.RedisError as error:
            said = f"the restore guard in Redis does not answer ({type(error).__name__})"
            raise GuardAwayError(said, hint="start the server, or mend `redis`: nothing is sent until then") from None
        return {_run(member): from_micros(int(score)) for member, score in found}

    def keep(self) -> None:
        """Write what is not there yet; whoever marks meanwhile waits, so that nothing leaves before it is there."""
        with self._turn:
            if not self._unwritten or self._monotonic() < self._away_until:
                return
            try:
                with self._client.pipeline(transaction=False) as both:
                    both.zadd(self._key, self._unwritten, gt=True)
                    both.expire(self._key, KEPT)
                    both.execute()
            except redis.RedisError as error:
                self._went(error)
            else:
                self._unwritten = {}

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _went(self, error: redis.RedisError) -> None:
        """Leave the server alone for a while; its address may hold a password, so the error's kind alone is told."""
        self._away_until = self._monotonic() + AWAY_SECONDS
        log.warning("guard_not_written", extra={"error": type(error).__name__})


def _run(member: bytes) -> RunKey:
    campaign, _, of = member.decode().partition(" ")
    return campaign, of
