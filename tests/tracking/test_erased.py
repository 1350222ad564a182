"""What comes back about somebody who was erased: receipts move messages on, and nothing is learnt of the person."""

from __future__ import annotations

import hmac
from datetime import timedelta
from hashlib import sha256

import pytest
from sqlalchemy import delete, select, update

from orchestrator.audience.erased import seal_with
from orchestrator.audience.erasing import erase_user
from orchestrator.audience.events import IncomingEvent, record_events
from orchestrator.audience.people import AddressRow, upsert_addresses
from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.callback import Report, ReportState
from orchestrator.clock import ManualClock
from orchestrator.store import Store
from orchestrator.store.tables import event, lane, member, message, meta, receipt, suppression
from orchestrator.tracking.acks import Ack, Verdict, take_acks
from orchestrator.tracking.acks import Deed as Said
from orchestrator.tracking.attribution import attribute
from orchestrator.tracking.callbacks import Callback, CallbackBook
from orchestrator.tracking.hits import Hit, HitBook
from orchestrator.tracking.machines import Deed
from orchestrator.tracking.wishes import Wish, standing, take_wishes
from tests.tracking.world import HOUR, NOW, World

PHONE = "+4917012345678"


@pytest.fixture
def sent(store: Store, world: World) -> int:
    """A message of somebody who opened the app afterwards, and bought, and was erased."""
    seal_with(store.writer_engine, lambda text: hmac.digest(b"k", text.encode(), "sha256").hex())
    world.run()
    world.member(1, 7, NOW)
    world.phone(7, PHONE)
    number = world.message(1, 7)
    with store.write() as connection:
        bought = IncomingEvent("u-7", "order_paid", NOW + HOUR, "o-1", {"amount": 12.5})
        record_events(connection, [IncomingEvent("u-7", "app_open", NOW + HOUR, "a-1"), bought], NOW + HOUR)
    attribute(store, NOW + 2 * HOUR)
    return number


def erase(store: Store) -> None:
    erase_user(store, "u-7", ManualClock(NOW + 2 * HOUR), "operator test")


def test_receipts_move_the_message_and_hits_and_acks_are_not_kept(store: Store, sent: int) -> None:
    erase(store)
    later = NOW + 3 * HOUR
    hit = Hit(Deed.CLICK, sent, 5, "https://a.example/", later, "agent", "84.1.2.0/24")
    said = Report("SM1", "delivered", ReportState.DELIVERED, "", None, address=PHONE)
    with store.write() as connection:
        assert HitBook().take(connection, [hit]) == [False]
        assert take_acks(connection, [[Ack(sent, Said.OPENED, later)]], later) == [[Verdict.IGNORED]]
        CallbackBook(ManualClock(later)).take(connection, [Callback("sms-main", "sms", "twilio", said, sent)])
    with store.read() as connection:
        assert connection.execute(select(event)).all() == []
        assert connection.execute(select(message.c.state)).scalar() == "delivered"


def test_a_receipt_that_named_another_address_of_theirs_holds_no_hash_of_it(store: Store, sent: int) -> None:
    with store.write() as connection:
        upsert_addresses(connection, [AddressRow("u-7", "sms", "+4917099")], NOW)
        said = Report("SM1", "failed", ReportState.UNDELIVERED, "1", None, address="+4917099")
        CallbackBook(ManualClock(NOW)).take(connection, [Callback("sms-main", "sms", "twilio", said, sent)])
    hashed = sha256(b"+4917099").hexdigest()[:12]
    with store.read() as connection:
        assert connection.execute(select(receipt.c.status)).scalar() == f"failed {hashed}"
    erase(store)
    with store.read() as connection:
        [kept] = connection.execute(select(receipt)).all()
    assert hashed not in kept.status
    assert (kept.message_id, kept.state) == (sent, "undelivered")


def test_a_refusal_that_comes_late_is_of_no_empty_address(store: Store, sent: int) -> None:
    erase(store)
    said = Report("SM1", "failed", ReportState.UNDELIVERED, "21610", OutcomeClass.SUPPRESS)
    with store.write() as connection:
        CallbackBook(ManualClock(NOW)).take(connection, [Callback("sms-main", "sms", "twilio", said, sent)])
    with store.read() as connection:
        assert [(row.address, row.user_id) for row in connection.execute(select(suppression))] == [(None, 7)]


def test_a_complaint_that_comes_late_is_of_the_mailbox_that_it_names(store: Store, sent: int) -> None:
    """The person may be back under a new number: mails to them end all the same."""
    erase(store)
    said = Report("E1", "complaint", ReportState.DELIVERED, "", OutcomeClass.SUPPRESS, address="Ann@Example.com")
    with store.write() as connection:
        connection.execute(update(lane).values(channel="email"))
        CallbackBook(ManualClock(NOW)).take(connection, [Callback("sms-main", "email", "ses", said, sent)])
    with store.read() as connection:
        found = {(row.address, row.user_id) for row in connection.execute(select(suppression))}
    assert found == {("ann@example.com", None), (None, 7)}


def test_an_unsubscribe_link_of_before_does_not_say_that_it_was_done(store: Store, sent: int) -> None:
    """Who they are today nobody knows."""
    with store.read() as connection:
        assert standing(connection, sent, NOW) is not None
    erase(store)
    with store.write() as connection:
        assert standing(connection, sent, NOW) is None
        assert take_wishes(connection, [Wish(sent, NOW)]) == [False]


@pytest.mark.parametrize("everybody", [True, False])
@pytest.mark.usefixtures("sent")
def test_who_had_come_back_did_come_back(store: Store, monkeypatch: pytest.MonkeyPatch, everybody: bool) -> None:
    """Whether all members are looked at again, or those with new events: also right in the middle of an erasure."""
    mine = select(member.c.reopened_at, member.c.converted_at, member.c.conversion_value).where(member.c.user_id == 7)
    with store.read() as connection:
        before = connection.execute(mine).one()
    assert None not in before
    with store.write() as connection:
        if everybody:
            connection.execute(delete(meta).where(meta.c.key == "attribution:1"))
        new = IncomingEvent("u-7", "order_paid", NOW + 2 * HOUR, "o-2", {"amount": 1})
        record_events(connection, [new], NOW + 2 * HOUR)

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.audience.erasing._look", killed)
    with pytest.raises(KeyboardInterrupt):
        erase(store)
    attribute(store, NOW + 2 * HOUR + timedelta(minutes=1))
    monkeypatch.undo()
    erase(store)
    attribute(store, NOW + 2 * HOUR + timedelta(minutes=2))
    with store.read() as connection:
        assert connection.execute(mine).one() == before
