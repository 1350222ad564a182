"""Counts add up (P19): whatever is in the ledger, the report equals a recount of it in Python."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from orchestrator.clock import to_micros
from orchestrator.ledger.states import State
from orchestrator.report.hours import merged
from orchestrator.report.members import DECISIONS, RANK
from orchestrator.report.tally import tally
from orchestrator.report.values import HOLDOUT, Launched, Tally
from orchestrator.store import Store
from orchestrator.store.tables import event, member, message, run
from tests import world
from tests.report.book import ANCHOR, AS_OF, DAY, NOW, Book

REASONS = ("no_consent", "capped", "template:no orders", None)


@dataclass(frozen=True)
class Owed:
    """One step's message of a random member."""

    state: State
    reason: str | None
    sent: bool
    opened: bool


@dataclass(frozen=True)
class Person:
    """One random member."""

    user: int
    run: int
    arm: str
    held_out: bool
    decision: str
    reason: str | None
    reopened: bool
    converted: bool
    steps: tuple[Owed | None, ...]


owed = st.builds(Owed, st.sampled_from(State), st.sampled_from(REASONS), st.booleans(), st.booleans())
person = st.builds(
    Person,
    st.integers(1, 9),
    st.integers(1, 3),
    st.sampled_from(("dish", "coupon", "later")),
    st.booleans(),
    st.sampled_from(("planned", "planned", "skipped")),
    st.sampled_from(REASONS),
    st.booleans(),
    st.booleans(),
    st.tuples(st.none() | owed, st.none() | owed),
)
ledgers = st.lists(person, max_size=24, unique_by=lambda one: (one.run, one.user))


def write(store: Store, people: list[Person]) -> None:
    book = Book(store)
    for number in (1, 2, 3):
        count = sum(one.run == number for one in people)
        book.run(number, DAY + timedelta(days=number), audience=count)
    for one in people:
        instants: dict[str, Any] = {"anchor": ANCHOR}
        instants["reopened_at"] = ANCHOR + timedelta(hours=1) if one.reopened else None
        instants["converted_at"] = ANCHOR + timedelta(hours=2) if one.converted else None
        decided: dict[str, Any] = {
            "decision": one.decision,
            "reason": one.reason,
            "held_out": one.held_out,
            "arm": one.arm,
        }
        row = book.member(one.run, one.user, **decided, **instants)
        for step, owes in enumerate(one.steps, start=1):
            if owes:
                sent = {"sent_at": ANCHOR, "attempts": 1} if owes.sent else {}
                written = book.message(row, step, owes.state, ANCHOR, reason=owes.reason, **sent)
                if owes.opened:
                    book.opened(written, one.user, ANCHOR)
    book.write()


def counted(store: Store, launched: Launched, now: datetime = NOW) -> Tally:
    with store.read() as connection:
        return tally(connection, launched, now)


@given(ledgers)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_ledger_is_counted_as_a_recount_in_python_would(
    shared_store: Store, launched: Launched, people: list[Person]
) -> None:
    world.wipe(shared_store)
    write(shared_store, people)
    found = counted(shared_store, launched)
    assert found.adds_up
    assert found.audience == len(people) == sum(decision.members for decision in found.decisions)
    assert Counter({(row.name, row.reason): row.members for row in found.decisions}) == _decisions(people)
    assert {stage.name: stage.users for stage in found.stages} == _stages(people)
    assert {(g.name, g.eligible, g.sent, g.accepted, g.opened, g.reopened) for g in found.groups if g.eligible} == (
        _groups(people)
    )
    assert sum(zone.members for zone in found.zones) == len(people)
    assert sum(step.messages for step in found.steps) == sum(m is not None for one in people for m in one.steps)
    for stage in found.stages:
        if stage.name in {"sent", "accepted", "delivered", "opened"}:
            assert stage.messages == sum(_reached(m, stage.name) for one in people for m in one.steps if m)


