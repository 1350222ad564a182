"""What becomes of an address called dead: it ends, or in a storm is set aside with all that were called so."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from orchestrator import metrics
from orchestrator.audience import people
from orchestrator.dispatch.baseline import dead_share
from orchestrator.dispatch.storm import StormGuard
from orchestrator.ledger.alerts import raise_alert
from orchestrator.ledger.stops import stop_account
from orchestrator.store import unless_committed
from orchestrator.store.tables import address

log = logging.getLogger(__name__)

QUARANTINE = timedelta(hours=24)


def bury(  # the answer's own words, one value each
    connection: Connection,
    account: str,
    guard: StormGuard,
    address_id: int,
    now: datetime,
    code: str = "",
    dead_since: datetime | None = None,
) -> None:
    """End a dead address; in a storm nothing is deleted, and operators hear of it.

    ``dead_since``: when the provider learnt it (APNs 410). What the app has registered again since is left alone.
    """
    if dead_since is not None and _seen_since(connection, address_id, dead_since):
        return
    if guard.wants_baseline():
        guard.learn(dead_share(connection, account, now))
    if not guard.storming():
        people.end_address(connection, address_id, "dead", now, registered_before=dead_since)
        return
    suspects = guard.suspects()
    unless_committed(connection, lambda: guard.take_back(suspects))
    for suspect in suspects:
        people.revive_address(connection, suspect)
        held = people.quarantine_address(connection, suspect, now + QUARANTINE)
        metrics.storm_holds.labels(account).inc(held)
    log.warning("storm", extra={"account": account, "reason": code})
    raise_alert(connection, f"{account}:{now:%Y-%m-%dT%H}", "storm", now, {"account": account})


def _seen_since(connection: Connection, address_id: int, at: datetime) -> bool:
    later = select(address.c.id).where(address.c.id == address_id, address.c.last_seen_at >= at)
    return connection.execute(later).first() is not None


def stop_on_surge(  # one value each
    connection: Connection, account: str, guard: StormGuard, machine: datetime, now: datetime, actor: str
) -> None:
    """Stop an account whose answers say, by their number, that something of ours is wrong."""
    code = guard.surge()
    if code:
        stop_account(connection, account, f"too many {code}", machine, now, actor)
        log.error("account_stopped", extra={"account": account, "code": code})
