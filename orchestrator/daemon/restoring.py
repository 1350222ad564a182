"""The restore guard at work: compared when a process or a worker begins, accepted by an operator."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.clock import Clock
from orchestrator.daemon.wiring import redis_address
from orchestrator.ledger import restored
from orchestrator.ledger.alerts import raise_alert
from orchestrator.ledger.restored import REASON, Behind
from orchestrator.ledger.stops import resume_account, stop_account, stopped_accounts
from orchestrator.settings import Settings
from orchestrator.store import AWAY, Store
from orchestrator.store.guard import FileGuard, Guard, GuardAwayError
from orchestrator.store.migrate import identity

log = logging.getLogger(__name__)

CHUNK = 1000


def guard_of(settings: Settings, clock: Clock, store: Store) -> Guard | None:
    """Beside a SQLite database a file; of PostgreSQL in Redis or Valkey; None where there is neither.

    A file would belong to one of several machines. Several databases may share a server and a name: each has its own.
    """
    if "://" not in settings.database:
        path = Path(settings.database).resolve()
        return FileGuard(path.with_name(path.name + ".guard"), clock.monotonic)
    if (address := redis_address(settings)) is None:
        return None
    from orchestrator.daemon.shared_guard import SharedGuard  # loads the server's client

    return SharedGuard(address, f"{{{settings.redis_name}}}:guard:{identity(store)}", clock.monotonic)


def behind(store: Store, clock: Clock, guard: Guard | None) -> list[Behind]:
    """The runs of which more was sent than this database knows.

    Raises:
        GuardAwayError: the guard does not answer.
    """
    if guard is None:
        return []
    marks = guard.remembered(clock.now())  # before the ledger is read: what is marked meanwhile is in it, too
    with store.read() as connection:
        return restored.runs_behind(connection, marks)


def check_restored(store: Store, clock: Clock, settings: Settings, guard: Guard | None) -> list[Behind]:
    """Stop every account when the database is older than what was sent; call it before anything may leave.

    Raises:
        GuardAwayError: the guard does not answer.
    """
    found = behind(store, clock, guard)
    if found:
        with store.write() as connection:
            for name in settings.accounts:  # one that was stopped already could be resumed by itself
                stop_account(connection, name, REASON, clock.machine(), clock.now(), "daemon")
            for one in found:
                restored.bar(connection, one, clock.now())
            raise_alert(connection, str(found[0].sent_until), REASON, clock.now(), {"runs": len(found)})
        log.error("restored", extra={"runs": len(found), "hint": "orchestrator restore accept"})
    return found


@dataclass(slots=True)
class Watchman:
    """Knows whether this process's database knows all that was sent. Who is not sure sends nothing."""

    store: Store
    clock: Clock
    settings: Settings
    guard: Guard | None
    _doubts: int = field(default=1, init=False)
    _settled: int = field(default=0, init=False)

    @property
    def sure(self) -> bool:
        """Whether it was compared since the last doubt."""
        return self._settled == self._doubts

    def look(self) -> None:
        """Compare, unless that is done; a guard or a database that is away is asked again by the next look."""
        doubts = self._doubts
        if self._settled == doubts:
            return
        try:
            check_restored(self.store, self.clock, self.settings, self.guard)
        except (GuardAwayError, *AWAY) as error:
            log.warning("guard_not_compared", extra={"error": type(error).__name__})
        else:
            self._settled = doubts  # a look that began before the latest doubt does not end it

    def doubt(self) -> None:
        """The database was away, and may be another one by now: compare again at the next look."""
        self._doubts += 1


def accept_restored(store: Store, clock: Clock, settings: Settings, actor: str) -> dict[str, Any]:
    """Skip what may have left after the backup was made, then use the accounts again.

    Raises:
        GuardAwayError: the guard does not answer.
    """
    found, skipped = behind(store, clock, guard_of(settings, clock, store)), 0
    for one in found:
        done, before = CHUNK, skipped
        while done == CHUNK:
            with store.write() as connection:
                done = restored.skip_sent(connection, one, clock.now(), actor, CHUNK)
            skipped += done
        with store.write() as connection:
            restored.accept(connection, one, clock.now(), actor, skipped - before)
    with store.write() as connection:
        names = [name for name, reason in stopped_accounts(connection).items() if reason == REASON]
        for name in names:
            resume_account(connection, name, clock.now(), actor)
    runs = [{"campaign": one.campaign, "date": one.of, "state": one.state} for one in found]
    return {"runs": runs, "skipped": skipped, "accounts": names}
