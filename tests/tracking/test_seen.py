"""Opens and clicks that a provider counted, and reports that name an address."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.callback import Report, ReportState, Seen, SeenDeed
from orchestrator.clock import ManualClock
from orchestrator.store import Store
from orchestrator.store.tables import address, event, lane, member, message, stop, suppression
from orchestrator.tracking.attribution import attribute
from orchestrator.tracking.callbacks import Callback, CallbackBook, Verdict
from orchestrator.tracking.hits import reclassify
from tests.tracking.world import NOW, World

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Version/19 Safari/604.1"
LATER = NOW + timedelta(minutes=20)
ADA, BOB = "ada@mail.example", "bob@mail.example"


@pytest.fixture
def book() -> CallbackBook:
    clock = ManualClock(NOW)
    clock.advance(timedelta(hours=1))
    return CallbackBook(clock)


@pytest.fixture
def sent(world: World) -> int:
    world.phone(7, ADA)
    return world.message(world.run(), 7, account="mail")


def seen(message_id: int | None, **more: Any) -> Seen:
    given = Seen("e1", "ses-1", SeenDeed.OPEN, LATER, message_id, agent=IPHONE, network="84.17.3.201")
    return replace(given, **more)


def take(
    store: Store, book: CallbackBook, said: Seen | Report, channel: str = "email", account: str = "mail"
) -> Verdict:
    with store.write() as connection:
        [verdict] = book.take(connection, [Callback(account, channel, "ses", said, said.message_id)])
    return verdict


def events(store: Store) -> list[Any]:
    with store.read() as connection:
        return list(connection.execute(select(event).order_by(event.c.id)))


def test_an_open_that_a_provider_counted_is_kept_once(store: Store, sent: int, book: CallbackBook) -> None:
    assert [take(store, book, seen(sent)) for _ in range(3)] == [Verdict.TAKEN, Verdict.SEEN, Verdict.SEEN]
    assert take(store, CallbackBook(book.clock), seen(sent)) is Verdict.SEEN
    [one] = events(store)
    assert (one.name, one.at, one.message_id, one.source_id) == ("message_opened", LATER, sent, "seen:ses:e1")
    assert (one.properties["confidence"], one.properties["network"]) == ("human", "84.17.3.0/24")
    assert "84.17.3.201" not in str(one.properties)


@pytest.mark.parametrize(
    ("more", "confidence", "why"),
    [
        ({}, "human", ""),
        ({"machine": True}, "machine", "provider"),  # SendGrid's sg_machine_open is decisive
        ({"agent": "Mozilla/5.0"}, "machine", "apple-privacy"),
        ({"at": NOW + timedelta(seconds=2)}, "machine", "too-soon"),
        ({"agent": "x (via ggpht.com GoogleImageProxy)"}, "suspect", "google-proxy"),
        ({"deed": SeenDeed.CLICK, "url": "https://a.example/?u=7"}, "human", ""),
        ({"deed": SeenDeed.CLICK, "url": "https://a.example/?u=7", "agent": "Barracuda"}, "machine", "barracuda"),
    ],
)
def test_who_it_was(
    store: Store, sent: int, book: CallbackBook, more: dict[str, Any], confidence: str, why: str
) -> None:
    take(store, book, seen(sent, **more))
    [one] = events(store)
    assert (one.properties["confidence"], one.properties["why"]) == (confidence, why)
    assert "u=7" not in str(one.properties)
    assert reclassify(store).changed == 0


def test_a_providers_word_outlives_new_rules(store: Store, sent: int, book: CallbackBook) -> None:
    take(store, book, seen(sent, machine=True))
    with store.write() as connection:
        said = {**events(store)[0].properties, "confidence": "human", "why": ""}
        connection.execute(update(event).values(properties=said))
    assert reclassify(store).changed == 1
    assert events(store)[0].properties["why"] == "provider"


def test_a_burst_of_counted_clicks_is_a_machine(store: Store, sent: int, book: CallbackBook) -> None:
    for n in range(3):
        at = LATER + timedelta(seconds=n / 2)
        take(store, book, seen(sent, event_id=f"c{n}", deed=SeenDeed.CLICK, url=f"https://a.example/{n}", at=at))
    assert {one.properties["why"] for one in events(store)} == {"burst"}


def test_nobody_elses_message_and_no_message(store: Store, sent: int, book: CallbackBook) -> None:
    assert take(store, book, seen(sent), account="other") is Verdict.SEEN
    assert take(store, book, seen(None)) is Verdict.SEEN
    assert take(store, book, seen(12345)) is Verdict.SEEN
    assert events(store) == []


def test_a_push_that_was_tapped_was_opened_by_a_person(store: Store, sent: int, book: CallbackBook) -> None:
    """Phone makers tell of taps without a User-Agent, at once after delivery, and by the phone's own clock."""
    with store.write() as connection:
        connection.execute(update(lane).values(channel="push"))
    tap = seen(sent, deed=SeenDeed.CLICK, agent="", network="", at=NOW + timedelta(seconds=1))
    take(store, book, tap, channel="push")
    take(store, book, replace(tap, event_id="e2", at=NOW + timedelta(days=9)), channel="push")
    found = events(store)
    assert {(one.name, one.properties["confidence"]) for one in found} == {("message_opened", "human")}
    assert max(one.at for one in found) == book.clock.now()


