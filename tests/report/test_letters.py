"""Opens and clicks by who made them, channels, one run alone: recounted in Python."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from orchestrator.errors import NotFoundError
from orchestrator.report.findings import findings
from orchestrator.report.html import page
from orchestrator.report.launched import launched as read_launched
from orchestrator.report.sentences import caveats
from orchestrator.report.sheet import report_lines
from orchestrator.report.tally import tally
from orchestrator.report.values import Launched, Sorted, Tally
from orchestrator.store import Store
from orchestrator.store import tables as t
from tests import world
from tests.report.book import ANCHOR, AS_OF, NOW, Book

WORDS: dict[str | None, int] = {None: 0, "human": 0, "suspect": 1, "machine": 2, "robot": 1}
"""What stands in the event, and which kind it is."""

touches = st.lists(
    st.tuples(
        st.integers(1, 5),
        st.integers(1, 2),
        st.sampled_from(("message_opened", "link_clicked")),
        st.sampled_from(list(WORDS)),
    ),
    max_size=25,
)
unsent = st.frozensets(st.tuples(st.integers(1, 5), st.integers(1, 2)), max_size=3)

Touch = tuple[int, int, str, str | None]


def counted(store: Store, launched: Launched, now: datetime = NOW) -> Tally:
    with store.read() as connection:
        return tally(connection, launched, now)


@given(touches, unsent)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_opens_and_clicks_are_sorted_as_a_recount_would(
    shared_store: Store, launched: Launched, made: list[Touch], kept: frozenset[tuple[int, int]]
) -> None:
    world.wipe(shared_store)
    _write(shared_store, made, kept)
    found = counted(shared_store, launched)
    for channel, step in (("push", 1), ("sms", 2)):
        mine = [touch for touch in made if touch[1] == step and (touch[0], step) not in kept]
        opens, clicks = (_kinds(mine, name) for name in ("message_opened", "link_clicked"))
        human = {user for user, _, _, word in mine if WORDS[word] == 0}
        by_channel = next(one for one in found.channels if one.channel == channel)
        by_step = next(one for one in found.steps if one.step == step)
        assert (by_channel.opens, by_channel.clicks) == (by_step.opens, by_step.clicks) == (opens, clicks)
        assert by_channel.users["opened"] == by_channel.messages["opened"] == by_step.opened == len(human)
        assert by_channel.users["sent"] == 5 - sum(place == step for _, place in kept)


def _kinds(made: list[Touch], name: str) -> Sorted:
    best: dict[int, int] = {}
    for user, _, event, word in made:
        if event == name:
            best[user] = min(best.get(user, 9), WORDS[word])
    kinds = Counter(best.values())
    return Sorted(kinds[0], kinds[1], kinds[2])


def _write(store: Store, made: list[Touch], kept: frozenset[tuple[int, int]]) -> None:
    book = Book(store)
    book.run(1, audience=5)
    ids = {}
    for user in range(1, 6):
        row = book.member(1, user, anchor=ANCHOR)
        for step in (1, 2):
            sent = {} if (user, step) in kept else {"sent_at": ANCHOR, "attempts": 1}
            ids[user, step] = book.message(row, step, "accepted" if sent else "planned", ANCHOR, **sent)
    for place, (user, step, name, word) in enumerate(made):
        instants = {"at": ANCHOR + timedelta(hours=1), "received_at": ANCHOR}
        properties = {"confidence": word} if word else None
        row = {"name": name, "source_id": f"e{place}", "message_id": ids[user, step], "properties": properties}
        book.add(t.event, user_id=user, **instants, **row)
    book.write()


def test_a_machine_neither_opens_nor_proves_delivery(book: Book, store: Store, launched: Launched) -> None:
    book.run(1, audience=1)
    sent = book.message(book.member(1, 1, anchor=ANCHOR), 1, "accepted", ANCHOR, sent_at=ANCHOR, attempts=1)
    row = {"name": "message_opened", "source_id": "m", "message_id": sent, "properties": {"confidence": "machine"}}
    book.add(t.event, user_id=1, at=ANCHOR, received_at=ANCHOR, **row)
    book.write()
    found = counted(store, launched)
    stages = {stage.name: (stage.users, stage.messages) for stage in found.stages}
    assert (stages["accepted"], stages["delivered"], stages["opened"]) == ((1, 1), (0, 0), (0, 0))
    assert found.steps[0].opens == Sorted(0, 0, 1)


def test_a_message_that_left_after_the_reopen_did_not_bring_it(book: Book, store: Store, launched: Launched) -> None:
    book.run(1, audience=1)
    row = book.member(1, 1, anchor=ANCHOR, reopened_at=ANCHOR + timedelta(hours=1))
    for step, hours in ((1, 0), (2, 2)):
        at = ANCHOR + timedelta(hours=hours)
        book.message(row, step, "accepted", at, sent_at=at, attempts=1)
    book.write()
    reopened = next(stage for stage in counted(store, launched).stages if stage.name == "reopened")
    assert (reopened.users, reopened.messages) == (1, 1)


def test_values_are_summed_with_their_squares(filled: Store, launched: Launched) -> None:
    with filled.read() as connection:
        rows = connection.execute(
            select(t.member.c.conversion_value).where(
                t.member.c.arm == "dish", t.member.c.held_out.is_(False), t.member.c.conversion_value.is_not(None)
            )
        ).scalars()
        values = [float(value) for value in rows if value is not None]
    group = next(group for group in counted(filled, launched).groups if group.name == "dish")
    assert group.value == pytest.approx(sum(values))
    assert group.value_squares == pytest.approx(sum(value * value for value in values))
    assert (group.settled, group.settled_reopened, group.open) == (group.eligible, group.reopened, 0)


@pytest.fixture
def twice(store: Store) -> Store:
    """A campaign launched and planned for real, with a second run written after it."""
    world.launch(store, world.bundle(), world.OPENING)
    book = Book(store)
    book.user(1)
    for number, day in ((1, "2026-12-07"), (2, "2026-12-08")):
        with store.read() as connection:
            digest = connection.execute(select(t.campaign.c.version)).scalar_one()
        instants = {"as_of": AS_OF, "closes_at": NOW, "created_at": AS_OF}
        row = {"campaign": "lunch", "version": digest, "local_date": day, "state": "done", "audience": 3 - number}
        book.add(t.run, id=number, **row, **instants)
        for user in range(number, 3):
            book.member(number, user, arm="all", anchor=ANCHOR)
    book.write()
    return store


def test_one_run_is_reported_by_date_or_id(twice: Store) -> None:
    with twice.read() as connection:
        for what in ("lunch@2026-12-08", "2"):
            one = tally(connection, read_launched(connection, what), NOW)
            assert (one.audience, [run.local_date for run in one.runs]) == (1, ["2026-12-08"])
            assert one.adds_up
            assert caveats(one, findings(one), "en")[0].startswith("One run alone")
            assert "Lunch, 2026-12-08" in page(one, findings(one))
        assert tally(connection, read_launched(connection, "lunch"), NOW).audience == 3


@pytest.mark.parametrize(
    ("what", "message", "hint"),
    [
        ("lunch@2026-12-09", "has no run of 2026-12-09", "2026-12-0"),
        ("lunhc@2026-12-07", "was never launched", "did you mean 'lunch'?"),
        ("77", "there is no run 77", "CAMPAIGN@DATE"),
        ("9" * 40, "there is no run", "CAMPAIGN@DATE"),
    ],
)
def test_a_run_that_is_not_there_is_not_found(twice: Store, what: str, message: str, hint: str) -> None:
    with twice.read() as connection, pytest.raises(NotFoundError, match=message) as failed:
        read_launched(connection, what)
    assert hint in failed.value.hint


def test_every_number_of_the_report_is_in_the_sheet(filled: Store, launched: Launched) -> None:
    found = counted(filled, launched)
    lines = list(report_lines(found, findings(found)))
    decided = [line[4] for line in lines if line[0] == "decisions"]
    assert sum(decided) == found.audience == lines[0][4]
    assert {line[0] for line in lines} == {
        *("report", "runs", "decisions", "reach", "arms", "channels", "steps", "zones", "curve")
    }
    lift = [line for line in lines if line[:4] == ("arms", "all arms", "to holdout", "reopen rate, always valid")]
    assert len(lift) == 1
    assert lift[0][5] < lift[0][4] < lift[0][6]