def _reached(message: Owed, stage: str) -> bool:
    opened = message.sent and message.opened
    delivered = message.state == State.DELIVERED or opened
    accepted = delivered or message.state in {State.ACCEPTED, State.UNDELIVERED}
    return {"sent": message.sent, "accepted": accepted, "delivered": delivered, "opened": opened}[stage]


def _any(one: Person, stage: str) -> bool:
    return any(_reached(message, stage) for message in one.steps if message)


def _decision(one: Person) -> tuple[str, str]:
    messages = [message for message in one.steps if message]
    if not messages:
        return ("skipped", one.reason or "") if one.decision == "skipped" else ("pending", "")
    best = min(messages, key=lambda message: RANK[message.state])  # the first of equals, as min does
    name = DECISIONS[RANK[best.state]]
    told = name in {"undelivered", "unknown", "failed", "expired", "skipped"}
    return name, (best.reason or "") if told else ""


def _decisions(people: list[Person]) -> Counter[tuple[str, str]]:
    return Counter(_decision(one) for one in people)


def _stages(people: list[Person]) -> dict[str, int]:
    def users(chosen: list[Person]) -> int:
        return len({one.user for one in chosen})

    treated = [one for one in people if one.decision == "planned" and not one.held_out and _any(one, "accepted")]
    return {
        "audience": users(people),
        "planned": users([one for one in people if one.decision == "planned"]),
        **{
            name: users([one for one in people if _any(one, name)])
            for name in ("sent", "accepted", "delivered", "opened")
        },
        "reopened": users([one for one in treated if one.reopened]),
        "converted": users([one for one in treated if one.converted]),
    }


def _groups(people: list[Person]) -> set[tuple[str, int, int, int, int, int]]:
    first: dict[int, Person] = {}
    for one in sorted(people, key=lambda one: one.run):
        if one.decision == "planned":
            first.setdefault(one.user, one)
    found: dict[str, list[Person]] = {}
    for one in first.values():
        found.setdefault(HOLDOUT if one.held_out else one.arm, []).append(one)
    return {
        (
            name,
            len(group),
            sum(_any(one, "sent") for one in group),
            sum(_any(one, "accepted") for one in group),
            sum(_any(one, "opened") for one in group),
            sum(one.reopened for one in group),
        )
        for name, group in found.items()
    }


def test_the_realistic_ledger_adds_up_and_nobody_is_outside_the_window(filled: Store, launched: Launched) -> None:
    found = counted(filled, launched)
    assert found.adds_up
    assert found.audience == 1200
    assert found.hours.outside == 0
    assert found.hours.requests == sum(found.hours.bins) + found.hours.several > 700
    assert [group.name for group in found.groups] == ["dish", "coupon", "later", HOLDOUT]
    assert sum(group.eligible for group in found.groups) == found.stages[1].users


def test_the_reopen_curve_ends_at_the_groups_rate(filled: Store, launched: Launched) -> None:
    found = counted(filled, launched)
    rates = {group.name: group.reopened / group.eligible for group in found.groups}
    assert {curve.group: curve.points[-1][1] for curve in found.curves} == pytest.approx(rates)
    for curve in found.curves:
        shares = [share for _, share in curve.points]
        assert shares == sorted(shares)
        assert curve.points[-1][0] == 24


def test_a_request_outside_the_window_is_seen(book: Book, store: Store, launched: Launched) -> None:
    book.run(1, audience=2)
    for user, at in ((1, ANCHOR), (2, ANCHOR + timedelta(minutes=75))):  # 10:30 and 11:45 in Berlin: half-open
        sent = book.message(book.member(1, user, anchor=ANCHOR), 1, "accepted", at, sent_at=at, attempts=1)
        book.attempt(sent, 1, at)
    book.write()
    assert counted(store, launched).hours.outside == 1


