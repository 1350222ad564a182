"""A shop whose carts are left behind: a triggered campaign, and what there is to see of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, text

from orchestrator.audience.events import IncomingEvent, record_events
from orchestrator.campaign.version import Bundle
from orchestrator.clock import ManualClock
from orchestrator.plan.enrolling import Enroller
from orchestrator.plan.triggers import NEVER
from orchestrator.store import Store
from orchestrator.store.tables import member, message, run, users
from orchestrator.timing.quiet import NEVER_QUIET
from tests import world

NOON = datetime(2026, 12, 7, 11, tzinfo=UTC)
"""In Berlin; a Monday."""
CART, ORDER = "cart_updated", "order_paid"
TRIGGER: Mapping[str, Any] = {"event": CART, "after": "45m", "unless": [ORDER], "again_after": "7d"}
WAIT = timedelta(minutes=45)
ONE_PUSH = [{"channel": "push", "template": "lunch"}]


def campaign(trigger: Mapping[str, Any] | None = None, span: Mapping[str, str] | None = None, **more: Any) -> Bundle:
    """Cart left 45 minutes ago and no order since: a push, within two hours at whatever time of the day."""
    usual: dict[str, Any] = {"window": {"expires_after": "2h"}, "steps": ONE_PUSH}
    return world.bundle({"schedule": {"trigger": {**TRIGGER, **(trigger or {})}, **(span or {})}, **usual, **more})


def launched(store: Store, clock: ManualClock, what: Bundle | None = None, people: int = 3) -> Enroller:
    """The campaign, running since yesterday, and some people of Berlin. No hour is quiet."""
    for n in range(people):
        world.person(store, f"u{n}")
    world.launch(store, what or campaign(), clock.now() - timedelta(days=1))
    return Enroller(store, replace(world.planner(clock), quiet=NEVER_QUIET))


def happened(store: Store, name: str, event: str, at: datetime, received: datetime | None = None, **said: Any) -> None:
    """An event, with properties, that came in at once or later."""
    one = IncomingEvent(name, event, at, f"{name}-{event}-{at.isoformat()}", said)
    with store.write() as connection:
        record_events(connection, [one], received or at)


def joined(store: Store) -> dict[str, list[tuple[str, str | None]]]:
    """By user: each run's date that they are a member of, and why they get nothing, if so."""
    found: dict[str, list[tuple[str, str | None]]] = {}
    both = member.join(run, run.c.id == member.c.run_id).join(users, users.c.id == member.c.user_id)
    asked = select(users.c.external_id, run.c.local_date, member.c.reason).select_from(both)
    with store.read() as connection:
        for name, day, reason in connection.execute(asked.order_by(run.c.local_date, users.c.id)):
            found.setdefault(name, []).append((day, reason))
    return found


def due(store: Store) -> dict[str, datetime]:
    """By user: when their first message is due."""
    asked = select(users.c.external_id, message.c.due_at).join(users, users.c.id == message.c.user_id)
    with store.read() as connection:
        return dict(connection.execute(asked.where(message.c.step == 1)).all())


def waiting(store: Store) -> set[str]:
    """Whose wait is not over."""
    with store.read() as connection:
        rows = connection.execute(_WAITING, {"never": int(NEVER.timestamp()) * 1_000_000})
        return set(rows.scalars())


_WAITING = text("""
    SELECT users.external_id FROM waiting JOIN users ON users.id = waiting.user_id WHERE waiting.due_at < :never""")


def everything(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """All that a tick writes, but for the lines of history."""
    names = ("run", "member", "message", "lane", "slot", "waiting", "enrolled", "event_cursor")
    with store.read() as connection:
        return {
            name: sorted((tuple(row) for row in connection.execute(text(f"SELECT * FROM {name}"))), key=repr)
            for name in names
        }
