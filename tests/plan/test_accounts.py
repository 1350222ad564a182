"""Several accounts for a step: each message in the lane of an account that takes it, or a reason why there is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from orchestrator.audience import people
from orchestrator.clock import ManualClock
from orchestrator.ledger.ids import MAX_STEPS, lane_id
from orchestrator.ledger.runs import Occasion, Run
from orchestrator.plan.chunks import chunk_end
from orchestrator.plan.dry import dry_run
from orchestrator.plan.due import due_runs
from orchestrator.plan.members import members_statement
from orchestrator.plan.planner import Planner
from orchestrator.policy.carriers import Carrier, Routing, choose
from orchestrator.store import Store
from orchestrator.store.tables import address, lane, member, message
from orchestrator.timing.quiet import QuietHours
from tests import world

FCM = Carrier("fcm", "push", frozenset({"token", "fid"}))
APNS = Carrier("apns", "push", frozenset({"apns"}))
PUSH = {"steps": [{"channel": "push", "template": "lunch"}]}
SMS = {"steps": [{"channel": "sms", "template": "lunch"}]}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(world.OPENING)


def plan(store: Store, clock: ManualClock, routing: Routing, **changes: object) -> Run:
    world.launch(store, world.bundle(changes), clock.now())
    with store.write() as connection:
        [(item, found)] = due_runs(connection, clock.now())
    return Planner(clock, QuietHours.load(None), routing).plan(store, item, found)


def through(store: Store) -> dict[tuple[str, str], str]:
    """By user and address: the account."""
    names = text("""
        SELECT users.external_id, address.value, lane.account FROM message JOIN lane ON lane.id = message.lane_id
        JOIN users ON users.id = message.user_id JOIN address ON address.id = message.address_id""")
    with store.read() as connection:
        return {(row.external_id, row.value): row.account for row in connection.execute(names)}


def reasons(store: Store) -> dict[int, str | None]:
    with store.read() as connection:
        return {row.user_id: row.reason for row in connection.execute(select(member))}


def tell(store: Store, name: str, value: str, kind: str, days: int = 1, platform: str | None = None) -> None:
    at = world.OPENING - timedelta(days=days)
    with store.write() as connection:
        row = people.AddressRow(name, "push", value, at, kind, platform=platform)
        people.upsert_addresses(connection, [row], at)


def test_each_kind_through_the_account_that_takes_it(store: Store, clock: ManualClock) -> None:
    world.person(store, "ada")
    world.person(store, "bob", push=None)
    tell(store, "bob", "apple", "apns")
    plan(store, clock, Routing((FCM, APNS)), **PUSH)
    assert through(store) == {("ada", "token-ada"): "fcm", ("bob", "apple"): "apns"}


def test_the_best_address_that_some_account_takes_else_a_reason(store: Store, clock: ManualClock) -> None:
    world.person(store, "ada")
    tell(store, "ada", "newer", "xiaomi", days=0)
    lost = world.person(store, "bob", push=None)
    tell(store, "bob", "maker", "xiaomi")
    nowhere = world.person(store, "cid", push=None)
    refused = world.person(store, "dot", push=None, consents=())
    tell(store, "dot", "maker-too", "xiaomi")
    plan(store, clock, Routing((FCM, APNS)), **PUSH)
    assert through(store) == {("ada", "token-ada"): "fcm"}
    assert {number: reasons(store)[number] for number in (lost, nowhere, refused)} == {
        lost: "no_account",
        nowhere: "no_address",
        refused: "no_consent",
    }


def test_a_single_account_that_does_not_take_the_kind_is_said_too(store: Store, clock: ManualClock) -> None:
    world.person(store, "ada")
    lost = world.person(store, "bob", push=None)
    tell(store, "bob", "apple", "apns")
    plan(store, clock, Routing((FCM,)), **PUSH)
    assert reasons(store)[lost] == "no_account"
    with store.read() as connection:
        assert connection.execute(select(lane.c.id)).scalars().all() == [lane_id(1, 1)]


def test_by_country_of_the_phone_then_of_the_user(store: Store, clock: ManualClock) -> None:
    """A German number of somebody in China is the German account's."""
    world.person(store, "ada", phone="+4915112345678", country="CN")  # the number's own country is DE
    world.person(store, "bob", push=None)
    with store.write() as connection:
        at = clock.now() - timedelta(days=3)
        rows = [people.AddressRow("bob", "sms", "+8613800138000", at, country="CN")]
        people.upsert_addresses(connection, rows, at)
    china = Carrier("china", "sms", countries=frozenset({"CN"}))
    plan(store, clock, Routing((Carrier("rest", "sms"), china)), **SMS)
    assert through(store) == {("ada", "+4915112345678"): "rest", ("bob", "+8613800138000"): "china"}