def test_an_arm_is_held_to_its_own_window(book: Book, store: Store, launched: Launched) -> None:
    book.run(1, audience=1)
    row = book.member(1, 1, arm="later", anchor=ANCHOR)
    book.attempt(book.message(row, 1, "accepted", ANCHOR, sent_at=ANCHOR, attempts=1), 1, ANCHOR)
    book.write()
    assert counted(store, launched).hours.outside == 1, "10:30 is inside the campaign's window, not inside the arm's"


def test_a_request_whose_answer_was_never_written_is_counted(book: Book, store: Store, launched: Launched) -> None:
    book.run(1, audience=1, state="active")
    book.message(book.member(1, 1, anchor=ANCHOR), 1, "sending", ANCHOR, sent_at=ANCHOR, attempts=1)
    book.write()
    assert counted(store, launched).hours.requests == 1


def test_a_zone_known_only_by_country_must_fit_everywhere(book: Book, store: Store, launched: Launched) -> None:
    book.run(1, audience=2)
    for user, minutes in ((1, 0), (2, 65)):  # 10:30 in Madrid is 09:30 in the Canaries; 11:35 is 10:35
        row = book.member(1, user, zone_key="country:ES", anchor=ANCHOR)
        at = ANCHOR + timedelta(minutes=minutes)
        book.attempt(book.message(row, 1, "accepted", at, sent_at=at, attempts=1), 1, at)
    book.write()
    hours = counted(store, launched).hours
    assert (hours.several, sum(hours.bins), hours.outside) == (2, 0, 1)


def test_members_whose_run_has_not_opened_yet_wait(book: Book, store: Store, launched: Launched) -> None:
    book.run(1, audience=2, state="active")
    book.member(1, 1, anchor=ANCHOR)
    book.member(1, 2, anchor=ANCHOR + timedelta(hours=9))
    book.write()
    found = counted(store, launched, ANCHOR + timedelta(hours=2))
    assert (sum(group.eligible for group in found.groups), found.waiting) == (1, 1)
    assert sum(group.open for group in found.groups) == 1


def test_who_has_not_been_watched_so_long_leaves_the_curve(book: Book, store: Store, launched: Launched) -> None:
    """One of two came back in hour 1; a third was only watched for half an hour and must not lower the share."""
    book.run(1, audience=3, state="active")
    now = ANCHOR + timedelta(hours=24)
    book.member(1, 1, anchor=ANCHOR, reopened_at=ANCHOR + timedelta(minutes=70))
    book.member(1, 2, anchor=ANCHOR)
    book.member(1, 3, anchor=now - timedelta(minutes=45))
    book.write()
    (curve,) = counted(store, launched, now).curves
    assert dict(curve.points)[1.5] == pytest.approx(0.5)


def test_a_missing_member_row_does_not_add_up(book: Book, store: Store, launched: Launched) -> None:
    book.run(1, audience=2)
    book.member(1, 1)
    book.write()
    assert not counted(store, launched).adds_up


def test_nothing_at_all_is_a_report_of_nothing(store: Store, launched: Launched) -> None:
    found = counted(store, launched)
    assert (found.audience, found.decisions, found.runs, found.hours.requests) == (0, (), (), 0)
    assert found.adds_up


def test_another_campaigns_ledger_is_not_counted(filled: Store, launched: Launched, book: Book) -> None:
    with filled.write() as connection:
        connection.execute(run.update().values(campaign="other"))
    assert counted(filled, launched).audience == 0


def test_the_fixture_is_a_ledger(filled: Store) -> None:
    """What the tests count is shaped like what the daemon writes."""
    with filled.read() as connection:
        assert {row.state for row in connection.execute(select(message.c.state))} <= set(State)
        assert connection.execute(select(event.c.message_id)).first() is not None
        anchors = connection.execute(select(member.c.anchor)).scalars()
        assert all(to_micros(anchor) > to_micros(AS_OF) for anchor in anchors)


def test_openings_within_one_another_are_one() -> None:
    assert merged([(675, 705), (630, 705), (0, 60), (60, 90)]) == ((0, 90), (630, 705))
