"""A small world for tests: people on the map, a campaign, and a ledger to plan into."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from orchestrator.audience import people
from orchestrator.audience.events import IncomingEvent, record_events
from orchestrator.campaign.document import Document
from orchestrator.campaign.parse import parse_campaign
from orchestrator.campaign.version import Bundle, save_version
from orchestrator.clock import Clock, ManualClock
from orchestrator.ledger import runs
from orchestrator.ledger.runs import Run
from orchestrator.plan.due import due_runs
from orchestrator.plan.planner import Planner
from orchestrator.policy.carriers import Routing
from orchestrator.store import Store
from orchestrator.store.tables import metadata
from orchestrator.timing.quiet import QuietHours

MONDAY = datetime(2026, 12, 7, tzinfo=UTC)
OPENING = datetime(2026, 12, 6, 9, 30, tzinfo=UTC)
"""After the run of Monday, 7 December, has opened (midnight at UTC+14 less an hour), before anybody's lunch."""

DEFINITION: dict[str, Any] = {
    "name": "lunch",
    "title": {"en": "Lunch", "zh": "午餐"},
    "topic": "promotions",
    "audience": {"segment": "everybody"},
    "schedule": {"dates": ["2026-12-07"]},
    "window": {"local": "10:30-11:45", "late": "skip", "spread": "50%"},
    "steps": [
        {"channel": "push", "template": "lunch"},
        {"channel": "sms", "template": "lunch", "when": {"not": "reopened", "after": "25m"}},
    ],
    "goal": {"event": "app_open", "within": "24h"},
}
SEGMENTS: dict[str, Any] = {
    "everybody": {"name": "everybody", "where": {"not": {"attribute": "locale", "equals": "nowhere"}}},
    "regulars": {"name": "regulars", "where": {"did": "order_paid", "at_least": 1, "within": "30d"}},
}
TEMPLATES = {
    "lunch/push.en.j2": "title: Hello {{ user.name }}\n\nLunch is ready.\n",
    "lunch/push.zh.j2": "title: {{ user.name }}，你好\n\n午餐好了。\n",
    "lunch/sms.en.j2": "{{ user.name }}, lunch is ready. Reply STOP to opt out\n",
    "lunch/sms.zh.j2": "【午餐】{{ user.name }}，午餐好了。拒收请回复R\n",
    "lunch/defaults.yaml": "user.name: {en: there, zh: 朋友}\n",
}
ACCOUNTS = {"fcm": "push", "twilio": "sms"}


def bundle(changes: Mapping[str, Any] | None = None, **more: Any) -> Bundle:
    """The small campaign, with fields replaced."""
    definition = copy.deepcopy(DEFINITION) | dict(changes or {}) | more
    parsed = parse_campaign(Document("lunch.yaml", definition))
    return Bundle(parsed, definition, SEGMENTS, TEMPLATES)


def fresh(path: object) -> Store:
    """A store with all tables."""
    store = Store(str(path))
    metadata.create_all(store.writer_engine)
    return store


def wipe(store: Store) -> None:
    """Nothing in any table: for the next example of many."""
    with store.write() as connection:
        for table in metadata.sorted_tables:
            connection.execute(table.delete())


def person(
    store: Store,
    name: str,
    zone: str | None = "Europe/Berlin",
    *,
    push: str | None = "",
    phone: str | None = None,
    consents: tuple[str, ...] = ("push", "sms"),
    country: str | None = None,
    at: datetime = OPENING - timedelta(days=60),
    locale: str = "en",
) -> int:
    """Somebody; ``push=""`` gives a token of their own, None none. Returns the user's id."""
    with store.write() as connection:
        people.upsert_users(connection, [people.UserRow(name, name.title(), locale, zone, country)], at)
        rows = []
        if push is not None:
            rows.append(people.AddressRow(name, "push", push or f"token-{name}", at))
        if phone is not None:
            rows.append(people.AddressRow(name, "sms", phone, at, country="DE"))
        people.upsert_addresses(connection, rows, at)
        user = people.user_ids(connection, [name])[name]
        for channel in consents:
            people.set_consent(connection, user, channel, "promotions", granted=True, source="test", at=at)
    return user


def did(store: Store, name: str, event: str, at: datetime) -> None:
    """An event of somebody."""
    with store.write() as connection:
        record_events(connection, [IncomingEvent(name, event, at, f"{name}-{event}-{at.isoformat()}")], at)


def planner(clock: Clock, routing: Routing | None = None) -> Planner:
    """A planner with the built-in quiet hours."""
    return Planner(clock, QuietHours.load(None), routing or Routing.plain(ACCOUNTS))


def launch(store: Store, what: Bundle, now: datetime) -> str:
    """Launch a bundle; its hash."""
    with store.write() as connection:
        digest = save_version(connection, what, now)
        runs.launch(connection, what.campaign.name, digest, now, "operator test")
    return digest


def plan(store: Store, what: Bundle, clock: ManualClock) -> Run:
    """Launch a bundle and plan the one run that is due."""
    launch(store, what, clock.now())
    return plan_due(store, clock)


def plan_due(store: Store, clock: ManualClock, routing: Routing | None = None) -> Run:
    """Plan the one run that is due of what was launched."""
    with store.write() as connection:
        [(item, found)] = due_runs(connection, clock.now())
    return planner(clock, routing).plan(store, item, found)


def write_files(folder: Path, files: Mapping[str, Any]) -> None:
    """A project's files by their paths: text as it stands, anything else as JSON, which YAML reads."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content, default=str), encoding="utf-8")