def test_shares_in_the_ledger_are_those_of_the_single_form(store: Store, clock: ManualClock) -> None:
    for n in range(60):
        world.person(store, f"u{n}")
        tell(store, f"u{n}", f"phone-{n}", "token", days=0, platform=("android", "ios")[n % 2])
    routing = Routing(
        (
            Carrier("big", "push", share=3),
            Carrier("small", "push", share=1),
            Carrier("apple", "push", platforms=frozenset({"ios"})),
        )
    )
    plan(store, clock, routing, **PUSH)
    found = through(store)
    assert len(found) == 60
    for (user, _), account in found.items():
        platform = ("android", "ios")[int(user[1:]) % 2]
        expected = choose(routing.of("push", None), "token", platform, "", user)
        assert expected is not None
        assert account == expected.name
    assert set(found.values()) == {"big", "small", "apple"}


def test_a_step_that_names_its_account_uses_that_one_alone(store: Store, clock: ManualClock) -> None:
    world.person(store, "ada")
    named = {"steps": [{"channel": "push", "template": "lunch", "account": "second"}]}
    plan(store, clock, Routing((Carrier("first", "push"), Carrier("second", "push"))), **named)
    assert set(through(store).values()) == {"second"}


def test_lanes_of_old_runs_keep_their_ids_and_no_two_are_alike() -> None:
    assert lane_id(7, 3) == 7 << 4 | 3
    ids = {lane_id(run, step, way) for run in (1, 2, 8_388_607) for step in (1, MAX_STEPS) for way in range(20)}
    assert len(ids) == 3 * 2 * 20
    assert max(ids) < 1 << 63


def test_a_plan_taken_up_again_after_an_account_was_added_goes_on(store: Store, clock: ManualClock) -> None:
    for n in range(4):
        world.person(store, f"u{n}")
    world.person(store, "apple", push=None)
    tell(store, "apple", "t-apple", "apns")
    what = world.bundle(PUSH)
    world.launch(store, what, clock.now())
    with store.write() as connection:
        [(item, bundle)] = due_runs(connection, clock.now())
    before = Planner(clock, QuietHours.load(None), Routing((FCM,)))
    with store.write() as connection:
        before.begin(connection, item, bundle)
        high = chunk_end(connection, 0, 2)
        assert high is not None
        item = before.chunk(connection, members_statement(bundle, store.dialect), item, bundle, high)
    Planner(clock, QuietHours.load(None), Routing((APNS, FCM))).plan(store, item, bundle)
    assert sorted(through(store).values()) == ["apns", "fcm", "fcm", "fcm", "fcm"]


OWN = {
    "steps": [
        {"channel": "inbox", "template": "lunch"},
        {"channel": "webhook", "template": "lunch", "when": {"after": "5m"}},
    ]
}
BOTH = Routing((Carrier("app", "inbox", frozenset({"user"})), Carrier("hook", "webhook", frozenset({"user"}))))


def test_on_the_apps_own_channels_the_address_is_the_users_id_and_nobody_is_asked(
    store: Store, clock: ManualClock
) -> None:
    world.person(store, "ada", push=None, consents=())
    refused = world.person(store, "bob", push=None, consents=())
    banned = world.person(store, "cid", push=None, consents=())
    with store.write() as connection:
        at = clock.now() - timedelta(days=2)
        for channel in ("inbox", "webhook"):
            people.set_consent(connection, refused, channel, "promotions", granted=False, source="t", at=at)
            people.suppress(connection, channel=channel, reason="operator", source="t", at=at, user_id=banned)
    plan(store, clock, BOTH, **OWN)
    assert through(store) == {("ada", "ada"): "hook"}  # of both steps; the later one is shown
    assert (reasons(store)[refused], reasons(store)[banned]) == ("no_consent", "suppressed")
    with store.read() as connection:
        rows = connection.execute(select(address).where(address.c.channel == "inbox")).all()
        steps = connection.execute(select(message.c.step).order_by(message.c.step)).scalars().all()
    assert {(row.kind, row.value) for row in rows} == {("user", "ada"), ("user", "bob"), ("user", "cid")}
    assert steps == [1, 2]


def test_an_address_that_ended_is_not_made_again(store: Store, clock: ManualClock) -> None:
    user = world.person(store, "ada", push=None, consents=())
    with store.write() as connection:
        at = clock.now() - timedelta(days=2)
        people.upsert_addresses(connection, [people.AddressRow("ada", "inbox", "ada", at)], at)
        people.end_address(connection, connection.execute(select(address.c.id)).scalar_one(), "removed", at)
    plan(store, clock, BOTH, steps=OWN["steps"][:1])
    assert reasons(store)[user] == "no_address"


def test_a_dry_run_counts_them_and_writes_nothing(store: Store, clock: ManualClock) -> None:
    for name in ("ada", "bob"):
        world.person(store, name, push=None, consents=())
    planner = Planner(clock, QuietHours.load(None), BOTH)
    reader = Store(store.url, writer=False)
    with reader.read() as connection:
        found = dry_run(connection, planner, world.bundle(OWN), Occasion(world.MONDAY.date()), clock.now())
        assert connection.execute(select(address)).all() == []  # the view is gone again
    reader.close()
    assert found.channels == {"inbox": 2, "webhook": 2}
    assert found.decisions == {"planned": 2}
    assert planner == replace(planner, scratch=False)
