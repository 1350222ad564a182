"""What becomes of an address called dead: it ends, or in a storm is set aside with all that were called so."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from sqlalchemy import Connection

from orchestrator import metrics
from orchestrator.audience import people
from orchestrator.dispatch.storm import StormGuard
from orchestrator.ledger.alerts import raise_alert

log = logging.getLogger(__name__)

QUARANTINE = timedelta(hours=24)


def bury(
    connection: Connection, account: str, guard: StormGuard, address_id: int, now: datetime, code: str = ""
) -> None:
    """End a dead address; in a storm nothing is deleted, and operators hear of it."""
    if not guard.storming():
        people.end_address(connection, address_id, "dead", now)
        return
    for suspect in guard.suspects():
        people.revive_address(connection, suspect)
        held = people.quarantine_address(connection, suspect, now + QUARANTINE)
        metrics.storm_holds.labels(account).inc(held)
    log.warning("storm", extra={"account": account, "reason": code})
    raise_alert(connection, f"{account}:{now:%Y-%m-%dT%H}", "storm", now, {"account": account})
