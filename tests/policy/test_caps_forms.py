"""What the databases read of random histories, for a batch and for everybody, against a count by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import product
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, text

from orchestrator.clock import to_micros
from orchestrator.ledger.ids import message_id
from orchestrator.ledger.states import LEFT, State
from orchestrator.policy.caps import Backoff, CapRule, Caps, Record
from orchestrator.policy.caps_sql import Sender, at_cap_sql, backed_off_sql, read_records, tags_text
from orchestrator.store import Store
from orchestrator.store.tables import (
    campaign,
    lane,
    message,
    run,
    user_alias,
    users,
)
from orchestrator.store.tables import (
    event as events,
)
from tests import world
from tests.nightly import size

NOW = world.MONDAY + timedelta(hours=10)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LANES = [  # channel, tags, priority: each of a campaign of its own
    ("push", ("promotion",), 50),
    ("sms", ("promotion", "news"), 80),
    ("push", ("transactional",), 90),
    ("push", ("news",), 90),
]
SPANS = (timedelta(hours=1), DAY, 7 * DAY)
OFFSETS = (timedelta(0), timedelta(microseconds=1), -timedelta(microseconds=1), timedelta(minutes=20))


class Had(NamedTuple):
    """A message of ``lane``: for a person, under an older name of theirs or not; ``age`` before now."""

    person: int
    old_name: bool
    lane: int
    state: State
    age: timedelta


class Did(NamedTuple):
    person: int
    name: str
    confidence: str | None
    age: timedelta


ages = st.builds(lambda span, offset: abs(span + offset), st.sampled_from((*SPANS, 3 * DAY)), st.sampled_from(OFFSETS))
histories = st.lists(
    st.builds(Had, st.integers(0, 2), st.booleans(), st.integers(0, 3), st.sampled_from(list(State)), ages), max_size=14
)
deeds = st.lists(
    st.builds(
        Did,
        st.integers(0, 2),
        st.sampled_from(("app_open", "order_paid", "message_opened", "link_clicked", "seen")),
        st.sampled_from((None, "human", "machine", "suspect")),
        ages,
    ),
    max_size=5,
)
rules = st.builds(
    CapRule,
    st.integers(0, 3),
    st.sampled_from(SPANS),
    st.sampled_from((None, "push", "sms")),
    st.sampled_from((None, "promotion", "news")),
)
every_caps = st.builds(
    Caps,
    st.lists(rules, min_size=1, max_size=4, unique=True).map(tuple),
    st.sampled_from((frozenset(), frozenset({"transactional"}))),
    st.just(DAY),
    st.builds(
        Backoff,
        st.integers(1, 3),
        st.lists(st.sampled_from((HOUR, 2 * DAY, 5 * DAY)), max_size=3).map(tuple),
        st.sampled_from((frozenset({"push"}), frozenset({"push", "sms"}))),
    ),
)


@pytest.fixture
def store(shared_store: Store) -> Store:
    return shared_store


def user(person: int, *, old_name: bool = False) -> int:
    return person + 1 + (100 if old_name else 0)


def fill(store: Store, history: list[Had], done: list[Did]) -> None:
    """Nothing but this history, as of ``NOW``."""
    world.wipe(store)
    with store.write() as connection:
        _people(connection)
        _lanes(connection)
        for n, had in enumerate(history, start=1):
            _message(connection, n, had)
        for n, did in enumerate(done):
            said = None if did.confidence is None else {"confidence": did.confidence}
            one = {"user_id": user(did.person), "name": did.name, "at": NOW - did.age, "received_at": NOW}
            connection.execute(insert(events).values(source_id=f"e{n}", properties=said, **one))


def _people(connection: Connection) -> None:
    for person, old in product(range(3), (False, True)):
        number = user(person, old_name=old)
        one = {"id": number, "external_id": f"u{number}", "zone_key": "UTC", "created_at": NOW, "updated_at": NOW}
        connection.execute(insert(users).values(attributes={}, **one))
    aliases = [{"old_user_id": user(n, old_name=True), "user_id": user(n)} for n in range(3)]
    connection.execute(insert(user_alias), [{**each, "merged_at": NOW, "actor": "t"} for each in aliases])


def _lanes(connection: Connection) -> None:
    for n, (channel, tags, priority) in enumerate(LANES, start=1):
        launched = {"name": f"c{n}", "state": "running", "version": "h", "launched_at": NOW, "updated_at": NOW}
        connection.execute(insert(campaign).values(launched))
        on = {"version": "h", "local_date": "2026-12-07", "state": "active", "as_of": NOW, "closes_at": NOW + DAY}
        connection.execute(insert(run).values(id=n, campaign=f"c{n}", created_at=NOW, **on))
        named = {"account": "a", "priority": priority, "topic": "promotions", "tags": tags_text(tags)}
        connection.execute(insert(lane).values(id=n << 4 | 1, run_id=n, step=1, channel=channel, **named))


def _message(connection: Connection, number: int, had: Had) -> None:
    whose, at = user(had.person, old_name=had.old_name), NOW - had.age
    of = {"run_id": had.lane + 1, "user_id": whose, "step": 1 + number, "lane_id": (had.lane + 1) << 4 | 1}
    times = {"due_at": at, "deadline": NOW + DAY, "sent_at": at, "state_at": at}
    own = message_id(had.lane + 1, whose, 1 + number)
    what = {"id": own, "address_id": number, "arm": "all", "held_out": False, "state": had.state}
    connection.execute(insert(message).values(**what, **of, **times))


def counted(caps: Caps, rule: CapRule, history: list[Had], person: int) -> list[timedelta]:
    """How long ago each message left that the rule counts, latest first."""
    return sorted(
        had.age
        for had in history
        if had.person == person
        and had.state in LEFT
        and caps.exempt.isdisjoint(LANES[had.lane][1])
        and rule.covers(*LANES[had.lane][:2])
        and had.age < rule.within
    )


def unanswered(caps: Caps, history: list[Had], done: list[Did], person: int) -> list[timedelta]:
    """How long ago each message left that has no answer since, latest first."""
    assert caps.backoff is not None
    answers = [
        did.age
        for did in done
        if did.person == person
        and (
            did.name in {"app_open", "order_paid"}
            or (did.name in {"message_opened", "link_clicked"} and did.confidence in {None, "human"})
        )
    ]
    last = min(answers, default=timedelta.max)
    return sorted(
        had.age
        for had in history
        if had.person == person
        and had.state in LEFT
        and had.age < last
        and caps.exempt.isdisjoint(LANES[had.lane][1])
        and LANES[had.lane][0] in caps.backoff.channels
    )


def read(store: Store, caps: Caps, now: datetime = NOW) -> dict[int, Record]:
    people = [user(person) for person in range(3)]
    sender = Sender("lunch", 100, "order_paid")
    with store.read() as connection:
        return read_records(connection, caps, caps.rules, caps.backoff, people, [], sender, now)


@settings(max_examples=size(150, 5000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories, done=deeds, caps=every_caps)
def test_batch_set_form_and_count_by_hand_agree(store: Store, history: list[Had], done: list[Did], caps: Caps) -> None:
    fill(store, history, done)
    records = read(store, caps)
    backoff = caps.backoff
    assert backoff is not None
    with store.read() as connection:

        def held(sql: str) -> set[int]:
            return set(connection.execute(text(sql), {"now": to_micros(NOW), "goal": "order_paid"}).scalars())

        at_cap = {
            rule: held(f"SELECT u.id FROM users AS u WHERE u.id < 100 AND {at_cap_sql(rule, caps.exempt, 'u.id')}")
            for rule in caps.rules
        }
        everybody = "SELECT users.id AS user_id FROM users WHERE users.id < 100"
        backed_off = held(backed_off_sql(backoff, caps.exempt, everybody))
    for person in range(3):
        record = records[user(person)]
        *by_rule, gap = record.said(caps.rules, backoff, NOW)
        for rule, said in zip(caps.rules, by_rule, strict=True):
            mine = counted(caps, rule, history, person)
            event(f"full: {said is not None}")
            assert (said is not None) == (len(mine) >= rule.most) == (user(person) in at_cap[rule])
            if said is not None and rule.most:
                assert said.until == NOW - mine[rule.most - 1] + rule.within
        silent = unanswered(caps, history, done, person)
        assert record.unanswered == min(len(silent), backoff.longest)
        step = len(silent) - backoff.after
        waits = step >= 0 and (step >= len(backoff.gaps) or silent[0] < backoff.gaps[step])
        event(f"backed off: {waits}")
        assert (gap is not None) == waits == (user(person) in backed_off)


def test_a_week_is_168_hours_and_a_day_24(store: Store) -> None:
    """Braze counts calendar days: 23:00 and 00:00 both pass."""
    daily = Caps((CapRule(1, DAY),))
    fill(
        store, [Had(0, False, 0, State.ACCEPTED, HOUR)], []
    )  # now is a day later by the calendar at any clock's midnight
    [said] = read(store, daily)[1].said(daily.rules, None, NOW)
    assert said is not None
    assert said.until == NOW + 23 * HOUR
    assert by_calendar_day(NOW.replace(hour=0) - HOUR, NOW.replace(hour=0)), "the naive cap lets both pass"


def by_calendar_day(before: datetime, now: datetime) -> bool:
    """The naive cap: room for one a calendar day."""
    return before.date() != now.date()


def test_sms_are_held_by_rules_for_sms_and_not_by_those_for_mail(store: Store) -> None:
    """Mautic PR 4761 judged SMS by the rule for mail."""
    caps = Caps((CapRule(1, DAY, "email"), CapRule(2, DAY, "sms")))
    fill(store, [Had(0, False, 1, State.ACCEPTED, HOUR)], [])
    assert [rule.label for rule in caps.rules_for("sms", ("promotion",))] == ["2 sms in 24h"]
    record = read(store, caps)[1]
    assert {rule.channel: len(times) for rule, times in record.sent.items()} == {"sms": 1}
