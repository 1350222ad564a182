"""Receipts and replies, in the ledger and in what is known of people."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.callback import Reply, Report, ReportState, Seen, SeenDeed
from orchestrator.clock import ManualClock
from orchestrator.ledger.history import Wanted, acts
from orchestrator.ledger.stops import stopped_accounts
from orchestrator.store import Store
from orchestrator.store.tables import address, alert, event, message, receipt, run, suppression, transition
from orchestrator.tracking.callbacks import Callback, CallbackBook, Verdict
from tests.tracking.world import NOW, World

PHONE = "+4917012345678"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def book() -> CallbackBook:
    return CallbackBook(ManualClock(NOW))


def take(store: Store, book: CallbackBook, *callbacks: Callback) -> list[Verdict]:
    assert isinstance(book.clock, ManualClock)
    book.clock.advance(MINUTE)
    with store.write() as connection:
        return book.take(connection, callbacks)


def report(
    message_id: int | None, state: ReportState, code: str = "", kind: OutcomeClass | None = None, sid: str = "SM1"
) -> Callback:
    return Callback("sms-main", "sms", "twilio", Report(sid, state.value, state, code, kind), message_id)


def reply(text: str, sid: str, phone: str = PHONE) -> Callback:
    return Callback("sms-main", "sms", "twilio", Reply(sid, phone, text), None)


def state(store: Store, message_id: int) -> str | None:
    with store.read() as connection:
        return connection.execute(select(message.c.state).where(message.c.id == message_id)).scalar()


def suppressed(store: Store) -> set[tuple[str | None, int | None, str]]:
    with store.read() as connection:
        found = connection.execute(select(suppression).where(suppression.c.valid_until.is_(None)))
        return {(row.address, row.user_id, row.reason) for row in found}


def ended(store: Store) -> dict[int, str | None]:
    with store.read() as connection:
        return {row.id: row.end_reason for row in connection.execute(select(address))}


@pytest.fixture
def sent(world: World) -> int:
    world.phone(7, PHONE)
    return world.message(world.run(), 7)


def test_reports_in_any_order_and_number_end_the_same(store: Store, world: World, book: CallbackBook) -> None:
    """Delivered never goes back to accepted (P13), duplicates and disorder change nothing (P12)."""
    world.run()
    for user in range(1, 21):
        world.phone(user, f"{PHONE}{user}")
        world.message(1, user)
        news = [
            report(1 << 40 | user << 4 | 1, one, sid=f"SM{user}") for one in (ReportState.SENT, ReportState.DELIVERED)
        ] * 3
        random.Random(user).shuffle(news)
        verdicts = [take(store, book, one)[0] for one in news]
        assert verdicts.count(Verdict.TAKEN) == 2
        assert state(store, 1 << 40 | user << 4 | 1) == "delivered"


def test_a_report_settles_a_message_whose_answer_was_lost(store: Store, sent: int, book: CallbackBook) -> None:
    with store.write() as connection:
        connection.execute(update(message).values(state="unknown"))
    take(store, book, report(sent, ReportState.SENT))
    assert state(store, sent) == "accepted"


def test_a_dead_number_is_ended(store: Store, sent: int, book: CallbackBook) -> None:
    take(store, book, report(sent, ReportState.UNDELIVERED, "30006", OutcomeClass.DROP_ADDRESS))
    assert state(store, sent) == "undelivered"
    assert ended(store) == {7: "dead"}


def test_a_refusal_at_the_provider_is_a_suppression_that_start_lifts(
    store: Store, sent: int, book: CallbackBook
) -> None:
    take(store, book, report(sent, ReportState.UNDELIVERED, "30004", OutcomeClass.SUPPRESS))
    assert suppressed(store) == {(PHONE, None, "provider"), (None, 7, "provider")}
    take(store, book, reply("START", "SM2"))
    assert suppressed(store) == set()


def test_an_account_speaks_of_its_own_messages_alone(store: Store, sent: int, book: CallbackBook) -> None:
    other = Callback("sms-other", "sms", "twilio", report(sent, ReportState.DELIVERED).said, sent)
    assert take(store, book, other) == [Verdict.TAKEN]
    assert state(store, sent) == "accepted"


def test_a_report_on_no_message_of_ours_harms_nothing(store: Store, sent: int, book: CallbackBook) -> None:
    take(store, book, report(None, ReportState.DELIVERED), report(12345, ReportState.DELIVERED, sid="SM9"))
    assert state(store, sent) == "accepted"


def test_a_report_that_names_the_providers_id_and_the_address_finds_its_message(
    store: Store, world: World, sent: int, book: CallbackBook
) -> None:
    """Getui carries no id of ours back."""
    other = world.message(world.run(2), 7)
    with store.write() as connection:
        connection.execute(update(message).where(message.c.id == sent).values(provider_id="RASS_1"))

    def told(status: str, number: str, to: str, kind: OutcomeClass | None = None) -> Callback:
        undelivered = status == "undelivered"
        state = ReportState.UNDELIVERED if undelivered else ReportState.DELIVERED
        code = "401" if undelivered else ""
        return Callback("sms-main", "sms", "getui", Report(number, status, state, code, kind, address=to), None)

    take(store, book, told("delivered", "RASS_1", "+4900000000"), told("delivered", "RASS_2", PHONE))
    take(store, book, replace(told("undelivered", "RASS_2", PHONE, OutcomeClass.DROP_ADDRESS), account="other"))
    assert (state(store, sent), state(store, other), ended(store)[7]) == ("accepted", "accepted", None)
    assert take(store, book, told("undelivered", "RASS_1", PHONE, OutcomeClass.DROP_ADDRESS)) == [Verdict.TAKEN]
    assert (state(store, sent), state(store, other), ended(store)[7]) == ("undelivered", "accepted", "dead")


def test_many_dead_numbers_at_once_are_an_incident_not_a_reason_to_delete(
    store: Store, world: World, book: CallbackBook
) -> None:
    """R16: a provider that calls everybody dead ends almost nobody."""
    world.run()
    for user in range(1, 41):
        world.phone(user, f"{PHONE}{user}")
        dead = report(
            world.message(1, user), ReportState.UNDELIVERED, "30006", OutcomeClass.DROP_ADDRESS, sid=f"SM{user}"
        )
        with store.write() as connection:
            book.take(connection, [dead])
    assert sum(reason == "dead" for reason in ended(store).values()) < 10
    with store.read() as connection:
        aside = connection.execute(select(address.c.id).where(address.c.quarantined_until > NOW)).all()
        told = connection.execute(select(alert.c.kind)).scalars().all()
    assert len(aside) > 30
    assert told == ["storm"]


@pytest.mark.parametrize("text", ["STOP", "STOP please", "退订", "T", "TD"])
def test_a_refusal_holds_for_the_number_and_its_user(store: Store, sent: int, book: CallbackBook, text: str) -> None:
    assert take(store, book, reply(text, "SM1")) == [Verdict.TAKEN]
    assert suppressed(store) == {(PHONE, None, "stop"), (None, 7, "stop")}


def test_a_stranger_can_refuse_too(store: Store, book: CallbackBook) -> None:
    take(store, book, reply("stop", "SM1", "+15551234567"))
    assert suppressed(store) == {("+15551234567", None, "stop")}


def test_an_account_that_a_report_stops_is_told_of_once(store: Store, world: World, book: CallbackBook) -> None:
    run_id = world.run()
    for user in (7, 8):
        world.phone(user, f"{PHONE}{user}")
        number = world.message(run_id, user)
        said = report(number, ReportState.UNDELIVERED, "30002", OutcomeClass.STOP_CHANNEL, f"SM{user}")
        assert take(store, book, said) == [Verdict.TAKEN]
    with store.read() as connection:
        assert stopped_accounts(connection) == {"sms-main": "30002"}
        [line] = acts(connection, Wanted(actor="twilio"), 10)
    assert (line.new, line.reason, line.at) == ("stopped", "account sms-main: 30002", NOW + MINUTE)


def test_a_stop_repeated_after_a_start_does_not_take_it_back(store: Store, sent: int, book: CallbackBook) -> None:
    """There is no timestamp in a callback: (provider id, status) is the replay protection."""
    take(store, book, reply("STOP", "SM1"))
    take(store, book, reply("START", "SM2"))
    assert take(store, book, reply("STOP", "SM1")) == [Verdict.SEEN]
    assert suppressed(store) == set()
    take(store, book, reply("STOP", "SM3"))
    assert len(suppressed(store)) == 2


def test_start_does_not_lift_a_complaint_or_an_operators_word(store: Store, sent: int, book: CallbackBook) -> None:
    with store.write() as connection:
        for reason in ("complaint", "operator", "stop"):
            row = {"channel": "sms", "address": PHONE, "reason": reason, "source": "test", "valid_from": NOW}
            connection.execute(suppression.insert().values(row))
    take(store, book, reply("START", "SM1"))
    assert suppressed(store) == {(PHONE, None, "complaint"), (PHONE, None, "operator")}


def test_small_talk_changes_nothing(store: Store, sent: int, book: CallbackBook) -> None:
    assert take(store, book, reply("thanks, lunch was great", "SM1")) == [Verdict.TAKEN]
    assert suppressed(store) == set()


@pytest.fixture
def forgotten(store: Store, sent: int) -> int:
    """A message that was sent, whose run is forgotten by now."""
    with store.write() as connection:
        connection.execute(update(run).values(state="done", forgotten_at=NOW))
        connection.execute(message.delete())
    return sent


@pytest.mark.parametrize("kind", [None, OutcomeClass.DROP_ADDRESS])
def test_a_report_on_a_message_that_was_forgotten_leaves_nothing_behind(
    store: Store, forgotten: int, book: CallbackBook, kind: OutcomeClass | None
) -> None:
    failed = report(forgotten, ReportState.UNDELIVERED, "30003", kind)
    assert take(store, book, failed, failed) == [Verdict.IGNORED, Verdict.IGNORED]
    clicked = replace(failed, said=Seen("e1", "SM1", SeenDeed.CLICK, NOW, forgotten))
    assert take(store, book, clicked) == [Verdict.SEEN]
    with store.read() as connection:
        for table in (receipt, event, transition, alert):
            assert connection.execute(select(table)).all() == []
    assert ended(store) == {7: None}


def test_a_refusal_on_a_message_that_was_forgotten_still_holds(
    store: Store, world: World, forgotten: int, book: CallbackBook
) -> None:
    refused = report(forgotten, ReportState.UNDELIVERED, "21610", OutcomeClass.SUPPRESS)
    assert take(store, book, refused, refused) == [Verdict.TAKEN, Verdict.SEEN]
    assert suppressed(store) == {(None, 7, "provider")}
    take(store, book, reply("START", "SM2"), refused)
    assert suppressed(store) == set()
    assert take(store, book, replace(refused, account="sms-other")) == [Verdict.SEEN], "it never had that message"
    assert suppressed(store) == set()
