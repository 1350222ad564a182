"""Later steps: sent or not by what has happened, as soon as it does, and nothing more to who has converted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.ledger.states import State
from orchestrator.store import Store
from tests import world
from tests.dispatch.journey import Journey, ada, bundle

CONVERSION = {"event": "app_open", "within": "24h", "conversion": {"event": "order_paid", "within": "72h"}}
FALL = ({"not": "delivered", "after": "30m"}, {"not": "delivered", "after": "30m"})


def journey(
    store: Store, tmp_path: Path, *whens: dict[str, Any], reach: dict[str, Any] | None = None, **more: Any
) -> Journey:
    ada(store, **(reach or {}))
    made = Journey(store, tmp_path, bundle(*whens, **more))
    made.begin()
    return made


def test_a_waterfall_goes_on_until_something_arrives(store: Store, tmp_path: Path) -> None:
    made = journey(store, tmp_path, *FALL).go(40)
    assert made.sent_at(2) == 30
    made.receipt(2)
    assert made.go(90).ends() == {1: "accepted", 2: "delivered", 3: "skipped delivered"}


@pytest.mark.parametrize(
    ("reach", "answers", "ends"),
    [
        ({"push": None}, {}, {2: "accepted", 3: "accepted"}),
        ({"phone": None}, {}, {1: "accepted", 3: "accepted"}),
        ({"push": None, "phone": None}, {}, {3: "accepted"}),
        ({}, {1: State.FAILED}, {1: "failed", 2: "accepted", 3: "accepted"}),
        ({}, {1: State.FAILED, 2: State.FAILED}, {1: "failed", 2: "failed", 3: "accepted"}),
    ],
)
def test_a_waterfall_goes_round_what_cannot_be_reached(
    store: Store, tmp_path: Path, reach: dict[str, Any], answers: dict[int, State], ends: dict[int, str]
) -> None:
    ada(store, **reach)
    made = Journey(store, tmp_path, bundle(*FALL), answers=answers)
    made.begin()
    assert made.go(60).ends() == ends
    assert made.sent_at(3) == 60


def test_a_step_waits_for_the_last_one_before_it_that_there_is(store: Store, tmp_path: Path) -> None:
    """Without a phone the mail comes after the push, however late that leaves."""
    ada(store, phone=None)
    made = Journey(store, tmp_path, bundle(*FALL))
    made.answers[1] = State.PLANNED  # a passing failure, tried again by the settler's due time
    made.begin()
    made.go(45)
    made.answers.clear()
    made.go(62)
    assert made.sent_at(1) > 40
    assert made.ends()[3] == "planned step_before"
    made.go(80)
    assert made.sent_at(3) == made.sent_at(1) + 30


@pytest.mark.parametrize(
    ("confidence", "step"),
    [("machine", "accepted"), ("suspect", "accepted"), ("human", "skipped opened"), (None, "skipped opened")],
)
def test_only_people_open(store: Store, tmp_path: Path, confidence: str | None, step: str) -> None:
    made = journey(store, tmp_path, {"not": "opened", "after": "30m"}).go(5)
    made.touch(1, confidence=confidence)
    assert made.go(31).ends()[2] == step


def test_a_click_is_an_open_and_an_open_has_arrived(store: Store, tmp_path: Path) -> None:
    whens = ({"is": "delivered", "after": "10m"}, {"is": "opened", "after": "10m"}, {"is": "clicked", "after": "10m"})
    channels = ("push", "sms", "email", "push")
    made = journey(store, tmp_path, *whens, channels=channels).go(5)
    made.touch(1)
    assert made.go(40).ends() == {1: "accepted", 2: "accepted", 3: "accepted", 4: "skipped not_clicked"}


def test_what_others_did_and_what_they_did_before_does_not_count(store: Store, tmp_path: Path) -> None:
    world.person(store, "bob", push=None, consents=())
    made = journey(store, tmp_path, {"is": "cart_updated", "after": "30m"}).go(5)
    made.did("cart_updated", name="bob")
    made.did("cart_updated", ago=6)  # before the run opened
    assert made.go(31).ends()[2] == "skipped did_not:cart_updated"


def test_is_drops_only_when_its_time_has_come(store: Store, tmp_path: Path) -> None:
    made = journey(store, tmp_path, {"is": "opened", "after": "30m"}).go(29)
    assert made.ends()[2] == "planned"
    made.touch(1)
    assert made.go(30).ends()[2] == "accepted"


def test_who_waits_gets_it_as_soon_as_it_happens(store: Store, tmp_path: Path) -> None:
    made = journey(store, tmp_path, {"wait_for": "cart_updated", "within": "6h"}).go(10)
    assert made.ends()[2] == "planned waiting:cart_updated"
    made.did("cart_updated")
    made.go(11)
    assert (made.ends()[2], made.sent_at(2)) == ("accepted", 11)
    assert ("planned", "planned", "woken:cart_updated") in made.history(2)


def test_or_a_while_after_that(store: Store, tmp_path: Path) -> None:
    made = journey(store, tmp_path, {"wait_for": "clicked", "within": "60m", "after": "30m"}).go(50)
    made.touch(1, "link_clicked")
    assert made.go(79).ends()[2] == "planned"
    assert made.go(80).sent_at(2) == 80


def test_what_is_delivered_is_heard_of_by_its_receipt(store: Store, tmp_path: Path) -> None:
    made = journey(store, tmp_path, {"wait_for": "delivered", "within": "6h", "after": "5m"}).go(10)
    made.receipt(1)
    assert made.go(15).sent_at(2) == 15


def test_a_wait_is_over_after_its_time(store: Store, tmp_path: Path) -> None:
    made = journey(store, tmp_path, {"wait_for": "opened", "within": "1h"}).go(59)
    assert made.ends()[2] == "planned waiting:opened"
    assert made.go(60).ends()[2] == "skipped not_opened"
    made.touch(1)
    assert made.go(65).ends()[2] == "skipped not_opened"


def test_a_wait_ends_with_the_window_at_the_latest(store: Store, tmp_path: Path) -> None:
    made = journey(store, tmp_path, {"wait_for": "opened", "within": "48h"})
    assert made.go(10 * 60 + 1).ends()[2] == "skipped not_opened"


def test_a_wait_where_nothing_could_be_sent_before(store: Store, tmp_path: Path) -> None:
    made = journey(store, tmp_path, {"wait_for": "cart_updated", "within": "1h"}, reach={"push": None}).go(30)
    made.did("cart_updated")
    assert made.go(31).ends() == {2: "accepted"}


def test_a_step_after_a_wait_counts_from_its_end(store: Store, tmp_path: Path) -> None:
    whens = ({"wait_for": "opened", "within": "1h"}, {"not": "opened", "after": "30m"})
    made = journey(store, tmp_path, *whens).go(95)
    assert made.ends() == {1: "accepted", 2: "skipped not_opened", 3: "accepted"}
    assert made.sent_at(3) == 90


def test_its_own_window_holds_what_is_awake(store: Store, tmp_path: Path) -> None:
    later = {"wait_for": "cart_updated", "within": "2h"}
    what = bundle(later)
    definition = {**what.definition}
    definition["steps"] = [definition["steps"][0], {**definition["steps"][1], "window": {"local": "18:00-20:00"}}]
    ada(store)
    made = Journey(store, tmp_path, world.bundle(definition))
    made.begin()
    made.go(20)
    made.did("cart_updated")
    assert made.go(30).ends()[2] == "planned window"
    made.did("cart_updated")  # once more: it stays where the window put it
    changes = len(made.history(2))
    assert len(made.go(40).history(2)) == changes
    assert made.go(7 * 60 + 31).sent_at(2) == 7 * 60 + 30


def test_events_that_come_in_late_are_heard_if_they_happened_in_time(store: Store, tmp_path: Path) -> None:
    made = journey(store, tmp_path, {"wait_for": "cart_updated", "within": "1h"}).go(50)
    made.did("cart_updated", ago=40)
    assert made.go(51).sent_at(2) == 51


def test_who_has_converted_leaves(store: Store, tmp_path: Path) -> None:
    made = journey(store, tmp_path, *FALL, goal=CONVERSION).go(31)
    made.did("order_paid")
    assert made.go(70).ends() == {1: "accepted", 2: "accepted", 3: "skipped converted"}


def test_even_before_the_first_step(store: Store, tmp_path: Path) -> None:
    late = {"local": "10:30-20:30", "spread": "90%"}
    ada(store)
    made = Journey(store, tmp_path, bundle(*FALL, goal=CONVERSION, window=late))
    made.begin()
    assert made.ends()[1] == "planned"  # its turn in the spread has not come
    made.did("order_paid")
    assert set(made.go(600).ends().values()) == {"skipped converted"}


def test_unless_the_campaign_says_no(store: Store, tmp_path: Path) -> None:
    made = journey(store, tmp_path, *FALL, goal=CONVERSION, exit_on_conversion=False).go(31)
    made.did("order_paid")
    assert made.go(70).ends()[3] == "accepted"


def test_what_was_bought_before_the_run_opened_is_no_conversion(store: Store, tmp_path: Path) -> None:
    ada(store)
    world.did(store, "ada", "order_paid", world.OPENING)
    made = Journey(store, tmp_path, bundle(*FALL, goal=CONVERSION))
    made.begin()
    assert made.go(31).ends()[2] == "accepted"


def test_held_out_members_leave_where_the_others_do(store: Store, tmp_path: Path) -> None:
    whens = ({"not": "reopened", "after": "30m"}, {"is": "reopened", "after": "30m"})
    names = [f"p{n}" for n in range(12)]
    for name in names:
        world.person(store, name, phone=f"+4915{name[1:]:0>6}", consents=("push", "sms"))
    made = Journey(store, tmp_path, bundle(*whens, channels=("push", "sms", "sms"), holdout="50%"))
    made.begin()
    made.go(5)
    for name in names[:6]:
        made.did("app_open", name=name)
    made.go(65)
    back = {tuple(made.ends(name).values()) for name in names[:6]}
    away = {tuple(made.ends(name).values()) for name in names[6:]}
    assert back == {(end, "skipped reopened", end) for end in ("accepted", "held_out holdout")}
    assert away == {(end, end, "skipped not_reopened") for end in ("accepted", "held_out holdout")}