def test_no_mail_open_makes_a_reopen(store: Store, world: World, book: CallbackBook) -> None:
    """Coming back is the app's own event; an open, however human, is none (providers §11)."""
    world.phone(7, ADA)
    number = world.message(world.run(anchors=(NOW,)), 7, account="mail")
    world.member(1, 7, NOW)
    take(store, book, seen(number))
    take(store, book, seen(number, event_id="c", deed=SeenDeed.CLICK, url="https://a.example/"))
    assert attribute(store, NOW + timedelta(hours=2)).reopened == 0
    row = {"user_id": 7, "name": "app_open", "at": LATER, "received_at": LATER, "source_id": "app-1"}
    with store.write() as connection:
        connection.execute(insert(event).values(row))
    assert attribute(store, NOW + timedelta(hours=2)).reopened == 1
    with store.read() as connection:
        assert connection.execute(select(member.c.reopened_at)).scalar_one() == LATER


# --- whom a report is about ------------------------------------------------------------------------------------------


def complaint(message_id: int, about: str, status: str = "complaint:1") -> Report:
    return Report(
        "ses-1", status, ReportState.DELIVERED, "abuse", OutcomeClass.SUPPRESS, "complaint", message_id, about
    )


def suppressed(store: Store) -> set[tuple[str | None, int | None]]:
    with store.read() as connection:
        return {(row.address, row.user_id) for row in connection.execute(select(suppression))}


@pytest.mark.parametrize("about", ["", ADA, "Ada@Mail.Example"])
def test_a_report_about_the_messages_own_address(store: Store, sent: int, book: CallbackBook, about: str) -> None:
    take(store, book, complaint(sent, about))
    assert suppressed(store) == {(ADA, None), (None, 7)}


def test_a_stranger_in_a_complaint_costs_nobody_anything(store: Store, sent: int, book: CallbackBook) -> None:
    """SES lists everybody of the domain that it may have been; and a stranger's is not taken for a repetition."""
    assert take(store, book, complaint(sent, "eve@mail.example")) is Verdict.TAKEN
    assert suppressed(store) == set()
    with store.read() as connection:
        assert connection.execute(select(message.c.state)).scalar_one() == "accepted"
    assert take(store, book, complaint(sent, ADA)) is Verdict.TAKEN
    assert suppressed(store) == {(ADA, None), (None, 7)}


def test_another_address_of_the_same_user_is_the_one_that_is_meant(store: Store, sent: int, book: CallbackBook) -> None:
    row = {"id": 99, "user_id": 7, "channel": "email", "kind": "mailbox", "value": BOB}
    with store.write() as connection:
        connection.execute(update(address).where(address.c.id == 7).values(channel="email"))
        connection.execute(insert(address).values(last_seen_at=NOW, valid_from=NOW, **row))
    gone = Report("ses-1", "bounce:1", ReportState.UNDELIVERED, "5.1.1", OutcomeClass.DROP_ADDRESS, "", sent, BOB)
    take(store, book, gone)
    with store.read() as connection:
        found = {row.id: row.end_reason for row in connection.execute(select(address))}
    assert found == {7: None, 99: "dead"}


def test_a_report_can_stop_the_account(store: Store, sent: int, book: CallbackBook) -> None:
    take(store, book, Report("s", "failed", ReportState.UNDELIVERED, "30034", OutcomeClass.STOP_CHANNEL, "", sent))
    with store.read() as connection:
        assert connection.execute(select(stop.c.account, stop.c.reason)).all() == [("mail", "30034")]


def test_spam_filtering_over_one_percent_in_an_hour_stops_the_account(
    store: Store, world: World, book: CallbackBook
) -> None:
    run = world.run()
    for user in range(1, 12):
        world.phone(user, f"+49170123456{user:02}")
        number = world.message(run, user, account="mail")
        take(store, book, Report(f"s{user}", "undelivered", ReportState.UNDELIVERED, "30007", message_id=number))
        with store.read() as connection:
            stopped = connection.execute(select(stop.c.reason)).scalars().all()
        assert stopped == ([] if user < 10 else ["too many 30007"])


def test_an_unreachable_phone_ends_after_three_times_in_thirty_days(
    store: Store, world: World, book: CallbackBook
) -> None:
    world.phone(7, "+4917012345678")
    for run in (1, 2, 3):
        number = world.message(world.run(run), 7, account="mail")
        with store.read() as connection:
            assert connection.execute(select(address.c.end_reason)).scalar_one() is None
        take(store, book, Report(f"s{run}", "undelivered", ReportState.UNDELIVERED, "30003", message_id=number))
    with store.read() as connection:
        row = connection.execute(select(address.c.end_reason, address.c.valid_until)).one()
    assert row == ("dead", book.clock.now())
