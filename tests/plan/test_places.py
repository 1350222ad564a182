"""Which part of a country a member is in, and what follows from it for hours and holidays."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from orchestrator.audience import people
from orchestrator.clock import ManualClock
from orchestrator.plan.places import COUNTRY, place_sql
from orchestrator.policy.carriers import Carrier, Routing
from orchestrator.store import Store
from orchestrator.store.tables import lane, member, message, slot, users
from orchestrator.timing.quiet import QuietHours
from tests import world

SMS = [{"channel": "sms", "template": "lunch"}]


def live(store: Store, name: str, zone: str, country: str | None, attributes: dict[str, Any], n: int = 0) -> None:
    world.person(store, name, zone, phone=f"+1212555{n:04d}", country=country)
    with store.write() as connection:
        row = people.UserRow(name, name, "en", zone, country, attributes)
        people.upsert_users(connection, [row], world.OPENING)


def places(store: Store) -> dict[str, tuple[str, str]]:
    sql = select(users.c.external_id, member.c.country, member.c.decision).join(users, users.c.id == member.c.user_id)
    with store.read() as connection:
        return {row.external_id: (row.country, row.decision) for row in connection.execute(sql)}


def test_a_known_state_has_its_own_hours(store: Store) -> None:
    """18:30 to 20:30 in New York: Florida's evening ends at 20:00, New York's is open, unknown is as Florida."""
    told = {"miami": "US-FL", "tampa": "fl", "albany": "US-NY", "bangor": "US-ME", "nowhere": "Bavaria", "none": None}
    for n, (name, region) in enumerate(told.items()):
        live(store, name, "America/New_York", "US", {"region": region} if region else {}, n)
    live(store, "berlin", "Europe/Berlin", "DE", {"region": "US-FL"}, 7)
    clock = ManualClock(world.OPENING)
    world.plan(store, world.bundle(steps=SMS, window={"local": "20:05-20:30"}), clock)
    assert places(store) == {
        "miami": ("US-FL", "skipped"),
        "tampa": ("US-FL", "skipped"),
        "albany": ("US-NY", "planned"),
        "bangor": ("US-ME", "skipped"),
        "nowhere": ("US", "skipped"),
        "none": ("US", "skipped"),
        "berlin": ("DE", "planned"),
    }
    with store.read() as connection:
        reasons = set(connection.execute(select(member.c.reason)).scalars())
        anchors = connection.execute(select(member.c.anchor).where(member.c.country == "US-NY")).scalars().all()
    assert anchors == [datetime(2026, 12, 8, 1, 5, tzinfo=UTC)]
    assert reasons == {None, "quiet_hours"}


def test_holidays_are_those_of_the_part(store: Store) -> None:
    live(store, "munich", "Europe/Berlin", "DE", {"region": "DE-BY"}, 1)
    live(store, "hamburg", "Europe/Berlin", "DE", {"region": "HH"}, 2)
    clock = ManualClock(datetime(2027, 1, 5, 9, 30, tzinfo=UTC))
    world.plan(store, world.bundle(steps=SMS, schedule={"dates": ["2027-01-06"], "holidays": "skip"}), clock)
    assert places(store) == {"munich": ("DE-BY", "skipped"), "hamburg": ("DE-HH", "planned")}


def test_accounts_are_routed_by_the_country_of_a_place(store: Store) -> None:
    live(store, "miami", "America/New_York", "US", {"region": "US-FL"})
    with store.write() as connection:
        connection.exec_driver_sql("UPDATE address SET country = NULL")
    routing = Routing((Carrier("abroad", "sms"), Carrier("home", "sms", countries=frozenset({"US"}))))
    clock = ManualClock(world.OPENING)
    what = world.bundle(steps=SMS)
    world.launch(store, what, clock.now())
    world.plan_due(store, clock, routing)
    with store.read() as connection:
        found = select(lane.c.account).join(message, message.c.lane_id == lane.c.id)
        assert connection.execute(found).scalars().all() == ["home"]


def test_where_parts_make_no_difference_nothing_is_asked(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "quiet.yaml"
    path.write_text('quiet:\n  - {channels: [sms], hours: "21:00-08:00"}\n')
    assert place_sql("sqlite", world.bundle().campaign, QuietHours.load(path)) == COUNTRY
    push = world.bundle(steps=world.DEFINITION["steps"][:1])
    assert place_sql("sqlite", push.campaign, QuietHours.load()) == COUNTRY  # states differ for texts alone
    world.person(store, "ada", country="DE")
    world.plan(store, world.bundle(), ManualClock(world.OPENING))
    with store.read() as connection:
        assert set(connection.execute(select(slot.c.country)).scalars()) == {"DE"}
