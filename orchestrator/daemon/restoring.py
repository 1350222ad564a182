"""The restore guard at work: compared at the daemon's start, accepted by an operator."""

from __future__ import annotations

import logging
from typing import Any

from orchestrator.clock import Clock
from orchestrator.ledger import restored
from orchestrator.ledger.alerts import raise_alert
from orchestrator.ledger.restored import REASON, Behind
from orchestrator.ledger.stops import resume_account, stop_account, stopped_accounts
from orchestrator.settings import Settings
from orchestrator.store import Store
from orchestrator.store.guard import Guard, compact_guard, guard_path, remembered

log = logging.getLogger(__name__)

CHUNK = 1000


def behind(store: Store, clock: Clock, settings: Settings) -> list[Behind]:
    """The runs of which more was sent than this database knows."""
    path = guard_path(settings.database)
    if path is None:
        return []
    with store.read() as connection:
        return restored.runs_behind(connection, remembered(path, clock.now()))


def check_restored(store: Store, clock: Clock, settings: Settings) -> list[Behind]:
    """Stop every account when the database is older than what was sent; call it before anything may leave."""
    found = behind(store, clock, settings)
    if found:
        with store.write() as connection:
            known = stopped_accounts(connection)
            for name in settings.accounts:
                if name not in known:
                    stop_account(connection, name, REASON, clock.machine())
            for one in found:
                restored.bar(connection, one, clock.now())
            raise_alert(connection, str(found[0].sent_until), REASON, clock.now(), {"runs": len(found)})
        log.error("restored", extra={"runs": len(found), "hint": "orchestrator restore accept"})
    return found


def open_guard(settings: Settings, clock: Clock) -> Guard | None:
    """The guard to write to, made short; None where there is no file beside which it could be."""
    path = guard_path(settings.database)
    if path is None:
        return None
    compact_guard(path, clock.now())
    return Guard(path, clock.monotonic)


def accept_restored(store: Store, clock: Clock, settings: Settings, actor: str) -> dict[str, Any]:
    """Skip what may have left after the backup was made, then use the accounts again."""
    found, skipped = behind(store, clock, settings), 0
    for one in found:
        done = CHUNK
        while done == CHUNK:
            with store.write() as connection:
                done = restored.skip_sent(connection, one, clock.now(), actor, CHUNK)
            skipped += done
        with store.write() as connection:
            restored.accept(connection, one, clock.now(), actor)
    with store.write() as connection:
        names = [name for name, reason in stopped_accounts(connection).items() if reason == REASON]
        for name in names:
            resume_account(connection, name, clock.now(), actor)
    runs = [{"campaign": one.campaign, "date": one.of, "state": one.state} for one in found]
    return {"runs": runs, "skipped": skipped, "accounts": names}
