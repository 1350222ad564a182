"""What every ledger promises, whatever database keeps it: on each kind that ``tests/conftest.py`` names."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import select

from orchestrator.errors import InputError, LeaseLostError, NotFoundError
from orchestrator.ledger import lease, runs, stops
from orchestrator.ledger.claim import due_lanes, next_due, release
from orchestrator.ledger.ids import WorkerId
from orchestrator.ledger.mark import Exit, Hold
from orchestrator.ledger.recover import Recovered, expire, overdue_lanes
from orchestrator.ledger.resolve import resolve_unknown
from orchestrator.ledger.runs import pending, read_run, set_run_state, skip_stopped
from orchestrator.ledger.states import CampaignState, RunState, State
from orchestrator.store import Store
from orchestrator.store.tables import worker
from tests.ledger.book import LEASE, PUSH, RUN, SMS, START, Ledger

MINUTE = timedelta(minutes=1)


@pytest.fixture
def book(store: Store) -> Ledger:
    return Ledger(store).open()


# --- claims ----------------------------------------------------------------------------------------------------------


def test_a_message_is_claimed_once_and_in_the_order_it_fell_due(book: Ledger) -> None:
    late = book.owe(1, due_at=START)
    early = book.owe(2, due_at=START - MINUTE)
    book.owe(3, due_at=START + MINUTE)
    one, other = book.worker(), book.worker()
    assert [item.id for item in book.claim(one, n=1)] == [early]
    assert [item.id for item in book.claim(other)] == [late]
    assert book.claim(one) == book.claim(other) == []


def test_many_threads_claim_nothing_twice(book: Ledger) -> None:
    for user in range(200):
        book.owe(user)
    taken: list[int] = []

    def work(number: WorkerId) -> None:
        while batch := book.claim(number, n=7):
            taken.extend(item.id for item in batch)

    threads = [threading.Thread(target=work, args=(book.worker(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(taken) == len(set(taken)) == 200


def test_a_lane_is_due_only_while_its_campaign_runs_and_its_account_is_in_use(book: Ledger) -> None:
    book.owe(1)
    book.owe(2, SMS, due_at=START + MINUTE)

    def lanes() -> list[int]:
        with book.store.read() as connection:
            return [item.id for item in due_lanes(connection, book.clock.now(), book.clock.machine())]

    assert lanes() == [PUSH]
    with book.store.write() as connection:
        stops.stop_account(connection, "push", "401", START, START, "daemon")
    assert lanes() == []
    with book.store.read() as connection:
        assert next_due(connection, START) == START + MINUTE
    with book.store.write() as connection:
        assert stops.resume_account(connection, "push", START, "operator t")
        assert not stops.resume_account(connection, "push", START, "operator t")
        runs.set_campaign_state(connection, "lunch", CampaignState.PAUSED, START, "operator t")
    assert lanes() == []
    with book.store.read() as connection:  # an idle worker must not spin over what is paused
        assert next_due(connection, START) is None
    with book.store.write() as connection:
        runs.set_campaign_state(connection, "lunch", CampaignState.RUNNING, START, "operator t")
    assert lanes() == [PUSH]


def test_what_is_given_back_is_as_it_was(book: Ledger) -> None:
    number, me = book.owe(1, reason="window"), book.worker()
    before = book.row(number)
    [item] = book.claim(me)
    with book.store.write() as connection:
        release(connection, book.holder(me), [item.id], START)
    assert book.row(number) == before


# --- the mark --------------------------------------------------------------------------------------------------------


def test_the_gates_verdicts_are_written_with_their_history(book: Ledger) -> None:
    numbers = [book.owe(user) for user in range(4)]
    me = book.worker()
    book.claim(me)
    go, skip, wait, move = numbers
    later = START + MINUTE
    moved = Hold(move, START, "next_address", address_id=99)
    book.mark(me, [go], [Exit(skip, State.SKIPPED, "came_back")], [Hold(wait, later, "window"), moved])
    assert [book.state(number) for number in numbers] == ["sending", "skipped", "planned", "planned"]
    assert (book.row(go).attempts, book.row(go).sent_at) == (1, START)
    assert (book.row(wait).due_at, book.row(wait).reason, book.row(wait).worker_id) == (later, "window", None)
    assert book.row(move).address_id == 99
    assert book.history(skip) == [("claimed", "skipped", "came_back")]
    assert book.history(wait) == [("claimed", "planned", "window")]


def test_a_lost_lease_writes_nothing(book: Ledger) -> None:
    numbers = [book.owe(user) for user in range(2)]
    me = book.worker()
    sent = book.send(me, n=1)[0]
    book.claim(me)
    before = [book.row(number) for number in numbers]
    book.clock.advance(LEASE)
    for attempt in (
        lambda: book.claim(me),
        lambda: book.mark(me, [numbers[1]]),
        lambda: book.mark(me),
        lambda: book.settle(me, sent, State.ACCEPTED),
    ):
        with pytest.raises(LeaseLostError):
            attempt()
    assert [book.row(number) for number in numbers] == before
    assert book.attempts() == []


@pytest.mark.parametrize("verdict", ["send", "out", "hold"])
def test_the_fence_rejects_a_message_that_is_anothers_and_the_whole_batch_with_it(book: Ledger, verdict: str) -> None:
    both = [book.owe(1), book.owe(2)]
    me, other = book.worker(), book.worker()
    book.claim(me, n=1)
    book.claim(other, n=1)
    exits = [Exit(number, State.SKIPPED, "late") for number in both if verdict == "out"]
    holds = [Hold(number, START, "window") for number in both if verdict == "hold"]
    with pytest.raises(LeaseLostError):
        book.mark(me, both if verdict == "send" else [], exits, holds)
    assert [book.state(number) for number in both] == ["claimed", "claimed"]


def test_the_fence_keeps_a_settlement_from_anothers_message(book: Ledger) -> None:
    number, me, other = book.owe(1), book.worker(), book.worker()
    [item] = book.send(me)
    book.settle(other, item, State.FAILED)
    assert (book.state(number), book.row(number).worker_id) == ("sending", me)


def test_a_lease_is_renewed_only_while_it_lasts(book: Ledger) -> None:
    me = book.worker()
    book.clock.advance(LEASE / 2)
    with book.store.write() as connection:
        lease.renew(connection, book.holder(me), LEASE)
    book.clock.advance(LEASE - MINUTE / 60)
    assert book.claim(me) == []
    book.clock.advance(MINUTE / 60)
    with pytest.raises(LeaseLostError), book.store.write() as connection:
        lease.renew(connection, book.holder(me), LEASE)


def test_an_ended_worker_writes_nothing_though_its_lease_would_last(book: Ledger) -> None:
    me = book.worker()
    with book.store.write() as connection:
        lease.end(connection, me, START)
        assert lease.end_others(connection, START) == []
    with pytest.raises(LeaseLostError):
        book.claim(me)
    other = book.worker()
    with book.store.write() as connection:
        assert lease.end_others(connection, START) == [other]
        assert [row.ended_at for row in connection.execute(select(worker))] == [START, START]


# --- settling and receipts -------------------------------------------------------------------------------------------


def test_an_attempt_is_written_with_what_came_of_it(book: Ledger) -> None:
    number, me = book.owe(1), book.worker()
    [item] = book.send(me)
    book.settle(me, item, State.PLANNED, reason="UNAVAILABLE", due_at=START + MINUTE, address_id=77)
    row = book.row(number)
    assert (row.state, row.due_at, row.address_id, row.worker_id) == ("planned", START + MINUTE, 77, None)
    book.clock.advance(MINUTE / 2)
    assert book.claim(me) == []
    book.clock.advance(MINUTE / 3)
    with book.store.write() as connection:
        lease.renew(connection, book.holder(me), LEASE)
    book.clock.advance(MINUTE / 3)
    [item] = book.send(me)
    book.settle(me, item, State.ACCEPTED, provider_id="p1")
    assert (book.row(number).attempts, book.row(number).provider_id) == (2, "p1")
    assert [n for _, n, _ in book.attempts()] == [1, 2]


@pytest.mark.parametrize(
    ("receipts", "expected"),
    [
        ([State.DELIVERED], State.DELIVERED),
        ([State.ACCEPTED, State.DELIVERED], State.DELIVERED),
        ([State.DELIVERED, State.ACCEPTED], State.DELIVERED),
        ([State.DELIVERED, State.UNDELIVERED], State.DELIVERED),
        ([State.UNDELIVERED], State.UNDELIVERED),
        ([State.ACCEPTED], State.ACCEPTED),
    ],
)
@pytest.mark.parametrize("settled", [State.ACCEPTED, State.UNKNOWN])
@pytest.mark.parametrize("early", [True, False])
def test_receipts_give_the_same_end_in_any_order(
    book: Ledger, receipts: list[State], expected: State, settled: State, early: bool
) -> None:
    number, me = book.owe(1, SMS), book.worker()
    [item] = book.send(me, SMS)
    if not early:
        book.settle(me, item, settled)
    for state in receipts:
        assert book.receipt(number, state)
        assert not book.receipt(number, state)  # a provider repeats itself
    if early:
        assert book.state(number) is State.SENDING
        book.settle(me, item, settled)
    assert book.state(number) is expected
    if settled is State.UNKNOWN:  # the receipt is the first to say it
        assert book.row(number).provider_id == f"SM{number}"


def test_a_receipt_keeps_its_code_however_early_it_comes(book: Ledger) -> None:
    first, second, me = book.owe(1, SMS), book.owe(2, SMS), book.worker()
    one, other = book.send(me, SMS)
    book.receipt(first, State.UNDELIVERED, code="30003")
    book.settle(me, one, State.ACCEPTED)
    book.settle(me, other, State.ACCEPTED)
    book.receipt(second, State.UNDELIVERED, code="30003")
    assert [(book.row(n).state, book.row(n).reason) for n in (first, second)] == [("undelivered", "30003")] * 2


def test_a_receipt_for_a_message_that_waits_to_go_again_lets_it_leave_as_accepted(book: Ledger) -> None:
    number, me = book.owe(1, SMS), book.worker()
    [item] = book.send(me, SMS)
    book.settle(me, item, State.PLANNED, due_at=START)
    book.receipt(number, State.DELIVERED)
    assert book.state(number) is State.PLANNED
    book.claim(me, SMS)
    book.mark(me, out=[Exit(number, State.ACCEPTED, "receipt")])
    assert book.state(number) is State.DELIVERED


def test_a_receipt_moves_nothing_that_did_not_leave(book: Ledger) -> None:
    number, me = book.owe(1), book.worker()
    book.claim(me)
    book.mark(me, out=[Exit(number, State.SKIPPED, "came_back")])
    assert book.receipt(number, State.DELIVERED)
    assert book.state(number) is State.SKIPPED


def test_doubt_ends_once(book: Ledger) -> None:
    number, me = book.owe(1, SMS), book.worker()
    [item] = book.send(me, SMS)
    book.settle(me, item, State.UNKNOWN, reason="timeout")
    with book.store.write() as connection:
        assert resolve_unknown(connection, number, State.ACCEPTED, "SM9", START, "operator t")
        assert not resolve_unknown(connection, number, State.FAILED, None, START, "operator t")
    assert (book.state(number), book.row(number).provider_id) == ("accepted", "SM9")


# --- recovery --------------------------------------------------------------------------------------------------------


def test_what_a_dead_worker_held_goes_where_it_must(book: Ledger) -> None:
    claimed, push, sms = book.owe(1), book.owe(2), book.owe(3, SMS)
    me = book.worker()
    book.claim(me, n=1)
    book.send(me)
    book.send(me, SMS)
    assert book.recover() == Recovered()  # it lives
    assert book.die() == Recovered(requeued=1, resent=1, unknown=1)
    assert [book.state(number) for number in (claimed, push, sms)] == ["planned", "planned", "unknown"]
    assert book.attempts() == [(push, 1, "ambiguous"), (sms, 1, "ambiguous")]
    assert book.die() == Recovered()


def test_a_receipt_that_came_before_the_worker_died_ends_the_doubt(book: Ledger) -> None:
    number, me = book.owe(1, SMS), book.worker()
    book.send(me, SMS)
    book.receipt(number, State.DELIVERED)
    book.die()
    assert book.state(number) is State.DELIVERED


def test_a_message_that_kills_its_workers_is_claimed_alone_and_then_quarantined(book: Ledger) -> None:
    poison, fine = book.owe(1), book.owe(2)
    for _ in range(2):
        assert len(book.claim(book.worker())) == 2
        book.die()
    me = book.worker()
    [alone] = book.claim(me)  # suspects both, one at a time
    [other] = book.claim(book.worker())
    assert {alone.id, other.id} == {poison, fine}
    book.mark(me, [alone.id])
    assert book.row(alone.id).crashes == 0  # acquitted: it got through the door
    assert book.die() == Recovered(poisoned=1, resent=1)
    assert (book.state(other.id), book.row(other.id).reason) == ("failed", "poison")


# --- the end of a run ------------------------------------------------------------------------------------------------


def test_what_waits_past_its_deadline_expires_with_its_reason(book: Ledger) -> None:
    late = book.owe(1, deadline=START + MINUTE)
    held = book.owe(2, deadline=START + MINUTE, reason="window")
    book.owe(3, deadline=START + 2 * MINUTE)
    with book.store.read() as connection:
        assert overdue_lanes(connection, START) == []
        assert overdue_lanes(connection, START + MINUTE) == [PUSH]
    with book.store.write() as connection:
        assert expire(connection, PUSH, START + MINUTE, limit=1) == 1
        assert expire(connection, PUSH, START + MINUTE) == 1
        assert expire(connection, PUSH, START + MINUTE) == 0
    assert [book.row(n).reason for n in (late, held)] == ["late", "window"]
    assert book.history(late) == [("planned", "expired", "late")]


def test_a_stopped_campaign_skips_what_waits_and_nothing_of_it_lives_again(book: Ledger) -> None:
    waiting, sent, me = book.owe(1, due_at=START + MINUTE), book.owe(2), book.worker()
    [item] = book.send(me)
    with book.store.write() as connection:
        runs.set_campaign_state(connection, "lunch", CampaignState.STOPPED, START, "operator t")
        assert pending(connection, RUN)
        assert skip_stopped(connection, RUN, START) == 1
        assert pending(connection, RUN)  # one is on the wire
    book.settle(me, item, State.ACCEPTED)
    assert [book.state(waiting), book.state(sent)] == ["skipped", "accepted"]
    with book.store.write() as connection:
        assert not pending(connection, RUN)
        runs.launch(connection, "lunch", "v2", START, "operator t")
        assert runs.campaign_state(connection, "lunch") is CampaignState.RUNNING
        for new in (RunState.ACTIVE, RunState.DONE, RunState.STOPPED):
            assert not set_run_state(connection, RUN, new, START)
        assert read_run(connection, RUN).state is RunState.STOPPED


def test_a_run_exists_once_per_local_date(book: Ledger) -> None:
    day = START.date()
    with book.store.write() as connection:
        assert runs.create_run(connection, "lunch", "v", day, now=START, closes_at=START) is None
        made = runs.create_run(connection, "lunch", "v", day + timedelta(days=1), now=START, closes_at=START)
        assert made is not None
        assert [item.id for item in runs.runs_in(connection, RunState.PLANNING)] == [made]
        assert set_run_state(connection, made, RunState.ACTIVE, START)
        assert set_run_state(connection, made, RunState.DONE, START)
        assert not set_run_state(connection, made, RunState.ACTIVE, START)


def test_a_campaign_goes_only_where_it_can(book: Ledger) -> None:
    with book.store.write() as connection:
        runs.set_campaign_state(connection, "lunch", CampaignState.RUNNING, START, "t")  # already there: nothing
        runs.set_campaign_state(connection, "lunch", CampaignState.STOPPED, START, "t")
        with pytest.raises(InputError, match="lunch is stopped"):
            runs.set_campaign_state(connection, "lunch", CampaignState.RUNNING, START, "t")
        with pytest.raises(NotFoundError) as caught:
            runs.campaign_state(connection, "lunhc")
        assert "did you mean 'lunch'?" in str(caught.value)
