"""The policy's two forms are equal: what the planner's SQL decides, Python decides from the same facts one by one."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Row, insert, select

from orchestrator.audience import people
from orchestrator.campaign.version import Bundle
from orchestrator.clock import ManualClock
from orchestrator.ledger.runs import Run
from orchestrator.ledger.states import State
from orchestrator.plan.due import due_runs
from orchestrator.plan.members import TOGETHER
from orchestrator.plan.rules import rule_for, seen_since, terms_of
from orchestrator.policy.carriers import Carrier, Carriers, Routing, choose
from orchestrator.policy.decide import Standing, objection
from orchestrator.policy.facts import read_facts
from orchestrator.policy.gate import Leave, judge
from orchestrator.policy.resolver import Drop, Hold, opening, resolve
from orchestrator.store import Store
from orchestrator.store.tables import address, consent, lane, member, message, suppression, users
from orchestrator.timing.quiet import QuietHours
from tests import world

ZONES = (None, "Europe/Berlin", "Asia/Shanghai", "America/Vancouver", "Pacific/Kiritimati", "Pacific/Pago_Pago")
COUNTRIES = (None, "DE", "US", "FR", "CN", "XX")
WINDOWS = ("10:30-11:45", "20:30-21:15", "22:00-02:00", "00:00-24:00", "07:00-08:30, 17:00-18:30")
DAY = timedelta(days=1)


class Place(NamedTuple):
    """An address: days since it was seen, days until (or since) the end of its quarantine, whether it ended."""

    channel: str
    seen: int
    quarantine: int | None
    ended: bool
    suppressed: bool
    kind: str
    platform: str | None


class Person(NamedTuple):
    zone: str | None
    country: str | None
    places: list[Place]
    consents: dict[str, bool]
    suppressed: set[str]
    lifted: bool
    regular: bool


def mostly(usual: object, *others: object) -> st.SearchStrategy[Any]:
    return st.sampled_from([usual] * 3 * len(others) + list(others))


places = st.builds(
    Place,
    st.sampled_from(("push", "sms")),
    mostly(1, 100, 269, 271),
    mostly(None, -1, 0, 1),
    mostly(False, True),
    mostly(False, True),
    mostly("token", "apns", "fid"),
    mostly(None, "ios", "android"),
)
ROUTINGS = (
    Routing.plain(world.ACCOUNTS),
    Routing((Carrier("fcm", "push", frozenset({"token"})), Carrier("twilio", "sms"))),
    Routing(
        (
            Carrier("fcm", "push", frozenset({"token", "fid"}), share=2),
            Carrier("fcm-b", "push", frozenset({"token"}), share=1),
            Carrier("china", "push", countries=frozenset({"CN"})),
            Carrier("apple", "push", frozenset({"apns"}), platforms=frozenset({"ios"})),
            Carrier("texts", "sms", countries=frozenset({"DE", "FR"})),
            Carrier("texts-b", "sms", countries=frozenset({"US"}), share=1),
            Carrier("texts-c", "sms", countries=frozenset({"US", "DE"}), share=1),
        )
    ),
)
BOTH = {"push": True, "sms": True}
persons = st.builds(
    Person,
    st.sampled_from(ZONES),
    st.sampled_from(COUNTRIES),
    st.lists(places, min_size=1, max_size=4),
    mostly(BOTH, {}, {"push": True}, {"push": True, "sms": False}, {"push": False, "sms": True}),
    mostly(set(), {"push"}, {"sms"}, {"push", "sms"}),
    st.booleans(),
    mostly(False, True),
)


@st.composite
def bundles(draw: st.DrawFn) -> Bundle:
    late = draw(st.booleans())
    window = {"local": draw(st.sampled_from(WINDOWS)), "spread": draw(st.sampled_from(("0%", "50%", "90%")))}
    more = {"late": "next", "expires_after": draw(st.sampled_from(("2h", "36h")))} if late else {"late": "skip"}
    schedule = {"days": "every", "from": "2026-12-07", "until": "2026-12-08"} if late else {"dates": ["2026-12-07"]}
    when = {"not": "reopened", "after": draw(st.sampled_from(("1m", "10m", "25m")))}
    arms = [{"name": "same", "weight": 1}, {"name": "later", "weight": 1, "window": {"local": "11:15-11:45"}}]
    return world.bundle(
        window={**window, **more},
        schedule=schedule,
        steps=[world.DEFINITION["steps"][0], {**world.DEFINITION["steps"][1], "when": when}],
        audience={"segment": "everybody", "exclude": draw(st.sampled_from(([], ["regulars"])))},
        holdout=draw(st.sampled_from(("0%", "50%"))),
        experiment={"arms": arms},
    )


@pytest.fixture
def store(shared_store: Store) -> Store:
    return shared_store


@cache
def quiet() -> QuietHours:
    return QuietHours.load(None)


def populate(store: Store, crowd: list[Person], now: datetime) -> None:
    world.wipe(store)
    for n, one in enumerate(crowd):
        world.person(store, f"u{n}", one.zone, push=None, consents=(), country=one.country, at=now - 300 * DAY)
        with store.write() as connection:
            user = people.user_ids(connection, [f"u{n}"])[f"u{n}"]
            for channel, granted in one.consents.items():
                people.set_consent(connection, user, channel, "promotions", granted=granted, source="t", at=now - DAY)
            for channel in one.suppressed:
                people.suppress(connection, channel=channel, reason="stop", source="t", at=now - 3 * DAY, user_id=user)
                if one.lifted:
                    people.lift(connection, channel=channel, at=now - DAY, user_id=user)
            for k, place in enumerate(one.places):
                put(connection, user, f"{n}-{k}", place, now)
        world.did(store, f"u{n}", "app_open", now - timedelta(minutes=1))
        if one.regular:
            world.did(store, f"u{n}", "order_paid", now - 2 * DAY)


def put(connection: Connection, user: int, value: str, place: Place, now: datetime) -> None:
    row = {"user_id": user, "channel": place.channel, "kind": place.kind, "platform": place.platform, "value": value}
    row["valid_from"] = now - 300 * DAY
    quarantined = None if place.quarantine is None else now + place.quarantine * DAY
    ends = {"valid_until": now - DAY, "end_reason": "dead"} if place.ended else {}
    seen = {"last_seen_at": now - place.seen * DAY, "quarantined_until": quarantined}
    connection.execute(insert(address).values({**row, **seen, **ends}))
    if place.suppressed:
        people.suppress(connection, channel=place.channel, reason="stop", source="t", at=now - DAY, address=value)


class Facts:
    """Everything the tables hold about people, read plainly."""

    def __init__(self, connection: Connection) -> None:
        self.users = {row.id: row for row in connection.execute(select(users))}
        self.addresses = connection.execute(select(address)).all()
        self.consents = [r for r in connection.execute(select(consent)) if r.valid_until is None]
        self.suppressions = [r for r in connection.execute(select(suppression)) if r.valid_until is None]

    def usable(self, user: int, channel: str, now: datetime) -> list[Row[Any]]:
        refused = {s.address for s in self.suppressions if s.channel == channel and s.address is not None}
        return [
            a
            for a in self.addresses
            if (a.user_id, a.channel) == (user, channel)
            and a.valid_until is None
            and a.last_seen_at >= seen_since(channel, now)
            and (a.quarantined_until is None or a.quarantined_until <= now)
            and a.value not in refused
        ]

    def standing(self, user: int, channel: str, now: datetime, routing: Routing) -> Standing:
        consented = any(c.granted for c in self.consents if (c.user_id, c.channel) == (user, channel))
        refused = {s.address for s in self.suppressions if s.channel == channel and s.address is not None}
        mine = [a for a in self.addresses if (a.user_id, a.channel) == (user, channel) and a.valid_until is None]
        usable = self.usable(user, channel, now)
        country = self.users[user].country or ""
        carried = any(one.takes(a.kind, a.platform, country) for one in routing.found(channel, None) for a in usable)
        by_user = any((s.user_id, s.channel) == (user, channel) for s in self.suppressions)
        by_address = not usable and any(a.value in refused for a in mine)
        return Standing(consented, by_user or by_address, bool(usable), carried=carried)


def single(  # one value each
    facts: Facts, run: Run, what: Bundle, row: Row[Any], now: datetime, routing: Routing
) -> tuple[str, str | None]:
    """The decision about one member, in Python alone."""
    campaign = what.campaign
    reason, owed, first_due = None, False, None
    for step in campaign.steps:
        rule = rule_for(campaign, campaign.arm(row.arm), step, run.occasion)
        door = opening(rule, row.zone_key, row.country, quiet())
        answer = resolve(door, now)
        why = objection(facts.standing(row.user_id, step.channel, now, routing))
        if isinstance(answer, Drop):
            why = why or answer.reason
        else:
            due = answer.until if isinstance(answer, Hold) else now
            current = door.allowed.interval_at(due)
            assert current is not None
            spread = (current[1] - due) * campaign.timing_of(campaign.arm(row.arm), step).spread
            mine = due + spread * ((row.user_id // TOGETHER + 1) * 40503 % 65536) // 65536
            if step.index == 1:
                first_due = mine
            elif first_due is not None and step.when is not None:
                due = max(due, first_due + step.when.after)
            if why is None and due >= door.allowed.intervals[-1][1]:
                why = "late"
        owed = owed or why is None
        reason = why if step.index == 1 else reason
    return ("planned" if owed else "skipped"), reason


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    crowd=st.lists(persons, min_size=1, max_size=6),
    what=bundles(),
    minutes=st.integers(0, 74 * 60),
    routing=st.sampled_from(ROUTINGS),
)
def test_the_set_form_and_the_single_form_agree(
    store: Store, crowd: list[Person], what: Bundle, minutes: int, routing: Routing
) -> None:
    clock = ManualClock(world.OPENING + timedelta(minutes=minutes))
    populate(store, crowd, clock.now())
    world.launch(store, what, clock.now())
    with store.write() as connection:
        due = due_runs(connection, clock.now())
    for item, found in due:
        run = world.planner(clock, routing).plan(store, item, found)
        with store.read() as connection:
            rows = connection.execute(select(member).where(member.c.run_id == run.id)).all()
            facts = Facts(connection)
        assert len(rows) == run.audience == len(crowd)
        for row in rows:
            event(f"{row.decision}: {row.reason}")
            excluded = bool(what.campaign.exclude) and crowd[int(facts.users[row.user_id].external_id[1:])].regular
            expected = ("skipped", "excluded") if excluded else single(facts, run, what, row, clock.now(), routing)
            assert (row.decision, row.reason) == expected
        each_goes_to_its_account(store, run, facts, routing, clock.now())
        ask_the_gate(store, run, what, clock.now(), routing)


def each_goes_to_its_account(store: Store, run: Run, facts: Facts, routing: Routing, now: datetime) -> None:
    """The address is the best that some account takes, and the lane is that of the account chosen for it."""
    with store.read() as connection:
        rows = connection.execute(
            select(message.c.user_id, message.c.address_id, lane.c.account, lane.c.channel)
            .join(lane, lane.c.id == message.c.lane_id)
            .where(message.c.run_id == run.id)
        ).all()
    for row in rows:
        user, carriers = facts.users[row.user_id], routing.of(row.channel, None)

        def chosen(a: Row[Any], user: Row[Any] = user, carriers: Carriers = carriers) -> Carrier | None:
            return choose(carriers, a.kind, a.platform, a.country or user.country or "", user.external_id)

        fits = [a for a in facts.usable(row.user_id, row.channel, now) if chosen(a) is not None]
        best = max(fits, key=lambda a: (a.last_seen_at, a.id))
        account = chosen(best)
        assert account is not None
        assert (row.address_id, row.account) == (best.id, account.name)


def ask_the_gate(store: Store, run: Run, what: Bundle, now: datetime, routing: Routing) -> None:
    """Right after planning the gate drops nothing of what was just planned, but for the holdout."""
    campaign = what.campaign
    for step in campaign.steps:
        terms = terms_of(campaign, step, run.as_of, now, carriers=routing.of(step.channel, None))
        with store.read() as connection:
            made = {
                m.id: m
                for m in connection.execute(
                    select(message).where(message.c.run_id == run.id, message.c.step == step.index)
                )
            }
            known = read_facts(connection, list(made), terms, now) if made else {}
        assert set(known) == set(made)
        for number, facts in known.items():
            rule = rule_for(campaign, campaign.arm(made[number].arm), step, run.occasion)
            verdict = judge(facts, terms, opening(rule, facts.zone_key, facts.country, quiet()), now)
            held_out = isinstance(verdict, Leave) and verdict.state is State.HELD_OUT and made[number].held_out
            assert held_out or not isinstance(verdict, Leave), (verdict, facts)
            assert facts.same_address
