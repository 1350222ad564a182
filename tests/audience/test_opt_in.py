"""Double opt-in: what asks for it is a request until the person confirms it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from orchestrator.audience.importing import import_file
from orchestrator.audience.merging import merge_users
from orchestrator.audience.opt_in import Confirmation, Progress, request_of, take_confirmations, take_consents
from orchestrator.audience.people import ConsentChange, UserRow, set_consent, upsert_users
from orchestrator.clock import ManualClock
from orchestrator.store import Store
from orchestrator.store.tables import consent, opt_in
from tests import world

NOW = world.OPENING
DAY = timedelta(days=1)


@pytest.fixture
def store(database: str) -> Any:
    made = world.fresh(database)
    with made.write() as connection:
        upsert_users(connection, [UserRow("a"), UserRow("b")], NOW)
    yield made
    made.close()


def asks(channel: str, topic: str) -> bool:
    return (channel, topic) == ("email", "news")


def say(store: Store, at: Any = NOW, *, granted: bool = True, now: Any = None, **more: Any) -> int:
    renews = more.pop("renews", True)
    change = ConsentChange(more.pop("user", 1), more.pop("channel", "email"), "news", granted, "app", at, **more)
    with store.write() as connection:
        return take_consents(connection, [change], now or at, asks, renews=renews)


def confirm(store: Store, at: Any, number: int = 1) -> Progress:
    with store.write() as connection:
        (done,) = take_confirmations(connection, [Confirmation(number, at)])
    assert done is not None
    return done.progress


def held(store: Store) -> list[tuple[bool, str]]:
    with store.read() as connection:
        current = select(consent.c.granted, consent.c.source).where(consent.c.valid_until.is_(None))
        return [tuple(row) for row in connection.execute(current)]


def requests(store: Store) -> list[Any]:
    with store.read() as connection:
        return list(connection.execute(select(opt_in).order_by(opt_in.c.id)))


def test_an_agreement_waits_and_counts_once_it_is_confirmed(store: Store) -> None:
    assert say(store, dated=True) == 1
    assert say(store, dated=True) == 0
    assert held(store) == []
    assert confirm(store, NOW + DAY) is Progress.CONFIRMED
    assert confirm(store, NOW + 2 * DAY) is Progress.CONFIRMED
    assert held(store) == [(True, "double opt-in")]
    (proof,) = requests(store)
    assert (proof.requested_at, proof.confirmed_at, proof.source) == (NOW, NOW + DAY, "app")
    assert say(store, dated=True, now=NOW + 3 * DAY) == 0  # the same file again
    assert len(requests(store)) == 1


def test_other_channels_refusals_and_confirmed_ones_are_taken_as_they_are(store: Store) -> None:
    say(store, channel="sms")
    say(store, confirmed=True)
    say(store, NOW + DAY, granted=False)
    assert sorted(held(store)) == [(False, "app"), (True, "app")]
    assert requests(store) == []


def test_who_agreed_already_is_not_asked(store: Store) -> None:
    with store.write() as connection:
        set_consent(connection, 1, "email", "news", granted=True, source="form", at=NOW)
    assert say(store, NOW + DAY, dated=True) == 1  # kept as another proof
    assert say(store, NOW - DAY, dated=True) == 0
    assert requests(store) == []


def test_a_refusal_ends_a_request_even_where_it_is_no_news(store: Store) -> None:
    say(store, NOW - DAY, granted=False)
    say(store, NOW)
    say(store, NOW + DAY, granted=False)
    assert confirm(store, NOW + 2 * DAY) is Progress.OVER
    assert held(store) == [(False, "app")]


def test_of_two_in_one_batch_the_later_holds(store: Store) -> None:
    yes, no = (ConsentChange(1, "email", "news", said, "app", NOW) for said in (True, False))
    with store.write() as connection:
        take_consents(connection, [yes, no], NOW, asks)
    assert requests(store) == []


def test_a_request_expires_and_may_then_be_made_again_by_the_person_alone(store: Store) -> None:
    say(store)
    assert say(store, NOW + 29 * DAY) == 0
    assert confirm(store, NOW + 30 * DAY) is Progress.OVER
    assert say(store, NOW + 31 * DAY, renews=False) == 0  # a file that is read every night
    assert say(store, NOW + 31 * DAY) == 1
    assert confirm(store, NOW + 32 * DAY, 2) is Progress.CONFIRMED


def test_who_refused_after_confirming_sees_so(store: Store) -> None:
    say(store)
    confirm(store, NOW + DAY)
    say(store, NOW + 2 * DAY, granted=False)
    assert confirm(store, NOW + 3 * DAY) is Progress.OVER
    assert held(store) == [(False, "app")]


def test_requests_move_with_a_merged_user_and_a_refusal_ends_them(store: Store) -> None:
    say(store, user=2)
    merge_users(store, "a", "b", ManualClock(NOW + DAY), "test")
    assert confirm(store, NOW + 2 * DAY) is Progress.CONFIRMED
    with store.read() as connection:
        assert connection.execute(select(consent.c.user_id)).scalars().all() == [1]
        assert request_of(connection, 9, NOW) is None


def test_a_merge_with_somebody_who_refuses_ends_a_request(store: Store) -> None:
    say(store, user=2)
    say(store, NOW - DAY, granted=False)
    merge_users(store, "a", "b", ManualClock(NOW + DAY), "test")
    assert confirm(store, NOW + 2 * DAY) is Progress.OVER


@pytest.mark.parametrize(
    ("confirmed", "granted"), [({}, 1), ({"confirmed": "sure"}, 2), ({"confirmed": {"value": True}}, 3)]
)
def test_a_file_may_say_that_it_is_confirmed(store: Store, tmp_path: Any, confirmed: Any, granted: int) -> None:
    path = tmp_path / "consents.csv"
    path.write_text("user,topic,sure\na,news,yes\nb,news,no\na,other,\n", encoding="utf-8")
    columns = {"user": "user", "topic": "topic", "channel": {"value": "email"}, **confirmed}
    import_file(store, "consents", path, {"columns": columns}, ManualClock(NOW), asks=asks)
    again = import_file(store, "consents", path, {"columns": columns}, ManualClock(NOW), asks=asks)
    assert again.written == again.rejected == 0
    assert len(held(store)) == granted
    assert len(requests(store)) == 3 - granted
