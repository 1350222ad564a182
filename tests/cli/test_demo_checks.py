"""The demonstration's verdict: every check can fail."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from orchestrator.cli.demo.behaviour import Act
from orchestrator.cli.demo.checks import Attempt, Check, Ledger, Member, Truth, check_all, expected_audience, truths
from orchestrator.cli.demo.people import Person
from orchestrator.cli.demo.purchases import History, Purchase
from orchestrator.clock import AcceleratedClock

ORIGIN = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
START = datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
CLOCK = AcceleratedClock(START, 1000.0, ORIGIN)
ANCHOR = datetime(2026, 11, 23, 2, 30, tzinfo=UTC)  # 10:30 in Shanghai
SENT = ANCHOR + timedelta(minutes=20)


def person(name: str) -> Person:
    where = ("Asia/Shanghai", "CN", "Asia/Shanghai")
    return Person(name, "王安", "zh-CN", *where, (), f"+86{name}", (("push", True),), "", 3, 100, 30.0)


def accepted(at: datetime = SENT, message_id: str = "1") -> dict[str, Any]:
    return {"time": (ORIGIN + (at - START) / CLOCK.speed).timestamp(), "message_id": message_id}


MEMBERS = [
    Member("a", "dish", held_out=False, planned=True, anchor=ANCHOR, reopened_at=ANCHOR + timedelta(hours=1)),
    Member("b", "dish", held_out=True, planned=True, anchor=ANCHOR, reopened_at=None),
]
ACTS = [
    Act(ANCHOR + timedelta(hours=1), "a", "app_open", unasked=False),
    Act(ANCHOR - timedelta(hours=1), "b", "app_open"),
    Act(ANCHOR + timedelta(hours=2), "a", "reply", text="STOP"),
]
LEDGER = Ledger(
    as_of=START,
    members=MEMBERS,
    attempts=[Attempt("a", "1", SENT, SENT + timedelta(minutes=1))],
    states={"delivered": 1, "held_out": 1},
    stopped=frozenset({"+86a"}),
)


def verdicts(ledger: Ledger = LEDGER, log: list[dict[str, Any]] | None = None, audience: int = 2) -> list[Check]:
    facts = (ledger, [accepted()] if log is None else log, [person("a"), person("b")], ACTS, CLOCK)
    return list(check_all(*facts, audience=audience, decided=2))


def failed(checks: list[Check]) -> list[str]:
    return [check.words.split(":")[0] for check in checks if not check.holds]


def test_all_hold() -> None:
    assert failed(verdicts()) == []


def test_a_member_too_few() -> None:
    assert failed(verdicts(audience=3)) == ["every member accounted for"]


@pytest.mark.parametrize("early", [timedelta(minutes=21), timedelta(minutes=-56), timedelta(hours=12)])
def test_a_send_outside_the_window_is_found_in_both_logs(early: timedelta) -> None:
    at = SENT - early
    ledger = replace(LEDGER, attempts=[Attempt("a", "1", at, at + timedelta(minutes=1))])
    words = "sends outside the recipient's own 10"
    assert failed(verdicts(ledger, [accepted(at)])) == [words, words]


def test_an_acceptance_that_no_request_explains_is_found() -> None:
    outside = accepted(SENT + timedelta(hours=2))
    assert failed(verdicts(log=[outside])) == ["sends outside the recipient's own 10"]


def test_a_request_that_left_in_time_may_arrive_a_moment_after_the_window() -> None:
    begun = datetime(2026, 11, 23, 3, 44, 55, tzinfo=UTC)
    ledger = replace(LEDGER, attempts=[Attempt("a", "1", begun, begun + timedelta(seconds=20))])
    assert failed(verdicts(ledger, [accepted(begun + timedelta(seconds=10))])) == []


def test_a_duplicate_is_found() -> None:
    found = failed(verdicts(log=[accepted(), accepted()]))
    assert "duplicates at the provider" in found


def test_what_still_waits_is_found() -> None:
    ledger = replace(LEDGER, states={**LEDGER.states, "unknown": 1})
    assert failed(verdicts(ledger)) == ["accepted by ledger and by provider"]


def test_a_reopen_that_nobody_made_is_found() -> None:
    ledger = replace(LEDGER, members=[MEMBERS[0], replace(MEMBERS[1], reopened_at=ANCHOR)])
    assert failed(verdicts(ledger)) == ["reopens attributed"]


def test_a_stop_that_was_not_obeyed_is_found() -> None:
    assert failed(verdicts(replace(LEDGER, stopped=frozenset()))) == ["STOP replies obeyed"]


def test_the_true_effect_is_what_would_not_have_happened_anyway() -> None:
    extra = Act(ANCHOR + timedelta(hours=3), "b", "app_open")
    assert truths(LEDGER, [*ACTS, extra]) == [Truth("dish", 1, 1, 0), Truth("holdout", 1, 1, 1)]


def test_the_audience_is_counted_from_the_purchases() -> None:
    def history(*days: int) -> History:
        bought = [Purchase(1, date(2026, 11, 22) - timedelta(days=ago), 1, "9.00") for ago in days]
        return History(1, tuple(bought))

    found = expected_audience([history(90, 40), history(40), history(90, 20), history(700, 650)], timedelta(0), START)
    assert found == 1
